"""A prefix and an instance of its own for each test; what carries them is removed at its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import docker
import docker.errors
import pytest
from docker.utils import kwargs_from_env

from dockerspawner import DockerSpawner
from support import nested
from support.engine import marked
from support.jupyterhub import Hub
from support.relay import Relay
from support.spawners import make_spawner
from support.tiny import tiny_image

Make = Callable[..., DockerSpawner]

# Each server says whose it is. `polls` has a line for each time that the hub has asked how a server is, and the file
# image-USER the image of that user's server where it is another one; of a patient user's, it does not come.
NODE_HUB = """
from pathlib import Path
from dockerspawner import DockerSpawner

class Polled(DockerSpawner):
    async def poll(self):
        code = await super().poll()
        with open("polls", "a") as polls:
            print(self.user.name, file=polls)
        return code

def before(spawner):
    other = Path(f"image-{{spawner.user.name}}")
    if other.exists():
        spawner.image, spawner.cmd = other.read_text(), None
    if spawner.user.name.startswith("patient"):
        spawner.pull_timeout = 8

c.JupyterHub.spawner_class = Polled
c.DockerSpawner.client_kwargs = {{"base_url": "{node.url}"}}
c.DockerSpawner.use_internal_ip = False
c.DockerSpawner.host_ip = "{node.address}"
c.DockerSpawner.image = "{image}"
c.DockerSpawner.cmd = ["sh", "-c", \"\"\"
mkdir -p /www/user/$JUPYTERHUB_USER
echo $JUPYTERHUB_USER >/www/user/$JUPYTERHUB_USER/whose
exec httpd -f -p 8888 -h /www
\"\"\"]
c.DockerSpawner.volumes = {{"home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.remove = True
c.DockerSpawner.poll_interval = 1
c.DockerSpawner.pre_spawn_hook = before
"""


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


@pytest.fixture(scope="session")
def gateway(client: docker.DockerClient, network: str) -> str:
    """The address by which containers on `network` reach what runs on this machine."""
    return str(client.networks.get(network).attrs["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture
def instance(client: docker.DockerClient) -> Iterator[str]:
    """A name that marks all that one test makes: labels of containers, beginnings of names."""
    with marked(client) as name:
        yield name


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


@pytest.fixture
def socket() -> str:
    """Path of the engine's socket."""
    endpoint = kwargs_from_env().get("base_url", "unix:///var/run/docker.sock")
    if not endpoint.startswith("unix://"):
        pytest.skip(f"the engine is not at a unix socket: {endpoint}")
    return str(endpoint.removeprefix("unix://"))


@pytest.fixture
def relay(socket: str) -> Iterator[Relay]:
    relay = Relay(socket)
    yield relay
    relay.take_away()


@pytest.fixture(scope="module")
def node() -> Iterator[nested.Node]:
    """An engine of the module's own, with little room. It gives up a pull at once, not within a minute."""
    with nested.node(disk="96m", max_download_attempts=1) as node:
        node.load(tiny_image())
        yield node


@pytest.fixture(scope="module")
def node_hub(node: nested.Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose servers are on `node`."""
    hub = Hub(tmp_path_factory.mktemp("hub"), NODE_HUB.format(node=node, image=tiny_image()))
    (hub.folder / "polls").touch()
    with hub:
        yield hub
