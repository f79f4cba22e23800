"""Check that the hub answers: `python -m dockyard.hub.health [HOST]` prints the path of its pages.

The module needs only Python's standard library: `make doctor` passes it to a container on standard input. It ignores
proxies in the environment. Exit status 1: the hub can't be reached; 2: it does not answer; 3: it is not healthy.
"""

from __future__ import annotations

import socket
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

PORT = 8081
NO_WAY, NO_ANSWER, UNHEALTHY = 1, 2, 3


def get(host: str, path: str, timeout: float = 4) -> tuple[int, str]:
    """Return the status, and the path of a redirection. Raises OSError or HTTPException."""
    connection = HTTPConnection(host, PORT, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, urlsplit(response.headers.get("Location", "")).path
    finally:
        connection.close()


def hub_status(host: str) -> tuple[str, int]:
    """Return the path of the hub's pages, and the status of its health check.

    A hub below a path redirects to that path, maybe with a public host. A hub at `/` gets a single request.
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
