"""(c) How long a hub goes on listing a server that has died."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import docker

from bench.clicks import clicks, enroll, halt
from bench.figures import Bar, Figure, middle
from bench.sides import OURS, PREDECESSOR, real_engine
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.wait import wait_until

LOOK_EVERY = 0.01


@dataclass(frozen=True)
class Size:
    """`poll` is the seconds between a hub's polls, 30 where nobody sets it."""

    ours: int = 10
    predecessor: int = 4
    poll: int = 30


def measure(size: Size) -> Iterable[Figure]:
    image, more = tiny_image(), f"c.Spawner.poll_interval = {size.poll}\n"
    noticed: dict[str, list[float]] = {}
    with real_engine() as bench:
        hubs = bench.hubs(image, more)
        for side, count in ((OURS, size.ours), (PREDECESSOR, size.predecessor)):
            hub = hubs[side]
            names = [f"u{n}" for n in range(count)]
            enroll(hub, names)
            clicks(hub, names)
            # Servers that started together are polled together: the crashes are spread over a poll's interval.
            pauses = [size.poll * n / count if side == PREDECESSOR else 0.5 * n for n in range(count)]
            with ThreadPoolExecutor(count) as pool:
                began = time.monotonic()
                crashes = [
                    pool.submit(crash, hub, f"{bench.prefix(side)}-{name}", name, began + pause)
                    for name, pause in zip(names, pauses, strict=True)
                ]
                noticed[side] = [one.result() for one in crashes]
            halt(hub, names)
    bar = Bar("less than 0.5 s", middle(noticed[OURS]) or 0, 0.5)
    return [Figure("c", "a crash is noticed after", "s", noticed[OURS], noticed[PREDECESSOR], bar=bar)]


def crash(hub: Hub, container: str, name: str, at: float) -> float:
    """Kill the server at that time; seconds from the order to the moment when the hub no longer lists it as ready."""
    client = docker.APIClient()
    wait_until(lambda: time.monotonic() >= at, timeout=60, interval=LOOK_EVERY)
    began = time.perf_counter()
    client.kill(container)
    ready = f"{hub.api}/users/{name}"
    listed = lambda: hub.http.get(ready).json()["servers"].get("", {}).get("ready")  # noqa: E731
    wait_until(lambda: not listed(), timeout=90, interval=LOOK_EVERY, what=f"{name}'s crash noticed")
    client.close()
    return time.perf_counter() - began
