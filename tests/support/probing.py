"""Which doors of a kit can be opened from inside a user's server."""

from __future__ import annotations

import json
from typing import Any

from support.user import Kernel
from support.wait import wait_until

Door = tuple[str, int]

# Runs in the server; prints those of `doors` at which a connection is taken.
PROBE = """
import concurrent.futures, json, socket
def opens(door):
    try:
        socket.create_connection(door, 2).close()
        return True
    except OSError:
        return False
doors = json.loads('''{doors}''')
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(json.dumps([door for door, open in zip(doors, pool.map(opens, doors)) if open]))
"""
LISTENING = "0A"


def listens_on(container: Any) -> set[int]:
    """Ports of everything that listens in a container's network namespace, but on its loopback."""
    found = _said(container, "cat", "/proc/net/tcp", "/proc/net/tcp6")
    sockets = [line.split() for line in found.splitlines() if ":" in line.split()[0]]
    where = [fields[1].split(":") for fields in sockets if fields[3] == LISTENING]
    return {int(port, 16) for address, port in where if not _is_loopback(address)}


def _is_loopback(address: str) -> bool:
    # Words of the host's byte order: 127.0.0.1, ::1, ::ffff:127.0.0.1.
    return address[-8:].endswith("7F") or address == "0" * 24 + "01000000"


def doors_of(*containers: Any) -> dict[Door, str]:
    """Every address, of IPv4 or IPv6, and port at which something listens by TCP, with the name of whose it is."""
    doors = {}
    for container in containers:
        container.reload()
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        addresses = {one[kind] for one in networks for kind in ("IPAddress", "GlobalIPv6Address")} - {""}
        doors |= {(address, port): container.name for address in addresses for port in listens_on(container)}
    return doors


def opened_by_user(kernel: Kernel, doors: dict[Door, str]) -> set[Door]:
    return _doors(kernel.run(PROBE.format(doors=json.dumps(list(doors)))))


def opened_by_root(server: Any, doors: dict[Door, str]) -> set[Door]:
    """The same by a process that is root in the server's container."""
    return _doors(_said(server, "python3", "-c", PROBE.format(doors=json.dumps(list(doors)))))


def _said(container: Any, *command: str) -> str:
    """What a command that has something to say says as root. On a busy machine, an engine loses it at times."""

    def said() -> str:
        done = container.exec_run(list(command), user="0")
        assert done.exit_code == 0, done.output
        return str(done.output.decode())

    return str(wait_until(said, timeout=30, what=f"{command[0]} says something"))


def _doors(printed: str) -> set[Door]:
    return {(host, port) for host, port in json.loads(printed)}
