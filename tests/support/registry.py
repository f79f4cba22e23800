"""A real image registry: Debian's docker-registry in a container, by plain HTTP on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

    def __init__(self, host: str):
        self.host = host

    def push(self, image: Image, name: str) -> str:
        """Put an image there under `name` (repository:tag); the engine has it under no such name afterwards."""
        client = docker.from_env()
        reference = f"{self.host}/{name}"
        image.tag(reference)
        for line in client.images.push(reference, stream=True, decode=True):
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
        yield Registry(host)
    finally:
        container.remove(force=True, v=True)
