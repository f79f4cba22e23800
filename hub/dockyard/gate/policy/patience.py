"""A CPU time limit for matching a user's text against an operator's regular expression."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Seconds of CPU time for one match. The gate handles nothing else during a match.
PATIENCE = 0.25


class TooSlow(Exception):
    """Matching a regular expression took longer than PATIENCE, and could take hours."""


def fullmatch(regex: str, text: str) -> re.Match[str] | None:
    """Match like re.fullmatch; raise TooSlow after PATIENCE."""
    with _limited():
        return re.fullmatch(regex, text)


@contextmanager
def _limited() -> Iterator[None]:
    # Python runs signal handlers only in its main thread, also during a match.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
