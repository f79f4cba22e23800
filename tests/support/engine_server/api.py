"""The Docker HTTP API over a State, as docker-py calls it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from support.engine_server import shapes
from support.engine_server.answers import CREATED, DONE, HEADERS, Handler, body, filters, flag, framed, speak
from support.engine_server.events import Stream
from support.engine_server.shapes import Json
from support.engine_server.state import State, full_name
from support.engine_server.swarm import Swarm
from support.engine_server.swarmapi import SwarmApi


class Api:
    """`pull_events` is what the next pulls stream; by default an image of one layer that comes at once."""

    def __init__(self, state: State, swarm: Swarm) -> None:
        self.state = state
        self.swarm = swarm
        self.pull_events: list[Json] | None = None

    def application(self, *middlewares: Any) -> web.Application:
        app = web.Application(middlewares=[*middlewares, speak])
        one, exec_, net, vol = "/containers/{id}", "/exec/{id}", "/networks/{id}", "/volumes/{name}"
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/_ping", self.ping),
            ("HEAD", "/_ping", self.ping),
            ("GET", "/version", self.version),
            ("GET", "/info", self.info),
            ("GET", "/events", self.events),
            ("GET", "/containers/json", self.list),
            ("POST", "/containers/create", self.create),
            ("GET", f"{one}/json", self.inspect),
            ("GET", f"{one}/logs", self.logs),
            ("POST", f"{one}/start", self.start),
            ("POST", f"{one}/stop", self.stop),
            ("POST", f"{one}/kill", self.kill),
            ("POST", f"{one}/pause", self.pause),
            ("POST", f"{one}/unpause", self.unpause),
            ("POST", f"{one}/rename", self.rename),
            ("POST", f"{one}/wait", self.wait),
            ("POST", f"{one}/exec", self.execute),
            ("DELETE", one, self.remove),
            ("POST", f"{exec_}/start", self.execute_start),
            ("GET", f"{exec_}/json", self.execute_inspect),
            ("GET", "/images/{name:.+}/json", self.image),
            ("POST", "/images/create", self.pull),
            ("POST", "/volumes/create", self.create_volume),
            ("GET", "/volumes", self.list_volumes),
            ("GET", vol, self.volume),
            ("DELETE", vol, self.remove_volume),
            ("GET", "/networks", self.list_networks),
            ("POST", "/networks/create", self.create_network),
            ("GET", net, self.network),
            ("DELETE", net, self.remove_network),
            ("POST", f"{net}/connect", self.connect),
            ("POST", f"{net}/disconnect", self.disconnect),
            *SwarmApi(self.swarm).routes(),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"/v{{version:[0-9.]+}}{path}", handler)
        return app

    # The engine

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response(shapes.VERSION)

    async def info(self, request: web.Request) -> web.Response:
        states = [one.status for one in self.state.containers.values()]
        counted = {"ContainersRunning": states.count("running"), "ContainersPaused": states.count("paused")}
        stopped = len(states) - sum(counted.values())
        known = {"Driver": "overlay2", "OSType": "linux", "NCPU": 2, "Swarm": self.swarm.info()}
        images = len(self.state.images)
        total = {"Containers": len(states), **counted, "ContainersStopped": stopped, "Images": images}
        return web.json_response({"ID": "fake", "Name": "fake", **total, **known})

    async def events(self, request: web.Request) -> web.StreamResponse:
        events = self.state.events
        stream = Stream(filters(request))
        now = time.time()
        since, until = float(request.query.get("since", now)), float(request.query.get("until", "inf"))
        if "since" in request.query and not events.silent:
            for old in events.past(since, until, stream.filters):
                stream.queue.put_nowait(old)
        if until <= now:
            stream.queue.put_nowait(None)
        elif until != float("inf"):
            asyncio.get_running_loop().call_later(until - now, stream.queue.put_nowait, None)
        events.streams.add(stream)
        try:
            answer = web.StreamResponse(headers={"Content-Type": "application/json", **HEADERS})
            answer.enable_chunked_encoding()
            await answer.prepare(request)
            while event := await stream.queue.get():
                await answer.write(json.dumps(event).encode() + b"\n")
            if stream.torn and request.transport:
                request.transport.abort()
            return answer
        finally:
            events.streams.discard(stream)

    # Containers

    async def list(self, request: web.Request) -> web.Response:
        found = self.state.listed(flag(request, "all"), filters(request))
        limit = int(request.query.get("limit", -1))
        return web.json_response([shapes.summarised(one) for one in (found[:limit] if limit > 0 else found)])

    async def create(self, request: web.Request) -> web.Response:
        asked = await body(request)
        name = request.query.get("name") or f"nameless-{time.time_ns()}"
        one = self.state.create(name, asked)
        return web.json_response({"Id": one.id, "Warnings": []}, status=CREATED)

    async def inspect(self, request: web.Request) -> web.Response:
        return web.json_response(shapes.inspected(self.state.find(request.match_info["id"])))

    async def logs(self, request: web.Request) -> web.Response:
        log = self.state.find(request.match_info["id"]).log
        tail = request.query.get("tail", "all")
        if tail.isdigit():
            log = "".join(log.splitlines(keepends=True)[-int(tail) :])
        return web.Response(body=framed(log), content_type="application/vnd.docker.multiplexed-stream")

    async def start(self, request: web.Request) -> web.Response:
        self.state.start(request.match_info["id"])
        return web.Response(status=DONE)

    async def stop(self, request: web.Request) -> web.Response:
        self.state.stop(request.match_info["id"])
        return web.Response(status=DONE)

    async def kill(self, request: web.Request) -> web.Response:
        self.state.kill(request.match_info["id"], request.query.get("signal", "KILL"))
        return web.Response(status=DONE)

    async def pause(self, request: web.Request) -> web.Response:
        self.state.pause(request.match_info["id"])
        return web.Response(status=DONE)

    async def unpause(self, request: web.Request) -> web.Response:
        self.state.unpause(request.match_info["id"])
        return web.Response(status=DONE)

    async def rename(self, request: web.Request) -> web.Response:
        self.state.rename(request.match_info["id"], request.query["name"])
        return web.Response(status=DONE)

    async def wait(self, request: web.Request) -> web.Response:
        return web.json_response({"StatusCode": await self.state.wait(request.match_info["id"])})

    async def remove(self, request: web.Request) -> web.Response:
        self.state.remove(request.match_info["id"], force=flag(request, "force"), volumes=flag(request, "v"))
        return web.Response(status=DONE)

    async def execute(self, request: web.Request) -> web.Response:
        exec_id = self.state.execute(request.match_info["id"], await body(request))
        return web.json_response({"Id": exec_id}, status=CREATED)

    async def execute_start(self, request: web.Request) -> web.StreamResponse:
        """A command prints itself; the connection is the stream."""
        command = self.state.execs[request.match_info["id"]]["command"]
        kind = "application/vnd.docker.multiplexed-stream"
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": kind}
        answer = web.StreamResponse(status=101, headers=upgrade)
        await answer.prepare(request)
        # A client reads the headers through a buffer, and would lose there what comes in the same packet.
        await asyncio.sleep(0.05)
        if request.transport:
            request.transport.write(framed(" ".join(command) + "\n"))
            request.transport.close()
        return answer

    async def execute_inspect(self, request: web.Request) -> web.Response:
        one = self.state.execs[request.match_info["id"]]
        known = {"ID": request.match_info["id"], "Running": False, "ExitCode": 0}
        return web.json_response({**known, "ContainerID": one["container"]})

    # Images

    async def image(self, request: web.Request) -> web.Response:
        return web.json_response(self.state.image(request.match_info["name"]))

    async def pull(self, request: web.Request) -> web.StreamResponse:
        repository, version = request.query["fromImage"], request.query.get("tag") or "latest"
        name = f"{repository}{'@' if ':' in version else ':'}{version}"
        answer = web.StreamResponse(headers={"Content-Type": "application/json", **HEADERS})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        told = _pull_story(repository, version) if self.pull_events is None else self.pull_events
        for event in told:
            await answer.write(json.dumps(event).encode() + b"\r\n")
        if not any("error" in event for event in told):
            self.state.images[full_name(name)] = shapes.image(full_name(name))
        return answer

    # Volumes and networks

    async def create_volume(self, request: web.Request) -> web.Response:
        asked = await body(request)
        name = asked.get("Name") or shapes.object_id(f"volume {time.time_ns()}")
        return web.json_response(self.state.create_volume(name, asked), status=CREATED)

    async def list_volumes(self, request: web.Request) -> web.Response:
        return web.json_response({"Volumes": list(self.state.volumes.values()), "Warnings": None})

    async def volume(self, request: web.Request) -> web.Response:
        return web.json_response(self.state.volume(request.match_info["name"]))

    async def remove_volume(self, request: web.Request) -> web.Response:
        self.state.remove_volume(request.match_info["name"])
        return web.Response(status=DONE)

    async def list_networks(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.state.networks.values()))

    async def create_network(self, request: web.Request) -> web.Response:
        asked = await body(request)
        network = self.state.create_network(asked["Name"], asked)
        return web.json_response({"Id": network["Id"], "Warning": ""}, status=CREATED)

    async def network(self, request: web.Request) -> web.Response:
        return web.json_response(self.state.network(request.match_info["id"]))

    async def remove_network(self, request: web.Request) -> web.Response:
        self.state.remove_network(request.match_info["id"])
        return web.Response(status=DONE)

    async def connect(self, request: web.Request) -> web.Response:
        self.state.connect(request.match_info["id"], (await body(request))["Container"])
        return web.Response()

    async def disconnect(self, request: web.Request) -> web.Response:
        self.state.disconnect(request.match_info["id"], (await body(request))["Container"])
        return web.Response()


def _pull_story(repository: str, version: str) -> list[Json]:
    layer, size = "0123456789ab", 2_000_000
    host, _, path = repository.partition("/")
    path = path if "." in host or ":" in host else repository
    steps = [{"current": done, "total": size} for done in (size // 4, size // 2, size)]
    return [
        {"status": f"Pulling from {path}", "id": version},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": layer},
        *({"status": "Downloading", "progressDetail": step, "id": layer} for step in steps),
        {"status": "Download complete", "progressDetail": {}, "id": layer},
        {"status": "Pull complete", "progressDetail": {}, "id": layer},
        {"status": f"Digest: sha256:{shapes.object_id(repository + version)}"},
        {"status": f"Status: Downloaded newer image for {repository}:{version}"},
    ]
