"""How soon a hub answers while something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import requests

# Seconds in which a hub answers; and for a few answers among many, where the machine has something else to do. What the
# engine does not answer is given up later than that: a hub that stands still meanwhile is found out.
PROMISED, SOON = 1, 8
FEW = 0.05


@contextmanager
def prompt(session: requests.Session) -> Iterator[None]:
    """Whatever is asked in this session meanwhile is answered at once."""
    took: list[float] = []

    def note(answer: requests.Response, **_: Any) -> None:
        took.append(answer.elapsed.total_seconds())

    session.hooks["response"].append(note)
    try:
        yield
    finally:
        session.hooks["response"].remove(note)
    assert median(took) < PROMISED, sorted(took)
    assert sum(seconds >= PROMISED for seconds in took) <= max(1, FEW * len(took)), sorted(took)
    assert max(took) < SOON, sorted(took)
