"""(b) From a click to a notebook that answers, with the kit's own image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import docker

from bench.clicks import clicks, enroll, halt
from bench.figures import Figure, at_most
from bench.sides import ENGINE, OURS, PREDECESSOR, Bench, real_engine
from support.notebook import notebook_image


@dataclass(frozen=True)
class Size:
    """`image` "" is the kit's, which is built where it is missing."""

    rounds: int = 10
    image: str = ""


def measure(size: Size) -> Iterable[Figure]:
    image = size.image or notebook_image()
    waits: dict[str, list[float]] = {OURS: [], PREDECESSOR: [], ENGINE: []}
    with real_engine() as bench:
        # A notebook server asks for its hub before it answers.
        hubs = bench.hubs(image, address=bench.gateway)
        for hub in hubs.values():
            enroll(hub, ["ann"])
        engine, run = bench.worker(ENGINE), as_the_hub_does(bench, hubs[OURS], image)

        def wait(side: str) -> float:
            if side == ENGINE:
                return float(engine.do("run", prefix=bench.prefix(ENGINE), **run)["waits"][0])
            (waited,) = clicks(hubs[side], ["ann"])
            halt(hubs[side], ["ann"])
            return waited

        for side in waits:
            wait(side)
        for number in range(size.rounds):
            for side in itertools.islice(itertools.cycle(waits), number, number + len(waits)):
                waits[side].append(wait(side))
    ours, before, alone = waits.values()
    bar = at_most(1.15, "the engine's", ours, alone)
    return [Figure("b", "click to ready, a notebook server", "s", ours, before, alone, bar=bar)]


def as_the_hub_does(bench: Bench, hub: Any, image: str) -> dict[str, Any]:
    """What the engine is told to run for a user of the hub."""
    clicks(hub, ["ann"])
    client = docker.APIClient()
    made = client.inspect_container(f"{bench.prefix(OURS)}-ann")["Config"]
    client.close()
    halt(hub, ["ann"])
    prefix = next(pair.partition("=")[2] for pair in made["Env"] if pair.startswith("JUPYTERHUB_SERVICE_PREFIX="))
    run = {"image": image, "network": bench.network, "path": f"{prefix}api"}
    return {**run, "environment": made["Env"], "command": made["Cmd"]}
