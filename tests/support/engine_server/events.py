"""The engine's events: a short memory, and the streams that follow them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from support.engine_server.shapes import Container, Json

# As many as the engine keeps for those who ask with `since`.
REMEMBERED = 256
Filters = Mapping[str, Iterable[str]]


class Stream:
    """What one follower is sent: `queue` has events, and None at the end."""

    def __init__(self, filters: Filters) -> None:
        self.filters = filters
        self.queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self.torn = False


class Events:
    def __init__(self) -> None:
        self._past: deque[Json] = deque(maxlen=REMEMBERED)
        self.streams: set[Stream] = set()
        self.silent = False

    def container(self, one: Container, action: str, **more: str) -> None:
        attributes = {**one.labels, "image": one.image, "name": one.name, **more}
        old = {"status": action, "id": one.id, "from": one.image}
        self._emit({**old, **_event("container", action, one.id, attributes)})

    def other(self, kind: str, action: str, object_id: str, scope: str = "local", **attributes: str) -> None:
        self._emit({**_event(kind, action, object_id, attributes), "scope": scope})

    def _emit(self, event: Json) -> None:
        self._past.append(event)
        if self.silent:
            return
        for stream in self.streams:
            if matches(event, stream.filters):
                stream.queue.put_nowait(event)

    def past(self, since: float, until: float, filters: Filters) -> list[Json]:
        """Of the events that are remembered; times in seconds."""
        return [e for e in self._past if since <= e["timeNano"] / 1e9 <= until and matches(e, filters)]

    @contextmanager
    def unheard(self, unheard: bool = True) -> Iterator[None]:
        """No event tells of what happens meanwhile, then or later."""
        silent, past = self.silent, list(self._past)
        self.silent = silent or unheard
        yield
        self.silent = silent
        if unheard:
            self._past.clear()
            self._past.extend(past)

    def cut(self, torn: bool) -> None:
        """End all streams: in good order, or `torn` as by a lost connection."""
        for stream in self.streams:
            stream.torn = torn
            stream.queue.put_nowait(None)


def _event(kind: str, action: str, object_id: str, attributes: Mapping[str, str]) -> Json:
    now = time.time_ns()
    actor = {"ID": object_id, "Attributes": dict(sorted(attributes.items()))}
    return {"Type": kind, "Action": action, "Actor": actor, "scope": "local", "time": now // 10**9, "timeNano": now}


def matches(event: Json, filters: Filters) -> bool:
    """Is it what the filters ask for? Of several values of one filter any will do, of labels all are needed."""
    attributes: dict[str, Any] = event["Actor"]["Attributes"]
    checks = {
        "type": lambda wanted: event["Type"] == wanted,
        "event": lambda wanted: event["Action"].split(":")[0] == wanted,
        "image": lambda wanted: attributes.get("image") == wanted,
        "container": lambda wanted: (
            event["Type"] == "container"
            and (attributes["name"] == wanted.lstrip("/") or event["Actor"]["ID"].startswith(wanted))
        ),
    }
    for name, values in filters.items():
        if name == "label":
            if not all(has_label(attributes, value) for value in values):
                return False
        elif name in checks and not any(checks[name](value) for value in values):
            return False
    return True


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """`wanted` is a name, or name=value."""
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
