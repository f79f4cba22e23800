"""(k) The gate: a class that starts at once by a hub that has the engine through it, and by one that has the socket."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import docker
from docker.utils import kwargs_from_env

from bench.clicks import clicks, enroll, halt
from bench.figures import Figure, at_least
from bench.sides import real_engine
from support.repo import ROOT
from support.tiny import tiny_image

GATED, BARE = "gated", "bare"

# As the kit has them.
SETTINGS = """
c.DockerSpawner.volumes = {"{prefix}-home-{username}": "/home/jovyan"}
c.DockerSpawner.extra_host_config = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
"""


@dataclass(frozen=True)
class Size:
    users: int = 24
    rounds: int = 5


def measure(size: Size) -> Iterable[Figure]:
    image = tiny_image()
    with real_engine() as bench, closing(docker.from_env()) as client:
        project = bench.prefix(GATED)
        client.networks.create(f"{project}_users")
        with gate(project, image) as url:
            more = {
                BARE: SETTINGS,
                GATED: f"{SETTINGS}c.DockerSpawner.network_name = '{project}_users'\n"
                f"c.DockerSpawner.client_kwargs = {{'base_url': '{url}'}}\n",
            }
            hubs = {side: bench.hub(side, image, settings, "127.0.0.1") for side, settings in more.items()}
            names = [f"u{n}" for n in range(size.users)]
            waits: dict[str, list[float]] = {side: [] for side in hubs}
            for hub in hubs.values():
                hub.start()
                enroll(hub, names)
                # Volumes are made now, so that no round has helpers.
                clicks(hub, names)
                halt(hub, names)
            for number in range(size.rounds):
                for side in itertools.islice(itertools.cycle(hubs), number, number + len(hubs)):
                    waits[side].append(max(clicks(hubs[side], names)))
                    halt(hubs[side], names)
    speed = {side: [size.users / wait for wait in samples] for side, samples in waits.items()}
    bar = at_least(0.95, "what it is by the socket", speed[GATED], speed[BARE])
    what = f"{size.users} through hub and gate (engine: by the socket)"
    return [Figure("k", what, "/s", speed[GATED], engine=speed[BARE], bar=bar)]


@contextmanager
def gate(project: str, image: str) -> Iterator[str]:
    """The URL of a gate that is a process of its own, as the kit's is."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'hub'}"}
    socket = kwargs_from_env().get("base_url", "unix:///var/run/docker.sock").removeprefix("unix://")
    command = [sys.executable, "-m", "support.gate", socket, project, image]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stdout
        yield f"tcp://{json.loads(process.stdout.readline())}"
    finally:
        # It ends with its standard input.
        process.communicate()
