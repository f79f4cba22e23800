"""Whether users' servers still find the hub by its name.

An engine may lose the names on its networks while the hub runs, as after it has left a swarm. A server that starts then
does not reach the hub, and fails after a minute. So each start looks up the name of the hub on the servers' network.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from dockerspawner._errors.failures import failure
from dockerspawner._networks.isolation import PER_USER

HUB = "hub"
# Seconds that a start waits for the resolver. An engine answers for its own names within milliseconds.
PATIENCE = 1.0
# Seconds until a second look-up: an engine that has just restarted may not know its names yet.
AGAIN = 0.3
# What a resolver answers that knows no such name. A resolver that can't answer says EAI_AGAIN.
_UNKNOWN = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

# Names that this process has resolved. Other names prove nothing: without an embedded DNS server, there are none.
_seen: set[str] = set()
# One look-up at a time: a resolver that hangs must not occupy all threads.
_looking: dict[str, asyncio.Future[bool]] = {}


def on(network: str) -> str:
    """The hub's name on one network, as the engine's DNS server has it."""
    return f"{HUB}.{network}"


def remember(network: str) -> threading.Thread:
    """Look up the hub's name on `network` now, in the background."""
    thread = threading.Thread(target=_is_lost, args=(on(network),), daemon=True)
    thread.start()
    return thread


async def check(spawner: Any) -> None:
    """Refuse a start if the engine has lost the hub's name on the network of the server.

    A start passes if that is not certain: if the name was never resolved, or the resolver does not answer in time.
    """
    name = on(spawner.network_name)
    is_asked_for = urlsplit(spawner.hub_connect_url or "").hostname == HUB
    if name not in _seen or not is_asked_for or spawner.network_isolation == PER_USER:
        # With per-user, the network of a server is new, and so are its names.
        return
    if name not in _looking or _looking[name].done():
        _looking[name] = asyncio.get_running_loop().run_in_executor(None, _is_lost, name)
    done, _ = await asyncio.wait({_looking[name]}, timeout=PATIENCE)
    if done and _looking[name].result():
        spawner.log.error(
            "The server of %s was not started: the engine has lost the hub's name on the network %s, as after 'docker "
            "swarm leave'. 'make up' recreates the services whose names are lost",
            spawner.user.name,
            spawner.network_name,
        )
        raise failure(
            "The server can't be started: the network has lost the hub's name. Ask an administrator to repair it.",
            reason="names",
            status=503,
        )


def _is_lost(name: str) -> bool:
    """Does the engine certainly not know the name, asked twice?"""
    if not _is_unknown(name):
        return False
    time.sleep(AGAIN)
    return _is_unknown(name)


def _is_unknown(name: str) -> bool:
    short = _failure(HUB)
    if short in _UNKNOWN:
        # Unknown on all networks of the hub. Other DNS servers, which may be slow, are not asked for it.
        return True
    error = _failure(name)
    if short == error == 0:
        _seen.add(name)
    return error in _UNKNOWN


def _failure(name: str) -> int:
    """The resolver's error code, 0 for an answer."""
    try:
        # For IPv4 alone: the engine sends other questions about its own names to other DNS servers.
        socket.getaddrinfo(name, None, family=socket.AF_INET)
    except socket.gaierror as error:
        return int(error.errno or 0)
    except (OSError, UnicodeError):
        return socket.EAI_AGAIN
    return 0
