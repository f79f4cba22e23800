"""What is compared: our spawner and its predecessor, each under a hub of the same version, and the engine."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker

from support.engine import clean
from support.jupyterhub import Hub
from support.repo import ROOT
from support.venvs import python_of

OURS, PREDECESSOR, ENGINE = "ours", "predecessor", "engine"

SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = "{prefix}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.remove = True
"""


def python(side: str) -> str:
    return python_of("predecessor") if side == PREDECESSOR else sys.executable


def settings(side: str, prefix: str, **texts: str) -> str:
    """What both hubs are told, and to ours its instance."""
    text = SETTINGS.format(prefix=prefix, **texts)
    return text if side == PREDECESSOR else f'{text}c.DockerSpawner.instance = "{prefix}"\n'


class Bench:
    """A place on the real engine: a network and names of its own, emptied at the end."""

    def __init__(self, name: str, network: str, gateway: str, stack: ExitStack) -> None:
        self.name = name
        self.network = network
        self.gateway = gateway
        self._stack = stack

    def prefix(self, side: str) -> str:
        return f"{self.name}-{side}"

    def hubs(self, image: str, more: str = "", address: str = "127.0.0.1") -> dict[str, Hub]:
        """A running hub of each side. `address` is the hubs' own, for servers that have to reach it."""
        hubs = {side: self.hub(side, image, more, address) for side in (OURS, PREDECESSOR)}
        with ThreadPoolExecutor() as pool:
            list(pool.map(Hub.start, hubs.values()))
        return hubs

    def hub(self, side: str, image: str, more: str, address: str) -> Hub:
        """One that has still to be started."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dockyard-bench-")))
        text = settings(side, self.prefix(side), image=image, network=self.network)
        hub = Hub(folder, text + more, python=python(side), address=address)
        self._stack.callback(hub.stop)
        return hub

    def worker(self, side: str) -> Worker:
        return self._stack.enter_context(worker(side))


@contextmanager
def real_engine() -> Iterator[Bench]:
    name = f"dyb{secrets.token_hex(3)}"
    client = docker.from_env()
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(clean, client, name)
        network = client.networks.create(f"{name}-net", driver="bridge")
        network.reload()
        gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
        yield Bench(name, str(network.name), gateway, stack)


class Worker:
    """A process under a side's own Python that carries out jobs of worker.py one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, job: str, **arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"job": job, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the worker ended during {job}"
        return json.loads(line)


@contextmanager
def worker(side: str) -> Iterator[Worker]:
    process = subprocess.Popen(
        [python(side), "-m", "bench.worker", side],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    try:
        yield Worker(process)
    finally:
        process.communicate()
