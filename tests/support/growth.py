"""How the cost of a function grows with the length of a text."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FACTOR = 16
# For a text FACTOR times as long, a linear function takes FACTOR times as long, or more if a longer text takes
# memory from the system; a quadratic one takes FACTOR squared.
LINEAR = FACTOR * 5
# Families of texts that make regular expressions backtrack; an attacker may print or send them.
FAMILIES: dict[str, str] = {
    "hex": "0a1b2c3d4e5f",
    "token": "token",
    "password chain": "password=",
    "keywords with blanks": "secret ",
    "api keys": "api-key-",
    "bearer": "bearer ",
    "basic and blanks": "basic        ",
    "blanks": " ",
    "urls": "a://:@",
    "url users": "://u:",
    "schemes": "a.a+a-",
    "dots": "a.",
    "hyphens": "a-",
    "quotes": "\"'",
    "assignments": "a='",
    "newlines": "\n",
    "token lines": "token\n",
    "carriage returns": "a\r",
    "networks": "network x ",
    "accents": "é",
    "parameters": "&code",
    "encoded parameters": "%253Fcode",
    "encoded percent signs": "%25",
    "encoded secrets": "token%3D",
    "headers": "cookie: ",
    "headers with blanks": "authorization   \t",
}

# Seconds of processor time below which a measurement is noise, and the longest text that is tried.
_MEASURABLE = 0.002
_LONGEST = 2**14


def growth(function: Callable[[str], Any], unit: str) -> float:
    """Return the ratio of CPU times for a text of many `unit`s and for a text FACTOR times shorter.

    0 if even the longest text takes too little time to measure.
    """
    length = 256
    while (cost := _cost(function, unit, length)) < _MEASURABLE:
        if length >= _LONGEST:
            return 0
        length *= 2
    return _cost(function, unit, FACTOR * length) / cost


def _cost(function: Callable[[str], Any], unit: str, length: int) -> float:
    # The end matches no pattern, so that a regular expression fails only at the end.
    text = (unit * (length // len(unit) + 1))[:length] + "\0"
    return min(_time(function, text) for _ in range(3))


def _time(function: Callable[[str], Any], text: str) -> float:
    started = time.thread_time()
    function(text)
    return time.thread_time() - started
