"""A limit for regular expressions that an operator writes and a user's text meets."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Seconds of processor time for one match: meanwhile the gate does nothing else.
PATIENCE = 0.25


class TooSlow(Exception):
    """A regular expression has not matched in time, and would not for hours."""


def fullmatch(regex: str, text: str) -> re.Match[str] | None:
    """As re.fullmatch; TooSlow after PATIENCE."""
    with _limited():
        return re.fullmatch(regex, text)


@contextmanager
def _limited() -> Iterator[None]:
    # Python runs handlers of signals in its main thread alone, also within a match.
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
