"""Texts of users and of the engine, made fit to be read: bounded, and without secrets.

Whoever writes such a text may want to hold up the hub: every step is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dockerspawner.tracebacks import condensed

HIDDEN = "[hidden]"
# The end of a line that was cut.
CUT = "…"

# What a reader is shown of a log: lines, characters of a line, bytes in all.
LINES, WIDTH, SIZE = 20, 500, 8192
# Of an error of the engine, which is one line: paths and options of a mount are long.
ERROR_WIDTH = 2000
# The engine's log drivers cut a line into entries of so many bytes, and count entries, not lines.
_ENTRY = 16384
# Bytes that are looked at: as many as the entries asked for can have.
_LOOKED_AT = (LINES + 2) * _ENTRY

_SECRET_VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|(?:^|_)(?:KEY|PASS|AUTH|DSN)(?:$|_)", re.I
)
# A shorter value, such as "1", would hide half of a text and is not a secret.
_SHORTEST = 6

# Linear: a name is tried at its beginning only, and no quantifier overlaps the one after it.
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)[\"']?\s*[=:]\s*[\"']?")
_VALUE = re.compile(r"[^\s\"'&,;]+")
_KEYWORD = re.compile(r"token|secret|password|passwd|api_?key|xsrf|csrf", re.I)
# Last words of parameters that are secrets in an address, and ordinary words elsewhere.
_PARAMETERS = {"auth", "code", "key", "state", "ticket", "verifier"}
# A cut may have taken the end by which a secret is recognized: then all that is left of it counts.
_CREDENTIAL = r"[\w.~+/=-]"
_SECRET_BY_CONTEXT = (
    re.compile(rf"(?i)(\b(?:bearer|basic)\s+)(?:{_CREDENTIAL}{{8,}}|{_CREDENTIAL}+(?={CUT}))"),
    re.compile(rf"(?i)(\btoken\s+)(?:{_CREDENTIAL}{{16,}}|{_CREDENTIAL}+(?={CUT}))"),
    # A header, to the end of its line.
    re.compile(
        r"(?i)((?<![\w-])(?:(?:set-)?cookie|(?:proxy-)?authorization)[\"']?[ \t]*:[ \t]*[\"']?"
        r"(?:(?:bearer|basic|token)[ \t]+)?)[^\n]+"
    ),
    # A parameter of an address that is itself a parameter, as in ?next=%2Fhub%3Fcode%3D0123%26page%3D1.
    re.compile(
        r"(?i)((?:token|secret|password|passwd|xsrf|csrf"
        rf"|%(?:25)*(?:3F|26|23)[\w.-]*(?:{'|'.join(sorted(_PARAMETERS))}))%(?P<depth>(?:25)*)3D)"
        r"(?:(?!%(?P=depth)26)[^\s\"'&,;])+"
    ),
    re.compile(rf"(?i)((?<=[a-z0-9+.-])://[^\s:/@]*:)[^\s/{CUT}]+(?=[@{CUT}])"),
)


def secrets_of(environment: Mapping[str, Any]) -> set[str]:
    """Values that must not be shown, recognized by the names of their variables.

    Each line of a value is one too: a log may begin in the middle of a key.
    """
    values = [_as_text(value) for name, value in environment.items() if _SECRET_VARIABLE.search(str(name))]
    lines = [line.strip() for value in values for line in value.splitlines()]
    return {text for text in (*values, *lines) if len(text) >= _SHORTEST}


def _as_text(value: Any) -> str:
    # As operators write them: the Docker SDK converts numbers and bytes, and unsets a variable whose value is None.
    return "" if value is None else value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, and without what its context shows to be one."""
    return _without_context(_without_values(text, secrets))


def excerpt(
    text: str | bytes,
    secrets: Iterable[str] = (),
    *,
    lines: int = LINES,
    width: int = WIDTH,
    tail: int | None = None,
    condense: bool = False,
) -> str:
    """The end of `text` without its secrets: so many lines, of so many characters each, 8 KiB in all.

    `tail` is the number of entries that a log was asked for: a log that has as many may begin in the middle of a
    line, and of a secret. With `condense`, Python's tracebacks are reduced to their last lines before. Takes
    milliseconds for the longest log: call it in a thread.
    """
    raw = text if isinstance(text, bytes) else text.encode(errors="replace")
    raw = raw.strip()
    begun = len(raw) > _LOOKED_AT
    raw = raw[-_LOOKED_AT:]
    begun = begun or (tail is not None and raw.count(b"\n") + len(raw) // _ENTRY + 1 >= tail)
    # Before anything is cut: half of a secret would not be recognized.
    whole = _without_values(raw.decode(errors="replace"), secrets)
    if condense:
        # The first line is looked at below where it may have a beginning that was cut.
        first, newline, rest = whole.partition("\n")
        whole = f"{first}\n{condensed(rest)}" if begun and newline else condensed(whole)
    shown = whole.rsplit("\n", lines)
    if len(shown) > lines:
        del shown[0]
    elif begun:
        first = shown.pop(0)
        if not shown:
            # Its first words may be the end of a name, "=", and a value that is recognized by the name.
            beginning = _without_context(_cut(first, SIZE))
            shown = [CUT + "".join(beginning.split(maxsplit=3)[3:])]
    masked = _without_context("\n".join(_cut(line.rstrip(), width) for line in shown)).split("\n")
    masked = [_cut(line, width) for line in masked]
    while len(masked) > 1 and sum(len(line.encode()) + 1 for line in masked) > SIZE + 1:
        del masked[0]
    return "\n".join(masked)


def sentence(error: object, secrets: Iterable[str] = ()) -> str:
    """What the engine says of an error, as a part of a sentence: bounded, without secrets."""
    return excerpt(str(error), secrets, width=ERROR_WIDTH)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + CUT


def _without_values(text: str, secrets: Iterable[str]) -> str:
    spans = sorted(span for secret in set(secrets) if secret for span in _occurrences(text, secret))
    parts: list[str] = []
    done = 0
    for start, end in spans:
        if start > done or not parts:
            parts += [text[done:start], HIDDEN]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _occurrences(text: str, secret: str) -> Iterable[tuple[int, int]]:
    start = text.find(secret)
    while start >= 0:
        end = start + len(secret)
        yield start, end
        start = text.find(secret, end)


def _without_context(text: str) -> str:
    parts: list[str] = []
    done = place = 0
    while assignment := _ASSIGNMENT.search(text, place):
        place = assignment.end()
        if (_is_secret(assignment[1]) or _is_parameter(text, assignment)) and (value := _VALUE.match(text, place)):
            parts += [text[done:place], HIDDEN]
            done = place = value.end()
    text = "".join([*parts, text[done:]])
    for pattern in _SECRET_BY_CONTEXT:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def _is_parameter(text: str, assignment: re.Match[str]) -> bool:
    """Is a parameter of an address assigned, which is a secret there?"""
    start = assignment.start()
    return text[start - 1 : start] in {"?", "&", "#"} and re.split(r"[_.-]", assignment[1].lower())[-1] in _PARAMETERS


def _is_secret(name: str) -> bool:
    """Is what is assigned to that name a secret, by the last part of it?"""
    before = max(name.rfind("."), name.rfind("-")) + 1
    last = name[before:].lower()
    return bool(_KEYWORD.search(last)) or (last.startswith("key") and name[:before].lower().endswith("api-"))
