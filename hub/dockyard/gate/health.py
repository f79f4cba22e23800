"""`python -m dockyard.gate.health [SOCKET]`: ends with 0 where the gate answers, and the engine behind it."""

from __future__ import annotations

import http.client
import socket
import sys

from dockyard.settings.gatelink import PORT, TOKEN_HEADER, token

# Seconds. An engine that takes longer is not well.
TIMEOUT = 4.0


def answers(path: str) -> bool:
    """Does a gate that was started with this argument (empty: none) say that its engine is there?"""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT)
    try:
        if path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(TIMEOUT)
            connection.sock.connect(path)
        connection.request("GET", "/_ping", headers={} if path else {TOKEN_HEADER: token()})
        return connection.getresponse().status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if answers(*sys.argv[1:2] or [""]) else 1)
