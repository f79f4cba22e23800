"""How a start divides the time that the hub gives it."""

from __future__ import annotations

import time
from dataclasses import dataclass

# Of the hub's time, what is left for the error message and for removing what a start has made.
_LEAST_MARGIN, _MOST_MARGIN, _MARGIN = 1.0, 5.0, 0.1
# What a server has to itself after its turn in the queue: to be created and started, and to answer.
_MOST_ROOM, _ROOM = 10.0, 0.25
# Seconds for each part of a failure, where the hub's time is long.
_MOST_AFTERWARDS = 10.0
# Seconds in which the failure itself reaches the hub.
_ON_THE_WAY = 0.3


@dataclass
class StartClock:
    """Times are time.monotonic(), in seconds. The hub cancels the start at `over`: its own message is empty then."""

    began: float
    timeout: float
    # Seconds that the start has waited for its turn.
    queued: float = 0.0

    @classmethod
    def begin(cls, timeout: float) -> StartClock:
        return cls(time.monotonic(), timeout)

    @property
    def _margin(self) -> float:
        return min(_MOST_MARGIN, max(_LEAST_MARGIN, _MARGIN * self.timeout))

    @property
    def over(self) -> float:
        return self.began + self.timeout

    @property
    def queue_end(self) -> float:
        """When a start that still waits for its turn fails."""
        return self.ready_end - min(_MOST_ROOM, _ROOM * self.timeout)

    @property
    def ready_end(self) -> float:
        """When a server that is not ready yet fails."""
        return self.over - self._margin

    @property
    def end(self) -> float:
        """When a start fails, whatever it does."""
        return self.over - self._margin / 2

    @property
    def least_tries(self) -> float:
        """Seconds in which a server is asked at least, however late it has started."""
        return 0.4 * self._margin

    def explaining(self) -> float:
        """Seconds that the reason of a failure may take from now on."""
        return min(_MOST_AFTERWARDS, 0.4 * self._left())

    def undoing(self) -> float:
        """Seconds that a failed start waits for what it has made to be removed."""
        return min(_MOST_AFTERWARDS, max(0.0, self._left() - _ON_THE_WAY))

    def _left(self) -> float:
        return max(0.0, self.over - time.monotonic())
