"""A real image registry: Debian's docker-registry in a container, by plain HTTP on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import MSG_PEEK
from threading import Event, Thread

import docker
import requests
from docker.models.images import Image

from support.debian import debian_image
from support.wait import wait_until

# Who may use a private one; the password's bcrypt is what a registry wants.
USER, PASSWORD = "ada", "only-for-tests"
HTPASSWD = f"{USER}:$2b$04$RgTnqktJ5a79fhvq4NRHMOXg1LL4yPUi2RgzbtQdiC6wOaEZ6a2Qy"
PRIVATE = {"REGISTRY_AUTH": "htpasswd", "REGISTRY_AUTH_HTPASSWD_REALM": "r", "REGISTRY_AUTH_HTPASSWD_PATH": "/users"}


class Registry:
    """`host` is what stands before an image's name, such as 127.0.0.1:34567."""

    def __init__(self, host: str, auth: dict[str, str] | None = None):
        self.host = host
        self._auth = auth

    def push(self, image: Image, name: str) -> str:
        """Put an image there under `name` (repository:tag); the engine has it under no such name afterwards."""
        client = docker.from_env()
        reference = f"{self.host}/{name}"
        image.tag(reference)
        for line in client.images.push(reference, stream=True, decode=True, auth_config=self._auth):
            assert "error" not in line, line
        client.images.remove(reference)
        return reference


@contextmanager
def registry(address: str = "127.0.0.1", private: bool = False) -> Iterator[Registry]:
    """One that listens on an address of this machine; a private one asks for USER and PASSWORD."""
    client = docker.from_env()
    container = client.containers.run(
        debian_image("dockyard-test/registry:1", "docker-registry"),
        ["sh", "-c", f"echo '{HTPASSWD}' >/users; exec docker-registry serve /etc/docker/registry/config.yml"],
        environment={"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/registry"}
        | (PRIVATE if private else {"REGISTRY_AUTH": ""}),
        volumes=["/registry"],
        ports={"5000/tcp": (address, None)},
        detach=True,
    )
    try:
        container.reload()
        (binding,) = container.ports["5000/tcp"]
        host = f"{address}:{binding['HostPort']}"

        def answers() -> bool:
            try:
                return requests.get(f"http://{host}/v2/", timeout=2).status_code == (401 if private else 200)
            except requests.ConnectionError:
                return False

        wait_until(answers, timeout=30, what=f"the registry answers: {container.logs()!r}")
        yield Registry(host, {"username": USER, "password": PASSWORD} if private else None)
    finally:
        container.remove(force=True, v=True)


@dataclass
class Torn:
    """A way to a registry, by `host`, on which no layer comes whole: half of it, and nothing more until `cut` is set,
    when the connection ends. `begun` is set when there is a half."""

    host: str = ""
    begun: Event = field(default_factory=Event)
    cut: Event = field(default_factory=Event)


# Anything larger is a layer.
_DESCRIPTION = 16 * 2**10


@contextmanager
def torn(registry: Registry, address: str) -> Iterator[Torn]:
    """One that listens on an address of this machine."""
    way = Torn()

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            # The engine tries TLS first.
            if self.connection.recv(1, MSG_PEEK) != b"\x16":
                super().handle()

        def do_GET(self) -> None:
            asked = {"Accept": ", ".join(self.headers.get_all("Accept", ["*/*"]))}
            found = requests.request(self.command, f"http://{registry.host}{self.path}", headers=asked, timeout=30)
            self.send_response(found.status_code)
            for name in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
                if name in found.headers:
                    self.send_header(name, found.headers[name])
            self.end_headers()
            whole = len(found.content) <= _DESCRIPTION
            self.wfile.write(found.content if whole else found.content[: len(found.content) // 2])
            if not whole:
                way.begun.set()
                way.cut.wait()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """It is silent."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        way.host = f"{address}:{server.server_address[1]}"
        try:
            yield way
        finally:
            way.cut.set()
            server.shutdown()
