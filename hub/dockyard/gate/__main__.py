"""`python -m dockyard.gate [SOCKET]`: listen for the hub until a signal ends the process.

The gate listens at SOCKET, which only the hub can open. Without SOCKET, it listens at port 2375 of every address. That
is for a swarm, where hub and gate may be on two nodes of an overlay network. Requests then need the gate's token.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from dockyard.gate.audit import FOLDER, Audit
from dockyard.gate.calls.swarm import SwarmCalls
from dockyard.gate.policy.allowed import Allowed, allowed
from dockyard.gate.relay import relay
from dockyard.gate.server import Server
from dockyard.gate.upstream import Engine
from dockyard.settings.fields import Settings
from dockyard.settings.gatelink import AGAIN, PORT, READ, TOKEN_FILE, token
from dockyard.settings.load import some
from dockyard.settings.sources import Mistakes
from dockyard.settings.types import extra

SOCKET = "/var/run/docker.sock"
PROFILES = Path("/srv/dockyard/profiles.yaml")
# Seconds between two checks for repeated lines of the log that are due.
FLUSH_EVERY = 5.0
# Seconds between two checks whether a process listens at the socket.
LOOK_EVERY = 2.0
SETTINGS = tuple(name for name, field in Settings.model_fields.items() if extra(field)["gate"])


def read_profiles(settings: Any) -> bytes:
    return PROFILES.read_bytes() if settings.profiles_file else b""


def from_settings(settings: Any, profiles: bytes = b"") -> Allowed:
    return allowed(settings, yaml.safe_load(profiles) if settings.profiles_file else [])


def show(profiles: bytes, folder: Path) -> None:
    """Show the profiles that the gate has read."""
    draft = folder / f"{READ}.new"
    draft.write_bytes(profiles)
    draft.replace(folder / READ)


async def abandoned(socket: str, pause: float = LOOK_EVERY) -> None:
    """Return when no process listens at the socket any more.

    An engine that is started again may make another one, while its containers go on (live-restore): the one that they
    have mounted then leads nowhere for good.
    """
    while True:
        await asyncio.sleep(pause)
        try:
            _, writer = await asyncio.open_unix_connection(socket)
            writer.close()
        except ConnectionRefusedError:
            print("The engine has left its socket: the gate ends, for the engine to start it again.", flush=True)
            return
        except OSError:
            # It is busy.
            continue


async def flushed(audit: Audit, pause: float = FLUSH_EVERY) -> None:
    while True:
        await asyncio.sleep(pause)
        audit.flush()


async def ends_when_asked(folder: Path, ended: asyncio.Event) -> asyncio.Server:
    """Exit when a hub that has read other profiles connects: the engine restarts the gate, which reads them, too."""

    async def heard(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        print("The hub has read other profiles: the gate exits, and the engine restarts it.", flush=True)
        ended.set()

    return await asyncio.start_unix_server(heard, folder / AGAIN)


async def serve(settings: Any, path: str, known_by: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    watch = asyncio.create_task(abandoned(SOCKET))
    watch.add_done_callback(lambda _: ended.set())
    if settings.engine_access == "socket":
        print(
            "The gate is off: with ENGINE_ACCESS=socket, an attacker who controls the hub controls the host.",
            flush=True,
        )
        joined = relay(SOCKET, known_by)
        async with await (asyncio.start_unix_server(joined, path) if path else asyncio.start_server(joined, port=PORT)):
            await ended.wait()
        return
    engine = Engine(SOCKET)
    audit = Audit(folder=FOLDER if FOLDER.is_dir() else None)
    profiles = read_profiles(settings)
    runner = Server(SwarmCalls(engine, from_settings(settings, profiles)), audit, token=known_by).runner()
    flushing = asyncio.create_task(flushed(audit))
    asked = None
    if path:
        show(profiles, Path(path).parent)
        asked = await ends_when_asked(Path(path).parent, ended)
    await engine.start()
    await runner.setup()
    try:
        await (web.UnixSite(runner, path) if path else web.TCPSite(runner, port=PORT)).start()
        await ended.wait()
    finally:
        flushing.cancel()
        if asked:
            asked.close()
        await runner.cleanup()
        await engine.close()
        audit.close()


def main() -> None:
    try:
        settings = some(*SETTINGS)
    except Mistakes as mistakes:
        sys.exit("The gate does not start. Wrong in .env:\n" + "\n".join(f"  - {line}" for line in mistakes.lines))
    path = sys.argv[1] if sys.argv[1:] else ""
    try:
        known_by = "" if path else token()
    except (OSError, ValueError) as error:
        sys.exit(f"The gate does not start. The token of hub and gate can't be used: {error}")
    if not path and not known_by:
        sys.exit(f"The gate does not start. On a network it needs the secret {TOKEN_FILE}: 'make swarm-up' creates it.")
    asyncio.run(serve(settings, path, known_by))


if __name__ == "__main__":
    main()
