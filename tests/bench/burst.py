"""(a) A class that starts at once: many users of a hub, `start()` alone, and the engine alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.clicks import clicks, enroll, halt
from bench.figures import Bar, Figure, at_least, middle
from bench.sides import ENGINE, OURS, PREDECESSOR, real_engine
from support.tiny import tiny_image

Waits = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Size:
    users: int = 24
    rounds: int = 5


def measure(size: Size) -> Iterable[Figure]:
    image = tiny_image()
    with real_engine() as bench:
        hubs = bench.hubs(image)
        workers = {side: bench.worker(side) for side in (OURS, PREDECESSOR, ENGINE)}
        names = [f"u{n}" for n in range(size.users)]
        for hub in hubs.values():
            enroll(hub, names)

        def through_hub(side: str) -> list[float]:
            waits = clicks(hubs[side], names)
            halt(hubs[side], names)
            return waits

        def alone(side: str) -> list[float]:
            job = {"count": size.users, "prefix": bench.prefix(side), "image": image, "network_name": bench.network}
            return list(workers[side].do("burst", **job)["waits"])

        ways: dict[str, Callable[[], list[float]]] = {
            "hub ours": lambda: through_hub(OURS),
            "hub predecessor": lambda: through_hub(PREDECESSOR),
            "alone ours": lambda: alone(OURS),
            "alone predecessor": lambda: alone(PREDECESSOR),
            "engine": lambda: alone(ENGINE),
        }
        for warm_up in ways.values():
            warm_up()
        waits: Waits = {way: [] for way in ways}
        for number in range(size.rounds):
            # Another order each time: what the machine does meanwhile befalls each of them alike.
            for way in itertools.islice(itertools.cycle(ways), number, number + len(ways)):
                waits[way].append(ways[way]())
    return figures(waits, size.users)


def figures(waits: Waits, users: int) -> list[Figure]:
    speed = {way: [users / max(burst) for burst in bursts] for way, bursts in waits.items()}
    shares = {way: [statistics.median(burst) / max(burst) for burst in bursts] for way, bursts in waits.items()}
    hub, before = "hub ours", "hub predecessor"
    fair = Bar("at most 0.65 of the last one's", middle(shares[hub]) or 0, 0.65)

    def last(way: str) -> list[float]:
        return [max(burst) for burst in waits[way]]

    def median(way: str) -> list[float]:
        return [statistics.median(burst) for burst in waits[way]]

    through = (speed[hub], speed[before], speed["engine"])
    alone = (speed["alone ours"], speed["alone predecessor"], speed["engine"])
    of = "the engine's"
    return [
        Figure("a", f"{users} through a hub", "/s", *through, bar=at_least(0.7, of, speed[hub], speed["engine"])),
        Figure("a", f"{users} start() alone", "/s", *alone, bar=at_least(0.95, of, alone[0], alone[2])),
        Figure("a", "the median user waits", "s", median(hub), median(before), median("engine")),
        Figure("a", "the last user waits", "s", last(hub), last(before), last("engine")),
        Figure("a", "median of last", "", shares[hub], shares[before], shares["engine"], bar=fair),
    ]
