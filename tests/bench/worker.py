"""Jobs without a hub, run by a side's own Python: JSON in, JSON out, a line each. No test's packages are needed."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.types

import dockerspawner
from support.spawners import make_spawner

Json = dict[str, Any]
PAUSE = 0.005


def answers(host: str, port: int, path: str) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def first_answer(host: str, port: int, path: str = "/api") -> None:
    deadline = time.monotonic() + 60
    while not answers(host, port, path):
        assert time.monotonic() < deadline, f"nothing answers at {host} port {port}"
        time.sleep(PAUSE)


class Spawners:
    """`start()` of many spawners at once."""

    def __init__(self, ours: bool) -> None:
        self._ours = ours
        self._loop = asyncio.new_event_loop()
        # By prefix.
        self._running: dict[str, list[Any]] = {}

    def burst(self, count: int, prefix: str, **traits: Any) -> Json:
        return self._loop.run_until_complete(self._burst(count, prefix, **traits))

    def services(self, count: int, prefix: str, image: str, url: str) -> Json:
        """As `burst`, of services."""
        traits = {"image": image, "client_kwargs": {"base_url": url}, "use_internal_ip": False}
        cls = dockerspawner.SwarmSpawner
        return self._loop.run_until_complete(self._burst(count, prefix, cls=cls, start_timeout=300, **traits))

    async def _burst(self, count: int, prefix: str, **traits: Any) -> Json:
        if self._ours:
            traits["instance"] = prefix
        spawners = [make_spawner(f"s{n}", prefix=prefix, remove=True, **traits) for n in range(count)]
        began = time.perf_counter()
        waits = await asyncio.gather(*(self._start(spawner, began) for spawner in spawners))
        await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))
        return {"waits": waits}

    async def _start(self, spawner: Any, began: float) -> float:
        host, port = await spawner.start()
        # Ours has waited for it.
        if not self._ours:
            await asyncio.to_thread(first_answer, host, port)
        return time.perf_counter() - began

    def fill(self, count: int, prefix: str, **traits: Any) -> Json:
        """Have `count` servers run."""
        running = self._running.setdefault(prefix, [])
        more = [self._isolated(f"r{n}", prefix, **traits) for n in range(len(running), count)]
        running += more
        self._loop.run_until_complete(_gather(spawner.start() for spawner in more))
        return {}

    def one(self, prefix: str, **traits: Any) -> Json:
        """Seconds of the start and the stop of one more."""
        spawner = self._isolated("one", prefix, **traits)
        began = time.perf_counter()
        self._loop.run_until_complete(spawner.start())
        started = time.perf_counter()
        self._loop.run_until_complete(spawner.stop(now=True))
        return {"start": started - began, "stop": time.perf_counter() - started}

    def hub_anew(self, prefix: str) -> Json:
        """Seconds until a hub that knows of no network yet has the addresses of all its servers."""
        running = self._running[prefix]
        del running[0].engine.networks[prefix]
        began = time.perf_counter()
        self._loop.run_until_complete(_gather(spawner.get_url() for spawner in running))
        return {"seconds": time.perf_counter() - began}

    def empty(self) -> Json:
        running = [spawner for spawners in self._running.values() for spawner in spawners]
        self._loop.run_until_complete(_gather(spawner.stop(now=True) for spawner in running))
        self._running.clear()
        return {}

    def _isolated(self, name: str, prefix: str, **traits: Any) -> Any:
        return make_spawner(name, prefix=prefix, instance=prefix, remove=True, start_timeout=300, **traits)


async def _gather(calls: Iterable[Awaitable[Any]]) -> None:
    await asyncio.gather(*calls)


class Engine:
    """Create, start, first answer: what no spawner can do without."""

    def __init__(self) -> None:
        self._client = docker.APIClient(max_pool_size=16)

    def burst(self, count: int, prefix: str, image: str, network_name: str, lanes: int = 8) -> Json:
        environment = make_spawner("s").get_env()
        one: Json = {"image": image, "network": network_name, "environment": environment}
        names = [f"{prefix}-s{n}" for n in range(count)]
        began = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            waits = list(pool.map(lambda name: self._run(name, began, **one), names))
            list(pool.map(self._remove, names))
        return {"waits": waits}

    def run(self, prefix: str, **one: Any) -> Json:
        name = f"{prefix}-s"
        try:
            return {"waits": [self._run(name, time.perf_counter(), **one)]}
        finally:
            self._remove(name)

    def _run(
        self,
        name: str,
        began: float,
        image: str,
        network: str,
        environment: Any,
        command: list[str] | None = None,
        path: str = "/api",
    ) -> float:
        host = self._client.create_host_config(network_mode=network)
        self._client.create_container(
            image, command, name=name, environment=environment, host_config=host, ports={"8888/tcp": {}}
        )
        self._client.start(name)
        address = self._client.inspect_container(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
        first_answer(address, 8888, path)
        return time.perf_counter() - began

    def services(self, count: int, prefix: str, image: str, url: str, lanes: int = 8) -> Json:
        """Create services on a swarm, and see each answer where its node publishes it."""
        client = docker.APIClient(url, max_pool_size=lanes)
        environment = make_spawner("s").get_env()
        container = docker.types.ContainerSpec(image, env=environment, labels={"bench": prefix})
        once = docker.types.RestartPolicy("none")
        port = {"TargetPort": 8888, "Protocol": "tcp", "PublishMode": "host"}
        endpoint = docker.types.EndpointSpec("dnsrr", [port])

        def create(number: int) -> str:
            task = docker.types.TaskTemplate(container, restart_policy=once)
            made = client.create_service(task, f"{prefix}-{number}", {"bench": prefix}, endpoint_spec=endpoint)
            return str(made["ID"])

        waits: dict[str, float] = {}
        addresses = {node["ID"]: node["Status"]["Addr"] for node in client.nodes()}
        began = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            services = list(pool.map(create, range(count)))
            while len(waits) < count:
                for task in client.tasks({"label": [f"bench={prefix}"]}):
                    ports = (task["Status"].get("PortStatus") or {}).get("Ports")
                    if task["ServiceID"] not in waits and task["Status"]["State"] == "running" and ports:
                        first_answer(addresses[task["NodeID"]], ports[0]["PublishedPort"])
                        waits[task["ServiceID"]] = time.perf_counter() - began
                time.sleep(PAUSE)
            list(pool.map(client.remove_service, services))
        client.close()
        return {"waits": list(waits.values())}

    def _remove(self, name: str) -> None:
        self._client.remove_container(name, force=True, v=True)


def main() -> None:
    side = sys.argv[1]
    jobs: Any = Engine() if side == "engine" else Spawners(ours=side == "ours")
    # What a spawner prints is not an answer.
    answers_to, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        arguments = json.loads(line)
        job: Callable[..., Json] = getattr(jobs, arguments.pop("job"))
        print(json.dumps(job(**arguments)), file=answers_to, flush=True)


if __name__ == "__main__":
    main()
