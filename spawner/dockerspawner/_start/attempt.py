"""The state of one start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dockerspawner._start.clock import StartClock


@dataclass
class StartAttempt:
    """What one start knows and has done: start() creates it, the steps fill it, and the cleanup reads it.

    Without arguments, it is the attempt of a spawner that has not started its server since the hub began.
    """

    clock: StartClock = field(default_factory=lambda: StartClock(0, 0))
    # From the call of start() until it returns or raises.
    is_running: bool = False
    # Waits for one of the engine's start slots.
    is_queueing: bool = False
    # The current step, for the user. The larger the stage, the sooner the engine's workers take its calls.
    step: str = "Beginning"
    stage: int = 0

    # The container in the hub's state when the start began.
    known_id: str = ""
    # The create call, once it was sent.
    creating: asyncio.Future[dict[str, Any]] | None = None
    # The start adopted a kept container. Does that one run already?
    resumed: bool = False
    runs: bool = False
    # The engine's event of the start is still to come.
    start_event_due: bool = False
    # The server's process has ended during the start.
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    # What the container is made of: the environment as it was handed over.
    spec_hash: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    # The engine restarts a server only after it was ready. Before that, a crash fails the start.
    restart_policy: Mapping[str, Any] = field(default_factory=dict)
    # The effective settings: what the profile gives, and the numbers of the limits, evaluated at the beginning.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # On the host's network: the chosen port, and ports that other processes took.
    chosen_port: int = 0
    lost_ports: frozenset[int] = frozenset()

    @classmethod
    def begin(cls, timeout: float) -> StartAttempt:
        """Begin a start that may take `timeout` seconds."""
        return cls(StartClock.begin(timeout), is_running=True)

    def end(self) -> None:
        """The start has returned or raised; its cleanup may continue."""
        self.is_running, self.stage = False, 0
