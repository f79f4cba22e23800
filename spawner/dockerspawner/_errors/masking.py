"""Limits and masking of texts that come from users and from the engine.

An attacker may send a text to block the hub: every step is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dockerspawner._errors.tracebacks import condensed

HIDDEN = "[hidden]"
# Marks the end of a truncated line.
CUT = "…"

# Limits of a displayed log: lines, characters per line, bytes in all.
LINES, WIDTH, SIZE = 20, 500, 8192
# Characters of an engine error, which is one line: paths and options of a mount are long.
ERROR_WIDTH = 2000
# The engine's log drivers split a line into entries of this many bytes, and count entries instead of lines.
_ENTRY = 16384
# Maximum bytes that are processed: the maximum size of the requested entries.
_LOOKED_AT = (LINES + 2) * _ENTRY

_SECRET_VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|(?:^|_)(?:KEY|PASS|AUTH|DSN)(?:$|_)", re.I
)
# A shorter value, such as "1", is not a secret, and masking it would make texts unreadable.
_SHORTEST = 6

# Linear: a match starts only at the beginning of a name, and no quantifier overlaps the next one.
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)[\"']?\s*[=:]\s*[\"']?")
_VALUE = re.compile(r"[^\s\"'&,;]+")
_KEYWORD = re.compile(r"token|secret|password|passwd|api_?key|xsrf|csrf", re.I)
# Last words of parameters that are secrets in a URL, but ordinary words elsewhere.
_PARAMETERS = {"auth", "code", "key", "state", "ticket", "verifier"}
# A truncated secret may lack the end that identifies it: then its remaining part is masked.
_CREDENTIAL = r"[\w.~+/=-]"
_SECRET_BY_CONTEXT = (
    re.compile(rf"(?i)(\b(?:bearer|basic)\s+)(?:{_CREDENTIAL}{{8,}}|{_CREDENTIAL}+(?={CUT}))"),
    re.compile(rf"(?i)(\btoken\s+)(?:{_CREDENTIAL}{{16,}}|{_CREDENTIAL}+(?={CUT}))"),
    # A header, up to the end of the line.
    re.compile(
        r"(?i)((?<![\w-])(?:(?:set-)?cookie|(?:proxy-)?authorization)[\"']?[ \t]*:[ \t]*[\"']?"
        r"(?:(?:bearer|basic|token)[ \t]+)?)[^\n]+"
    ),
    # A parameter of a URL that is a parameter itself, as in ?next=%2Fhub%3Fcode%3D0123%26page%3D1.
    re.compile(
        r"(?i)((?:token|secret|password|passwd|xsrf|csrf"
        rf"|%(?:25)*(?:3F|26|23)[\w.-]*(?:{'|'.join(sorted(_PARAMETERS))}))%(?P<depth>(?:25)*)3D)"
        r"(?:(?!%(?P=depth)26)[^\s\"'&,;])+"
    ),
    re.compile(rf"(?i)((?<=[a-z0-9+.-])://[^\s:/@]*:)[^\s/{CUT}]+(?=[@{CUT}])"),
)


def secrets_of(environment: Mapping[str, Any]) -> set[str]:
    """Collect the secret values of an environment, identified by the names of their variables.

    Each line of a value is also a secret: a log may begin in the middle of a key.
    """
    values = [_as_text(value) for name, value in environment.items() if _SECRET_VARIABLE.search(str(name))]
    lines = [line.strip() for value in values for line in value.splitlines()]
    return {text for text in (*values, *lines) if len(text) >= _SHORTEST}


def _as_text(value: Any) -> str:
    # Operators' values: the Docker SDK converts numbers and bytes, and unsets a variable whose value is None.
    return "" if value is None else value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask the given secrets in `text`, and values that their context identifies as secrets."""
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
    """Return the end of `text` without secrets: at most `lines` lines of `width` characters, 8 KiB in all.

    `tail` is the number of requested log entries. A log with that many entries may begin in the middle of a line, and
    of a secret. With `condense`, Python tracebacks are reduced to their last lines first. The longest log takes
    milliseconds: call this function in a thread.
    """
    raw = text if isinstance(text, bytes) else text.encode(errors="replace")
    raw = raw.strip()
    begun = len(raw) > _LOOKED_AT
    raw = raw[-_LOOKED_AT:]
    begun = begun or (tail is not None and raw.count(b"\n") + len(raw) // _ENTRY + 1 >= tail)
    # Before truncation: half of a secret would not be recognized.
    whole = _without_values(raw.decode(errors="replace"), secrets)
    if condense:
        # If the beginning of the first line may be cut off, it is checked below.
        first, newline, rest = whole.partition("\n")
        whole = f"{first}\n{condensed(rest)}" if begun and newline else condensed(whole)
    shown = whole.rsplit("\n", lines)
    if len(shown) > lines:
        del shown[0]
    elif begun:
        first = shown.pop(0)
        if not shown:
            # The line may begin within the name of a secret variable, followed by "=" and the secret.
            beginning = _without_context(_cut(first, SIZE))
            shown = [CUT + "".join(beginning.split(maxsplit=3)[3:])]
    masked = _without_context("\n".join(_cut(line.rstrip(), width) for line in shown)).split("\n")
    masked = [_cut(line, width) for line in masked]
    while len(masked) > 1 and sum(len(line.encode()) + 1 for line in masked) > SIZE + 1:
        del masked[0]
    return "\n".join(masked)


def sentence(error: object, secrets: Iterable[str] = ()) -> str:
    """Format an engine error as part of a sentence: limited, without secrets."""
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
    """Is the assignment a URL parameter that is a secret there?"""
    start = assignment.start()
    return text[start - 1 : start] in {"?", "&", "#"} and re.split(r"[_.-]", assignment[1].lower())[-1] in _PARAMETERS


def _is_secret(name: str) -> bool:
    """Does the last part of a name identify its value as a secret?"""
    before = max(name.rfind("."), name.rfind("-")) + 1
    last = name[before:].lower()
    return bool(_KEYWORD.search(last)) or (last.startswith("key") and name[:before].lower().endswith("api-"))
