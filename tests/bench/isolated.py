"""(g) Networks of their own: `start()` and `stop()` beside servers that run, shared and per-user; a hub made anew."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import docker

from bench.figures import Figure
from bench.sides import OURS, real_engine
from support.tiny import tiny_image

MODES = ("shared", "per-user")


@dataclass(frozen=True)
class Size:
    beside: tuple[int, ...] = (0, 20, 50, 100)
    rounds: int = 10


def measure(size: Size) -> Iterable[Figure]:
    figures = []
    with real_engine() as bench:
        client = docker.from_env()
        workers = {mode: bench.worker(OURS) for mode in MODES}
        roles = [f"{bench.name}-hub", f"{bench.name}-proxy"]
        for role in roles:
            client.containers.run(tiny_image(), name=role, network=bench.network, detach=True)

        def job(mode: str) -> dict[str, Any]:
            return {
                "prefix": f"{bench.name}-{mode}",
                "image": tiny_image(),
                "network_name": bench.network,
                "network_isolation": mode,
                "attached_containers": roles,
                "hub_connect_url": f"http://{roles[0]}:8081",
            }

        with closing(client):
            for count in size.beside:
                samples: dict[str, dict[str, list[float]]] = {mode: {"start": [], "stop": []} for mode in MODES}
                for mode in MODES:
                    workers[mode].do("fill", count=count, **job(mode))
                for _ in range(size.rounds):
                    for mode in MODES:
                        for what, seconds in workers[mode].do("one", **job(mode)).items():
                            samples[mode][what].append(seconds)
                for what in ("start", "stop"):
                    for mode in MODES:
                        figures.append(Figure("g", f"{what}() beside {count}, {mode}", "s", samples[mode][what]))
                if count:
                    client.containers.get(roles[0]).remove(force=True)
                    client.containers.run(tiny_image(), name=roles[0], network=bench.network, detach=True)
                    seconds = workers["per-user"].do("hub_anew", prefix=job("per-user")["prefix"])["seconds"]
                    figures.append(Figure("g", f"a new hub has all {count} addresses", "s", [seconds]))
            for worker in workers.values():
                worker.do("empty")
    return figures
