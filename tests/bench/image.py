"""(h) The kit's notebook image, and (as predecessor) the same packages as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import docker

from bench.clicks import enroll
from bench.figures import Figure, at_most
from bench.ready import as_the_hub_does
from bench.sides import ENGINE, OURS, PREDECESSOR, Bench, real_engine
from support.jupyterhub import Hub
from support.notebook import notebook_image, plain_image
from support.user import User

# Each user's name is the side whose image it gets.
IMAGES = """
def image(spawner):
    spawner.image = {images}.get(spawner.user.name, spawner.image)
c.DockerSpawner.pre_spawn_hook = image
"""
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """`image` "" is the kit's, `plain` "" what it is compared with; they are built where they are missing."""

    rounds: int = 10
    memory_rounds: int = 3
    image: str = ""
    plain: str = ""


def measure(size: Size) -> Iterable[Figure]:
    images = {OURS: size.image or notebook_image(), PREDECESSOR: size.plain or plain_image()}
    starts: dict[str, list[float]] = {OURS: [], PREDECESSOR: []}
    idle: dict[str, list[float]] = {OURS: [], PREDECESSOR: []}
    with real_engine() as bench:
        hub = bench.hub(OURS, images[OURS], IMAGES.format(images=images), bench.gateway)
        hub.start()
        enroll(hub, ["ann"])
        run = {**as_the_hub_does(bench, hub, images[OURS]), "command": None, "prefix": bench.prefix(ENGINE)}
        engine = bench.worker(ENGINE)

        def start(side: str) -> float:
            return float(engine.do("run", **{**run, "image": images[side]})["waits"][0])

        for side in starts:
            start(side)
        for _ in range(size.rounds):
            for side, waits in starts.items():
                waits.append(start(side))
        for _ in range(size.memory_rounds):
            for side, taken in idle.items():
                taken.append(memory_with_a_kernel(bench, hub, side))
    bar = at_most(0.7, "the packages' as they come", starts[OURS], starts[PREDECESSOR])
    return [
        Figure("h", "docker run to first answer, a notebook server", "s", starts[OURS], starts[PREDECESSOR], bar=bar),
        Figure("h", "its memory, idle, with one kernel", "MiB", idle[OURS], idle[PREDECESSOR]),
        Figure("h", "its image", "MiB", [megabytes(images[OURS])], [megabytes(images[PREDECESSOR])]),
    ]


def memory_with_a_kernel(bench: Bench, hub: Hub, name: str) -> float:
    """MiB that the server and its kernel have to themselves: pages of files are shared by all servers of an image."""
    user = User(hub.url, name, "any").sign_in().started()
    with user.kernel() as kernel:
        kernel.run("1")
    client = docker.APIClient()
    stats: dict[str, Any] = client.stats(f"{bench.prefix(OURS)}-{name}", stream=False, one_shot=True)
    client.close()
    user.stop()
    counted = stats["memory_stats"]["stats"]
    # The first is the name in the second version of control groups.
    return float(counted["anon"] if "anon" in counted else counted["rss"]) / MEBIBYTE


def megabytes(image: str) -> float:
    client = docker.APIClient()
    size = client.inspect_image(image)["Size"]
    client.close()
    return float(size) / MEBIBYTE
