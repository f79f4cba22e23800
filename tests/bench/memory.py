"""(f) What a hub with a thousand servers takes in memory, at first and after a class has started beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.clicks import clicks, enroll
from bench.figures import FAILED, Figure
from bench.process import memory
from bench.seeded import seeded
from bench.sides import OURS, PREDECESSOR


@dataclass(frozen=True)
class Size:
    servers: int = 1000
    users: int = 24
    bursts: int = 3


def measure(size: Size) -> Iterable[Figure]:
    start: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    for side in (OURS, PREDECESSOR):
        with seeded(side, size.servers) as place:
            place.start()
            place.settle()
            start[side] = [memory(place.hub.pid)]
            for number in range(size.bursts):
                names = [f"new{number}-{n}" for n in range(size.users)]
                enroll(place.hub, names)
                assert FAILED not in clicks(place.hub, names), f"a start failed:\n{place.hub.log[-2000:]}"
            after[side] = [memory(place.hub.pid)]
    what = f"memory of the hub, {size.servers} servers"
    more = f"{size.bursts} times {size.users} starts later"
    return [
        Figure("f", what, "MiB", start[OURS], start[PREDECESSOR]),
        Figure("f", f"{what}, {more}", "MiB", after[OURS], after[PREDECESSOR]),
    ]
