"""The pauses between tries."""

from __future__ import annotations

import asyncio
import random
import time


class Retry:
    """Growing pauses: `first` seconds, each `growth` times as long as the previous one, at most `longest`.

    With `spread`, each pause is multiplied by a random number between its two values, so that many callers do not
    retry at the same moment. `within` seconds after its creation, there are no more tries.
    """

    def __init__(
        self,
        first: float,
        longest: float = float("inf"),
        growth: float = 1.5,
        spread: tuple[float, float] = (1.0, 1.0),
        within: float = float("inf"),
    ) -> None:
        self._first = self._next = first
        self._longest = longest
        self._growth = growth
        self._spread = spread
        self._end = time.monotonic() + within

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._end

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first

    async def pause(self, at_most: float = float("inf")) -> bool:
        """Sleep until the next try, for `at_most` seconds; return False at once if there are no more tries."""
        if self.is_over:
            return False
        pause, self._next = self._next, min(self._next * self._growth, self._longest)
        await asyncio.sleep(min(pause * random.uniform(*self._spread), at_most))
        return True
