"""A real image registry: Debian's docker-registry in a container, by plain HTTP on this machine's loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.models.images import Image

from support.debian import debian_image
from support.wait import wait_until


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
def registry() -> Iterator[Registry]:
    client = docker.from_env()
    container = client.containers.run(
        debian_image("dockyard-test/registry:1", "docker-registry"),
        ["docker-registry", "serve", "/etc/docker/registry/config.yml"],
        environment={"REGISTRY_AUTH": "", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/registry"},
        volumes=["/registry"],
        ports={"5000/tcp": ("127.0.0.1", None)},
        detach=True,
    )
    try:
        container.reload()
        (binding,) = container.ports["5000/tcp"]
        host = f"127.0.0.1:{binding['HostPort']}"

        def answers() -> bool:
            try:
                return requests.get(f"http://{host}/v2/", timeout=2).ok
            except requests.ConnectionError:
                return False

        wait_until(answers, timeout=30, what=f"the registry answers: {container.logs()!r}")
        yield Registry(host)
    finally:
        container.remove(force=True, v=True)
