"""python -m support.engine_server SOCKET: a fake Docker engine at a unix socket, controlled at SOCKET.control."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path

import jupyterhub
from aiohttp import web

from support.engine_server.api import Api
from support.engine_server.control import Controls
from support.engine_server.faults import Faults
from support.engine_server.state import State
from support.engine_server.swarm import Swarm

ADDRESSES = ("127.0.0.1", "127.0.0.2")


async def serve_containers(answering: asyncio.Event, port: int) -> int:
    """Where every container answers, whatever the path."""

    async def answer(request: web.Request) -> web.Response:
        await answering.wait()
        version = jupyterhub.__version__
        return web.json_response({"version": version}, headers={"X-JupyterHub-Version": version})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for address in ADDRESSES:
        site = web.TCPSite(runner, address, port)
        await site.start()
        port = port or runner.addresses[0][1]
    return port


async def run(options: argparse.Namespace) -> None:
    servers = asyncio.Event()
    servers.set()
    port = await serve_containers(servers, options.port)
    state, faults = State(options.image, port), Faults()
    swarm = Swarm(state.events, port, options.manager)
    api = Api(state, swarm)
    runner: web.AppRunner | None = None

    async def gate(is_open: bool) -> None:
        """Open: the engine can be connected to. Closed: it can't, and whoever was connected is not any more."""
        nonlocal runner
        if runner is not None:
            await runner.cleanup()
            runner = None
        if is_open:
            app = api.application(faults.meddle)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
            await runner.setup()
            await web.UnixSite(runner, options.socket).start()

    await gate(True)
    controls = Controls(state, swarm, api, faults, gate, servers)
    controlling = web.AppRunner(controls.application(), access_log=None)
    await controlling.setup()
    await web.UnixSite(controlling, f"{options.socket}.control").start()
    if options.containers:
        controls.preload(options.containers, "server-{n}", options.image[0], {}, {}, "users")
    print(json.dumps({"socket": options.socket, "port": port}), flush=True)
    if options.until_eof:
        await asyncio.to_thread(sys.stdin.read)
    else:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="engine_server", description=__doc__)
    parser.add_argument("socket", help="path of the unix socket")
    parser.add_argument("--containers", type=int, default=0, metavar="N", help="running containers to begin with")
    parser.add_argument("--image", action="append", default=[], help="an image that is there (again for more)")
    parser.add_argument("--port", type=int, default=0, help="port at which every container answers HTTP")
    parser.add_argument("--manager", action="store_true", help="manage a swarm of three nodes")
    parser.add_argument("--until-eof", action="store_true", help="end with standard input")
    options = parser.parse_args()
    options.image = options.image or ["tiny:latest"]
    Path(options.socket).unlink(missing_ok=True)
    Path(f"{options.socket}.control").unlink(missing_ok=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options))


if __name__ == "__main__":
    main()
