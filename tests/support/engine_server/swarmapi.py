"""The part of the Docker HTTP API that speaks of a swarm, over a Swarm."""

from __future__ import annotations

from aiohttp import web

from support.engine_server.answers import CREATED, Handler, body, filters, framed
from support.engine_server.swarm import Swarm


class SwarmApi:
    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm

    def routes(self) -> list[tuple[str, str, Handler]]:
        known: list[tuple[str, str, Handler]] = [
            ("GET", "/services", self.services),
            ("POST", "/services/create", self.create),
            ("GET", "/services/{id}", self.service),
            ("DELETE", "/services/{id}", self.remove),
            ("GET", "/services/{id}/logs", self.logs),
            ("GET", "/tasks", self.tasks),
            ("GET", "/tasks/{id}", self.task),
            ("GET", "/nodes", self.nodes),
            ("GET", "/nodes/{id}", self.node),
        ]
        return [(method, path, self._of_a_manager(handler)) for method, path, handler in known]

    def _of_a_manager(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.swarm.must_be_managed()
            return await handler(request)

        return answer

    async def services(self, request: web.Request) -> web.Response:
        return web.json_response(self.swarm.listed_services(filters(request)))

    async def create(self, request: web.Request) -> web.Response:
        service = self.swarm.create(await body(request))
        return web.json_response({"ID": service["ID"]}, status=CREATED)

    async def service(self, request: web.Request) -> web.Response:
        return web.json_response(self.swarm.find(request.match_info["id"]))

    async def remove(self, request: web.Request) -> web.Response:
        self.swarm.remove(request.match_info["id"])
        return web.Response()

    async def logs(self, request: web.Request) -> web.Response:
        self.swarm.find(request.match_info["id"])
        return web.Response(body=framed(""), content_type="application/vnd.docker.multiplexed-stream")

    async def tasks(self, request: web.Request) -> web.Response:
        return web.json_response(self.swarm.listed_tasks(filters(request)))

    async def task(self, request: web.Request) -> web.Response:
        return web.json_response(self.swarm.task(request.match_info["id"]))

    async def nodes(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.swarm.nodes.values()))

    async def node(self, request: web.Request) -> web.Response:
        return web.json_response(self.swarm.node(request.match_info["id"]))
