"""(j) A class that starts at once on a swarm: many users of a hub, `start()` alone, and plain services."""

from __future__ import annotations

import itertools
import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clicks import clicks, enroll, halt
from bench.figures import Figure
from bench.sides import ENGINE, OURS, worker
from support.jupyterhub import Hub
from support.swarm import Swarm, swarm
from support.tiny import tiny_image

SETTINGS = """
c.JupyterHub.spawner_class = "docker-swarm"
c.SwarmSpawner.client_kwargs = {{"base_url": "{url}"}}
c.SwarmSpawner.prefix = c.SwarmSpawner.instance = "{prefix}"
c.SwarmSpawner.image = "{image}"
c.SwarmSpawner.use_internal_ip = False
"""

HUB, ALONE, PLAIN = "hub", "alone", "plain"


@dataclass(frozen=True)
class Size:
    users: int = 30
    rounds: int = 3
    workers: int = 2


def measure(size: Size) -> Iterable[Figure]:
    names = [f"u{n}" for n in range(size.users)]
    prefix = f"dyb{secrets.token_hex(3)}"
    with (
        swarm(managers=1, workers=size.workers) as nodes,
        running_hub(nodes, f"{prefix}-hub") as hub,
        worker(OURS) as ours,
        worker(ENGINE) as engine,
    ):
        nodes.load(tiny_image())
        enroll(hub, names)
        one = {"count": size.users, "image": tiny_image(), "url": nodes.manager.url}

        def through_hub() -> list[float]:
            waits = clicks(hub, names)
            halt(hub, names)
            return waits

        ways: dict[str, Callable[[], list[float]]] = {
            HUB: through_hub,
            ALONE: lambda: list(ours.do("services", prefix=f"{prefix}-alone", **one)["waits"]),
            PLAIN: lambda: list(engine.do("services", prefix=f"{prefix}-plain", **one)["waits"]),
        }
        for warm_up in ways.values():
            warm_up()
            nodes.wait_until_idle()
        waits: dict[str, list[list[float]]] = {way: [] for way in ways}
        for number in range(size.rounds):
            # Another order each time: what the machine does meanwhile befalls each of them alike.
            for way in itertools.islice(itertools.cycle(ways), number, number + len(ways)):
                waits[way].append(ways[way]())
                nodes.wait_until_idle()
    return figures(waits, size)


@contextmanager
def running_hub(nodes: Swarm, prefix: str) -> Iterator[Hub]:
    with tempfile.TemporaryDirectory(prefix="dockyard-bench-") as folder:
        settings = SETTINGS.format(url=nodes.manager.url, prefix=prefix, image=tiny_image())
        with Hub(Path(folder), settings) as hub:
            yield hub


def figures(waits: dict[str, list[list[float]]], size: Size) -> list[Figure]:
    last = {way: [max(burst) for burst in bursts] for way, bursts in waits.items()}
    median = {way: [statistics.median(burst) for burst in bursts] for way, bursts in waits.items()}
    what = f"{size.users} services at once on {size.workers + 1} nodes, "
    return [
        Figure("j", f"{what}{said} {who} waits", "s", had[way], engine=had[PLAIN])
        for said, had in (("the median", median), ("the last", last))
        for way, who in ((HUB, "user of a hub"), (ALONE, "start()"))
    ]
