"""What happens while a server starts, as the progress page tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]

# Maximum number of events of a spawn that are kept for later readers; older events are dropped.
MOST = 100


@dataclass(frozen=True)
class _Told:
    number: int
    series: str
    event: Event


class Story:
    """The latest events of one spawn, in order, for any number of readers that join at any time."""

    def __init__(self) -> None:
        self._events: list[_Told] = []
        self._number = self._progress = 0
        self.ended = False
        self._news = asyncio.Event()

    def tell(self, progress: int, message: str, series: str = "") -> None:
        """Add an event. Progress (percent) never decreases, and the last message is not repeated.

        An event of a `series`, such as the megabytes of a pull, replaces the previous event of that series.
        """
        last = self._events[-1] if self._events else None
        if self.ended or (last and last.event["message"] == message):
            return
        if last and series and last.series == series:
            self._events.pop()
        self._progress = max(progress, self._progress)
        self._add({"progress": self._progress, "message": message}, series)

    def end(self, reason: str = "") -> None:
        """No more events after this; `reason` is the last one where something failed."""
        if self.ended:
            return
        self.ended = True
        if reason:
            self._add({"message": reason})
        self._wake()

    async def follow(self) -> AsyncIterator[Event]:
        """Yield the kept events, then each new one until the end of the spawn."""
        seen = 0
        while True:
            news = self._news
            for told in [told for told in self._events if told.number > seen]:
                seen = told.number
                yield told.event
            # New events may have arrived while the reader was busy.
            if self._number > seen:
                continue
            if self.ended:
                return
            await news.wait()

    def _add(self, event: Event, series: str = "") -> None:
        self._number += 1
        self._events.append(_Told(self._number, series, event))
        del self._events[:-MOST]
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
