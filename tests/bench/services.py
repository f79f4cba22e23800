"""(i) Servers on a swarm that nobody touches: what their hub asks of its manager, and takes of its machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.figures import Bar, Figure
from bench.process import memory
from bench.seeded import seeded
from bench.sides import OURS, PREDECESSOR
from bench.thousand import Counted, idle


@dataclass(frozen=True)
class Size:
    """`compared`: with as many servers the predecessor is measured, too. `idle`: seconds."""

    servers: Sequence[int] = (1000, 5000)
    compared: int = 1000
    idle: float = 60
    poll: int = 30


def measure(size: Size) -> Iterable[Figure]:
    for count in size.servers:
        sides = (OURS, PREDECESSOR) if count == size.compared else (OURS,)
        yield from _figures(count, {side: _idle(side, count, size) for side in sides})


def _idle(side: str, count: int, size: Size) -> tuple[Counted, float]:
    with seeded(side, count, size.poll, swarm=True) as place:
        place.start()
        return idle(place, size.idle), memory(place.hub.pid)


def _figures(count: int, had: dict[str, tuple[Counted, float]]) -> Iterable[Figure]:
    def each(value: dict[str, float]) -> tuple[list[float], list[float]]:
        return [value[OURS]], [value[PREDECESSOR]] if PREDECESSOR in value else []

    calls = each({side: counted.asked / counted.minutes for side, (counted, _) in had.items()})
    cpu = each({side: counted.cpu / counted.minutes for side, (counted, _) in had.items()})
    used = each({side: used for side, (_, used) in had.items()})
    # One more or less at the edges of what was counted.
    bar = Bar("a list every 4 s", calls[0][0], 15 + 1 / had[OURS][0].minutes)
    what = f"idle, {count} services: "
    notes = {side: counted.calls for side, (counted, _) in had.items()}
    yield Figure("i", f"{what}calls of the manager", "/min", *calls, bar=bar, notes=notes)
    yield Figure("i", f"{what}processor of the hub", "s/min", *cpu)
    yield Figure("i", f"{what}memory of the hub", "MiB", *used)
