"""A prefix and an instance of its own for each test; what carries them is removed at its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import docker
import docker.errors
import pytest

from dockerspawner import DockerSpawner
from support.engine import clean
from support.spawners import make_spawner
from support.tiny import tiny_image

Make = Callable[..., DockerSpawner]


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def network(client: docker.DockerClient) -> Iterator[str]:
    """A network of this run's own: nothing that others do to the engine's default bridge matters."""
    network = client.networks.create(f"dyt{secrets.token_hex(3)}-net")
    yield str(network.name)
    network.remove()


@pytest.fixture
def instance(client: docker.DockerClient) -> Iterator[str]:
    """A name that marks all that one test makes: labels of containers, beginnings of names."""
    name = f"dyt{secrets.token_hex(3)}"
    yield name
    clean(client, name)


@pytest.fixture
def make(instance: str, network: str) -> Make:
    """Makes spawners of this test's instance, with the tiny image, on this run's network."""

    def make(username: str = "ann", server: str = "", **traits: Any) -> DockerSpawner:
        settings = {
            "image": tiny_image(),
            "prefix": instance,
            "instance": instance,
            "network_name": network,
            "start_timeout": 60,
        }
        return make_spawner(username, server, **{**settings, **traits})

    return make


@pytest.fixture
def containers(client: docker.DockerClient, instance: str) -> Callable[[], list[str]]:
    """Names of the containers that there are of this test's instance."""

    def names() -> list[str]:
        found = client.api.containers(all=True, filters={"label": f"dockyard.instance={instance}"})
        return sorted(name.lstrip("/") for one in found for name in one["Names"])

    return names
