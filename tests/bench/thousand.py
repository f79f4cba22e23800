"""(e) A thousand servers that nobody touches, and a hub that is started again beside them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bench.figures import Bar, Figure
from bench.process import cpu_seconds
from bench.seeded import Seeded, seeded
from bench.sides import OURS, PREDECESSOR
from support.wait import wait_until

LIST, INSPECT = "GET /containers/json", "GET /containers/{id}/json"
# Once for each connection or stream, however many servers there are.
OVERHEAD = {"GET /version", "GET /_ping", "GET /events"}


@dataclass(frozen=True)
class Size:
    """`idle`: seconds; a whole number of minutes, as what happens once a minute would else count too much or not."""

    servers: int = 1000
    idle: float = 120
    poll: int = 30


@dataclass(frozen=True)
class Counted:
    """What a hub did: calls by route, processor seconds, seconds."""

    calls: dict[str, int]
    cpu: float
    seconds: float

    @property
    def asked(self) -> int:
        """Calls that say something about servers."""
        return sum(count for route, count in self.calls.items() if route not in OVERHEAD)

    @property
    def minutes(self) -> float:
        return self.seconds / 60


def measure(size: Size) -> Iterable[Figure]:
    starts: dict[str, Counted] = {}
    idles: dict[str, Counted] = {}
    for side in (OURS, PREDECESSOR):
        with seeded(side, size.servers, size.poll) as place:
            starts[side] = restart(place)
            idles[side] = idle(place, size.idle)
    return [*_restart_figures(starts, size.servers), *_idle_figures(idles, size.servers)]


def restart(place: Seeded) -> Counted:
    place.control.calls(reset=True)
    seconds = place.start()
    return Counted(place.control.calls(), cpu_seconds(place.hub.pid), seconds)


def idle(place: Seeded, seconds: float) -> Counted:
    place.settle()
    place.control.calls(reset=True)
    before, began = cpu_seconds(place.hub.pid), time.monotonic()
    wait_until(lambda: time.monotonic() >= began + seconds, timeout=seconds + 10, interval=0.5)
    took = time.monotonic() - began
    return Counted(place.control.calls(), cpu_seconds(place.hub.pid) - before, took)


def _restart_figures(counted: dict[str, Counted], servers: int) -> list[Figure]:
    ours, before = counted[OURS], counted[PREDECESSOR]
    bar = Bar("one list call", ours.asked, 1)
    what, notes = f"hub restart, {servers} servers: ", _notes(counted)
    return [
        Figure("e", f"{what}Docker calls", "", [ours.asked], [before.asked], bar=bar, notes=notes),
        Figure("e", f"{what}all checked after", "s", [ours.seconds], [before.seconds]),
        Figure("e", f"{what}processor time of the hub", "s", [ours.cpu], [before.cpu]),
    ]


def _idle_figures(counted: dict[str, Counted], servers: int) -> list[Figure]:
    ours, before = counted[OURS], counted[PREDECESSOR]
    calls = [[one.asked / one.minutes] for one in (ours, before)]
    cpu = [[100 * one.cpu / one.seconds] for one in (ours, before)]
    # A second more or less at the edges of what was counted.
    allowed = max(1.0, 1 / ours.minutes)
    bar = Bar("one list call a minute", calls[0][0], round(allowed, 2))
    what = f"idle, {servers} servers: "
    return [
        Figure("e", f"{what}Docker calls", "/min", *calls, bar=bar, notes=_notes(counted)),
        Figure("e", f"{what}processor of the hub", "%", *cpu),
    ]


def _notes(counted: dict[str, Counted]) -> dict[str, Any]:
    return {side: one.calls for side, one in counted.items()}
