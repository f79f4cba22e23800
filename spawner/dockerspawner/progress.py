"""What happens while a server starts, as the progress page tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]

# Events of a spawn that are kept for readers to come; of more, the oldest go.
MOST = 100


@dataclass(frozen=True)
class _Told:
    number: int
    series: str
    event: Event


class Story:
    """The last events of one spawn, in order, for any number of readers that may come at any time."""

    def __init__(self) -> None:
        self._events: list[_Told] = []
        self._number = self._progress = 0
        self.ended = False
        self._news = asyncio.Event()

    def tell(self, progress: int, message: str, series: str = "") -> None:
        """Add an event; progress (percent) never goes back, and what was said last is not said again.

        An event of a `series`, such as the megabytes of a pull, takes the place of the one before it in that series.
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
        """The events that are kept, and every one that comes, until the story ends."""
        seen = 0
        while True:
            news = self._news
            for told in [told for told in self._events if told.number > seen]:
                seen = told.number
                yield told.event
            # More may have come while the reader was busy.
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
