"""Ports of this machine, for what listens on them later, or again."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from contextlib import suppress

# Below those that the system gives to connections, and the engine to containers. Each of the processes that run tests
# side by side has its own.
FIRST, EACH, PROCESSES = 20000, 1000, 12
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
_ports = (FIRST + EACH * _process + number % EACH for number in itertools.count(secrets.randbelow(EACH)))


def free_port() -> int:
    """One on which nobody listens, and which nobody else is given meanwhile."""
    for port in itertools.islice(_ports, EACH):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError("all ports are taken")
