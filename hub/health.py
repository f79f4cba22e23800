"""Does the hub answer: `python -m health [HOST]` prints the path of its pages.

It needs Python's own library only: the doctor sends it into a container on standard input. Proxies that the environment
names are not used. Exit status 1: no way to the hub; 2: no answer from it; 3: another answer than that it is healthy.
"""

from __future__ import annotations

import socket
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

PORT = 8081
NO_WAY, NO_ANSWER, UNHEALTHY = 1, 2, 3


def get(host: str, path: str, timeout: float = 4) -> tuple[int, str]:
    """Status and path of the redirection, if any. Raises OSError or HTTPException."""
    connection = HTTPConnection(host, PORT, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, urlsplit(response.headers.get("Location", "")).path
    finally:
        connection.close()


def hub_status(host: str) -> tuple[str, int]:
    """Path of the hub's pages, and the status of its health.

    A hub below a path redirects to itself, maybe at a public host. This needs no other request of a hub at `/`.
    """
    status, location = get(host, "/hub/health")
    if not 300 <= status < 400:
        return "/hub/", status
    path = location.removesuffix("hub/health") or "/hub/"
    return path, get(host, f"{path}health")[0]


def main(host: str) -> int:
    try:
        socket.create_connection((host, PORT), 4).close()
    except ConnectionRefusedError:
        return NO_ANSWER
    except OSError as error:
        print(f"{host}:{PORT}: {error}", file=sys.stderr)
        return NO_WAY
    try:
        path, status = hub_status(host)
    except (OSError, HTTPException) as error:
        print(f"{host}:{PORT}: {error or type(error).__name__}", file=sys.stderr)
        return NO_ANSWER
    if status != 200:
        print(f"{host}:{PORT}{path}health: status {status}", file=sys.stderr)
        return UNHEALTHY
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"))
