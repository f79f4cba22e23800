"""Reading what a client sends so that the engine can't read it in another way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

Json = dict[str, Any]

# No call of the spawner's comes near: environment and command of one server.
LARGEST_BODY = 2**20
_LARGEST_NUMBER = 2**63
# Earlier versions ignore fields: file systems below a read-only bind stay writable, and services lack limits.
_PATH = re.compile(r"(?P<version>/v1\.(?:4[4-9]|[5-9]\d))?(?P<path>(/[A-Za-z0-9_.:@%~+-]+)+)")

SWITCHES = {"true": True, "1": True, "false": False, "0": False}


class Refused(Exception):
    """What is answered instead of asking the engine: a status, and a sentence for whoever configures the hub."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


def split(raw_path: str) -> tuple[str, str, str]:
    """Version (`/v1.44`, or empty), path and query of a request's target as it was sent; the path is decoded.

    Refused where somebody could read it in two ways.
    """
    target, _, query = raw_path.partition("?")
    match = _PATH.fullmatch(target)
    if not match or re.match(r"/v\d", match["path"]):
        raise Refused("This is not a path of the engine's API from version 1.44 on.")
    try:
        path = unquote(match["path"], errors="strict") if "%" in target else match["path"]
    except UnicodeDecodeError:
        raise Refused("The path is not in UTF-8.", 400) from None
    # An encoded / would be a part of a name here, and none for whoever decodes first.
    if (
        "%2f" in target.lower()
        or "%" in path
        or any(part in ("", ".", "..") for part in path[1:].split("/"))
        or not path.isprintable()
    ):
        raise Refused("This path is written in a way that may be read differently.")
    return match["version"] or "", path, query


def query(text: str, allowed: Iterable[str]) -> dict[str, str]:
    """The query's values by name. Refused where there is one that is not `allowed`, or two of a name."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []
    except ValueError:
        raise Refused("The query can't be read.", 400) from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused("The query has two values of one name.", 400)
    if unknown := found.keys() - set(allowed):
        raise Refused(f"The query has {min(unknown)!r}, which the spawner does not send.")
    return found


def switch(values: Mapping[str, str], name: str) -> bool:
    """A yes or no of the query, no where it has none."""
    value = values.get(name, "false").lower()
    if value not in SWITCHES:
        raise Refused(f"The query's {name} is {value!r}, neither true nor false.", 400)
    return SWITCHES[value]


def json_object(body: bytes) -> Json:
    """The object that a body holds. Refused: anything but one object in UTF-8, without a key twice."""
    try:
        text = body.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_int)
        # Halves of surrogate pairs, which no two programs read alike.
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Refused(f"The body can't be read: {error}.", 400) from None
    if not isinstance(found, dict):
        raise Refused("The body is no JSON object.", 400)
    return found


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _int(text: str) -> int:
    # Before it is read: reading takes long where it is long.
    if len(text) > 20 or not -_LARGEST_NUMBER <= int(text) < _LARGEST_NUMBER:
        raise ValueError("it has a number that does not fit")
    return int(text)


def label_filters(text: str) -> dict[str, list[str]]:
    """A query's `filters`: lists of texts by name. No label twice: of two, a swarm goes by either."""
    found = json_object(text.encode()) if text else {}
    for name, values in found.items():
        # docker-py writes a single text, or a list.
        listed = [values] if isinstance(values, str) else values
        if not isinstance(listed, list) or not all(isinstance(value, str) for value in listed):
            raise Refused(f"The filter {name!r} is no list of texts.", 400)
        found[name] = listed
    names = [label.partition("=")[0] for label in found.get("label", ())]
    if len(set(names)) < len(names):
        raise Refused("The filter has a label twice.", 400)
    return found
