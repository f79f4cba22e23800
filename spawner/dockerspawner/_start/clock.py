"""The division of start_timeout among the steps of a start."""

from __future__ import annotations

import time
from dataclasses import dataclass

# Part of start_timeout that is reserved for the error message and the cleanup.
_LEAST_MARGIN, _MOST_MARGIN, _MARGIN = 1.0, 5.0, 0.1
# Time that is reserved for a server after the queue: to be created and started, and to answer.
_MOST_ROOM, _ROOM = 10.0, 0.25
# Maximum seconds for each part of a failure.
_MOST_AFTERWARDS = 10.0
# Seconds in which the failure reaches the hub.
_ON_THE_WAY = 0.3


@dataclass
class StartClock:
    """Deadlines of a start, by time.monotonic(). At `over` the hub cancels the start, with an empty message."""

    began: float
    timeout: float
    # Seconds that the start waited in the queue.
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
        """Deadline of a start that still waits in the queue."""
        return self.ready_end - min(_MOST_ROOM, _ROOM * self.timeout)

    @property
    def ready_end(self) -> float:
        """Deadline of a server that is not ready yet."""
        return self.over - self._margin

    @property
    def end(self) -> float:
        """Deadline of a start in any step."""
        return self.over - self._margin / 2

    @property
    def least_tries(self) -> float:
        """Minimum seconds of readiness checks, even if the server started late."""
        return 0.4 * self._margin

    def explaining(self) -> float:
        """Maximum seconds, from now, to determine the reason of a failure."""
        return min(_MOST_AFTERWARDS, 0.4 * self._left())

    def undoing(self) -> float:
        """Maximum seconds that a failed start waits for its cleanup."""
        return min(_MOST_AFTERWARDS, max(0.0, self._left() - _ON_THE_WAY))

    def _left(self) -> float:
        return max(0.0, self.over - time.monotonic())
