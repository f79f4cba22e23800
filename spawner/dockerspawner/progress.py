"""What happens while a server starts, as the progress page tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

Event = dict[str, Any]


class Story:
    """The events of one spawn, in order, for any number of readers that may come at any time."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.ended = False
        self._news = asyncio.Event()

    def tell(self, progress: int, message: str) -> None:
        """Add an event; progress (percent) never goes back, and what was said last is not said again."""
        if self.ended or (self._events and self._events[-1]["message"] == message):
            return
        progress = max([progress, *(event["progress"] for event in self._events)])
        self._events.append({"progress": progress, "message": message})
        self._wake()

    def end(self, reason: str = "") -> None:
        """No more events after this; `reason` is the last one where something failed."""
        if self.ended:
            return
        if reason:
            self._events.append({"message": reason})
        self.ended = True
        self._wake()

    async def follow(self) -> AsyncIterator[Event]:
        """Every event from the first on, until the story ends."""
        told = 0
        while True:
            news = self._news
            while told < len(self._events):
                yield self._events[told]
                told += 1
            if self.ended:
                return
            await news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
