"""The second socket of the fake: what a test does behind the backs of the engine's clients."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from support.engine_server import shapes
from support.engine_server.api import Api
from support.engine_server.faults import Fault, Faults
from support.engine_server.shapes import Container, Json
from support.engine_server.state import State
from support.engine_server.swarm import Swarm


class Controls:
    """Each public method is a request `POST /METHOD` with its arguments as JSON; client.py says what they do.

    `gate` opens and closes the engine's socket; `servers` is set while the containers answer HTTP.
    """

    def __init__(
        self,
        state: State,
        swarm: Swarm,
        api: Api,
        faults: Faults,
        gate: Callable[[bool], Awaitable[None]],
        servers: asyncio.Event,
    ) -> None:
        self._state = state
        self._swarm = swarm
        self._api = api
        self._faults = faults
        self._gate = gate
        self._servers = servers

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{name}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        method = None if name.startswith("_") else getattr(self, name, None)
        if not callable(method):
            raise web.HTTPNotFound(text=f"no control named {name}")
        result = method(**await request.json())
        return web.json_response(await result if inspect.isawaitable(result) else result)

    # Calls

    def calls(self, reset: bool) -> dict[str, int]:
        counted = dict(self._faults.calls)
        if reset:
            self._faults.calls.clear()
        return counted

    def fault(self, **settings: Any) -> None:
        self._faults.faults.append(Fault(**settings))

    def clear(self) -> None:
        self._faults.clear()
        self._faults.set_deaf(False)
        self._state.events.silent = False
        self._servers.set()

    def deaf(self, on: bool) -> None:
        self._faults.set_deaf(on)

    async def away(self, on: bool) -> None:
        await self._gate(not on)

    # Events

    def streams(self) -> int:
        return len(self._state.events.streams)

    def cut_events(self, torn: bool) -> None:
        self._state.events.cut(torn)

    def silence_events(self, on: bool) -> None:
        self._state.events.silent = on

    # Containers

    def end(self, name: str, code: int, oom: bool, quiet: bool) -> None:
        one = self._state.find(name)
        with self._state.events.unheard(quiet):
            self._state.end(one, code, oom)

    def oom(self, name: str) -> None:
        self._state.out_of_memory(self._state.find(name))

    def remove(self, name: str, quiet: bool) -> None:
        with self._state.events.unheard(quiet):
            self._state.remove(name, force=True, volumes=False)

    def rename(self, name: str, to: str, quiet: bool) -> None:
        with self._state.events.unheard(quiet):
            self._state.rename(name, to)

    def restart(self, name: str, address: str, quiet: bool) -> None:
        one = self._state.find(name)
        with self._state.events.unheard(quiet):
            if one.running:
                self._state.end(one, 0)
            if address:
                one.networks = dict.fromkeys(one.networks, address)
            self._state.start(one.id)

    def log(self, name: str, text: str) -> None:
        self._state.find(name).log = text

    def server_answers(self, on: bool) -> None:
        (self._servers.set if on else self._servers.clear)()

    def preload(
        self, count: int, name: str, image: str, labels: dict[str, str], environment: dict[str, str], network: str
    ) -> list[Json]:
        """Running containers; `{n}` in every text is their number, from 0."""
        self._state.images.setdefault(image, shapes.image(image))
        if network not in self._state.networks:
            self._state.networks[network] = shapes.network(network, {})
        made = [self._preloaded(n, name, image, labels, environment, network) for n in range(count)]
        return [{"id": one.id, "name": one.name} for one in made]

    def _preloaded(self, n: int, name: str, image: str, labels: Json, environment: Json, network: str) -> Container:
        def fill(text: str) -> str:
            return text.replace("{n}", str(n))

        asked = {
            "Image": image,
            "Labels": {key: fill(value) for key, value in labels.items()},
            "Env": [f"{key}={fill(value)}" for key, value in environment.items()],
            "ExposedPorts": {"8888/tcp": {}},
            "HostConfig": {
                "NetworkMode": network,
                "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            },
        }
        one = self._state.add(fill(name), asked, self._state.images[image])
        self._state._run(one)
        return one

    # Swarm

    def end_task(self, service: str, code: int) -> None:
        self._swarm.end(service, code)

    def node(self, number: int, state: str) -> None:
        self._swarm.set_node(number, state)

    def preload_services(
        self, count: int, name: str, image: str, labels: dict[str, str], environment: dict[str, str], network: str
    ) -> list[Json]:
        """Services whose task runs; `{n}` in every text is their number, from 0."""
        if network not in self._state.networks:
            self._state.networks[network] = shapes.network(network, {"Driver": "overlay", "Attachable": True})
        return [self._preloaded_service(n, name, image, labels, environment, network) for n in range(count)]

    def _preloaded_service(self, n: int, name: str, image: str, labels: Json, environment: Json, network: str) -> Json:
        def fill(text: str) -> str:
            return text.replace("{n}", str(n))

        filled = {key: fill(value) for key, value in labels.items()}
        container = {
            "Image": image,
            "Labels": filled,
            "Env": [f"{key}={fill(value)}" for key, value in environment.items()],
            "Init": False,
            "DNSConfig": {},
            "Isolation": "default",
        }
        task = {
            "ContainerSpec": container,
            "Resources": {},
            "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
            "Placement": {},
            "Networks": [{"Target": network}],
            "ForceUpdate": 0,
            "Runtime": "container",
        }
        asked = {
            "Name": fill(name),
            "Labels": filled,
            "TaskTemplate": task,
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "dnsrr"},
        }
        service = self._swarm.add(asked)
        return {"id": service["ID"], "name": service["Spec"]["Name"]}

    # Images

    def add_image(self, name: str) -> None:
        self._state.images[name] = shapes.image(name)

    def remove_image(self, name: str) -> None:
        self._state.images.pop(name, None)

    def pull_events(self, events: list[Json] | None) -> None:
        self._api.pull_events = events
