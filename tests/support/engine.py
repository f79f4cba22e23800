"""Leaving an engine as it was found."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import NotFound


@contextmanager
def marked(client: docker.DockerClient) -> Iterator[str]:
    """A name that marks all that is made meanwhile, in labels of containers and at the beginning of names."""
    name = f"dyt{secrets.token_hex(3)}"
    try:
        yield name
    finally:
        clean(client, name)


def clean(client: docker.DockerClient, instance: str) -> None:
    """Remove the containers, volumes and networks that carry this name."""
    for container in client.containers.list(all=True, ignore_removed=True):
        labels = container.attrs["Config"]["Labels"] or {}
        if labels.get("dockyard.instance") == instance or container.name.startswith(instance):
            # One may be about to go by itself.
            with suppress(NotFound):
                container.remove(force=True, v=True)
    for volume in client.volumes.list():
        if volume.name.startswith(instance):
            volume.remove()
    for network in client.networks.list():
        if network.name.startswith(instance):
            network.remove()
