"""(d) One user's start while another's pull hangs, and while ten servers take their time to stop."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
import requests

from bench.clicks import clicks, enroll, halt
from bench.figures import Figure, at_most
from bench.sides import OURS, PREDECESSOR, real_engine
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.wait import wait_until

# Our spawner says how long a server has to end; for its predecessor the container does.
SETTINGS = """
c.DockerSpawner.stop_timeout = {grace}

def before(spawner):
    if spawner.user.name.startswith("puller"):
        spawner.image = "127.0.0.1:{port}/" + spawner.user.name
    if spawner.user.name.startswith("stubborn"):
        spawner.extra_create_kwargs = {{"stop_signal": "SIGTERM", "stop_timeout": {grace}}}

c.Spawner.pre_spawn_hook = before
"""

# Seconds of a start on an idle hub, and of one that is disturbed, a pair a round.
Samples = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Size:
    """Seconds: `hold`, for which the registry keeps the predecessor waiting; `grace`, until a server is killed."""

    ours: int = 5
    predecessor: int = 1
    stubborn: int = 10
    hold: float = 20
    grace: int = 10


class HangingRegistry:
    """Accepts every connection, and never answers."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.asked = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._open.append(self._listening.accept()[0])
                self.asked.set()

    def let_go(self) -> None:
        """Refuse everyone from now on, and end what is open."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            one.close()


@contextmanager
def hanging_registry() -> Iterator[HangingRegistry]:
    registry = HangingRegistry()
    try:
        yield registry
    finally:
        registry.let_go()


def measure(size: Size) -> Iterable[Figure]:
    pulling: dict[str, Samples] = {}
    stopping: dict[str, Samples] = {}
    with real_engine() as bench, hanging_registry() as registry:
        hubs = bench.hubs(tiny_image(), SETTINGS.format(port=registry.port, grace=size.grace))
        for side, rounds in ((OURS, size.ours), (PREDECESSOR, size.predecessor)):
            _warm(hubs[side])
            stopping[side] = _during_stops(hubs[side], bench.prefix(side), rounds, size.stubborn)
            # The last, as the registry that lets go of the predecessor is gone then.
            hold = size.hold if side == PREDECESSOR else None
            pulling[side] = _during_pulls(hubs[side], registry, rounds, hold)
    what = {"a pull hangs": pulling, f"{size.stubborn} servers stop": stopping}
    return [figure for name, sides in what.items() for figure in _figures(name, sides)]


def _figures(name: str, sides: dict[str, Samples]) -> Iterator[Figure]:
    (idle, busy), (idle_before, busy_before) = sides[OURS], sides[PREDECESSOR]
    yield Figure("d", "a start on an idle hub", "s", idle, idle_before)
    yield Figure("d", f"a start while {name}", "s", busy, busy_before, bar=at_most(1.2, "its idle time", busy, idle))


def _start(hub: Hub) -> float:
    (waited,) = clicks(hub, ["ann"])
    return waited


def _warm(hub: Hub) -> None:
    enroll(hub, ["ann"])
    _start(hub)
    halt(hub, ["ann"])


def _ask(hub: Hub, name: str, method: str) -> None:
    """Order a start or a stop, and don't wait for it."""
    with contextlib.suppress(requests.Timeout):
        hub.http.request(method, f"{hub.api}/users/{name}/server", timeout=0.2)


def _during_pulls(hub: Hub, registry: HangingRegistry, rounds: int, hold: float | None) -> Samples:
    idle: list[float] = []
    busy: list[float] = []
    for number in range(rounds):
        idle.append(_start(hub))
        halt(hub, ["ann"])
        registry.asked.clear()
        enroll(hub, [f"puller{number}"])
        _ask(hub, f"puller{number}", "POST")
        assert registry.asked.wait(30), "nobody has asked the registry"
        patience = threading.Timer(hold or 0, registry.let_go)
        if hold is not None:
            patience.start()
        busy.append(_start(hub))
        patience.cancel()
        halt(hub, ["ann"])
    return idle, busy


def _during_stops(hub: Hub, prefix: str, rounds: int, count: int) -> Samples:
    idle: list[float] = []
    busy: list[float] = []
    client = docker.APIClient()
    names = [f"stubborn{n}" for n in range(count)]
    enroll(hub, names)
    for _ in range(rounds):
        idle.append(_start(hub))
        halt(hub, ["ann"])
        clicks(hub, names)
        for name in names:
            _ask(hub, name, "DELETE")
        wait_until(lambda: all(_pending(hub, name) for name in names), timeout=10, what="the stops under way")
        busy.append(_start(hub))
        for name in names:
            with contextlib.suppress(docker.errors.APIError):
                client.kill(f"{prefix}-{name}")
        halt(hub, ["ann", *names])
    client.close()
    return idle, busy


def _pending(hub: Hub, name: str) -> bool:
    return not hub.user(name)["servers"].get("", {}).get("ready")
