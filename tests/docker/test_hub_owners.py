"""A real hub keeps its users' containers and volumes when its address, its instance, or a user's name changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from support.engine import marked
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.venvs import python_of
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

# The tests change the configuration by the files `address` and `instance` in the hub's folder.
SETTINGS = """
from pathlib import Path
c.JupyterHub.hub_connect_ip = Path("address").read_text()
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = "{prefix}"
if Path("instance").exists():
    c.DockerSpawner.instance = Path("instance").read_text()
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.poll_interval = 1
c.DockerSpawner.delete_policy = "delete"

def before(spawner):
    kind = spawner.user.name.partition("-")[0]
    spawner.remove = kind == "removed"
    spawner.stop_action = "pause" if kind == "slept" else "stop"
    if kind != "inside":
        spawner.volumes = {{"{prefix}-home-{{username}}": "/home/jovyan"}}

c.DockerSpawner.pre_spawn_hook = before
"""


@pytest.fixture(scope="module", params=["jupyterhub6", "jupyterhub5"])
def python(request: pytest.FixtureRequest) -> str:
    """The Python that runs the hub."""
    return sys.executable if request.param == "jupyterhub6" else python_of(request.param)


@pytest.fixture
def newest(python: str) -> None:
    """For slow tests that behave the same on both versions of JupyterHub."""
    if python != sys.executable:
        pytest.skip("JupyterHub 6 shows it")


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient, python: str) -> Iterator[str]:
    """The prefix of all names; depends on `python` so that each hub gets a separate one."""
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, python: str) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    (folder / "address").write_text("127.0.0.1")
    with Hub(folder, SETTINGS.format(image=tiny_image(), prefix=instance, network=network), python) as hub:
        yield hub


@pytest.fixture
def containers(client: docker.DockerClient, instance: str) -> Callable[[], dict[str, Any]]:
    def found() -> dict[str, Any]:
        every = client.containers.list(all=True, filters={"name": f"{instance}-"}, ignore_removed=True)
        return {one.name.removeprefix(f"{instance}-"): one for one in every}

    return found


def volumes(client: docker.DockerClient, instance: str) -> set[str]:
    return {one.name.removeprefix(f"{instance}-home-") for one in client.volumes.list(filters={"name": instance})}


def write(container: Any) -> None:
    assert container.exec_run(["touch", "/home/jovyan/mine"]).exit_code == 0


def has_file(container: Any) -> bool:
    return b"mine" in container.exec_run(["ls", "/home/jovyan"]).output


def started(hub: Hub, *server: str) -> None:
    last = hub.spawn(*server)[-1]
    assert last.get("ready"), last


def rename(hub: Hub, old: str, new: str) -> None:
    hub.http.patch(f"{hub.api}/users/{old}", json={"name": new}).raise_for_status()


def again(hub: Hub, address: str, instance: str | None) -> None:
    """Restart the hub with another address and another `instance`."""
    hub.stop()
    (hub.folder / "address").write_text(address)
    (hub.folder / "instance").unlink(missing_ok=True)
    if instance is not None:
        (hub.folder / "instance").write_text(instance)
    hub.start()


@pytest.mark.usefixtures("newest")
def test_hub_at_another_address_keeps_containers_and_volumes(
    hub: Hub, client: Any, instance: str, containers: Callable[[], dict[str, Any]]
) -> None:
    # First as in an earlier version: an instance that is derived from the address.
    again(hub, "127.0.0.1", f"{instance}-01234567")
    users = ["inside-ann", "removed-bob", "kept-cyd", "removed-dan"]
    for user in users:
        started(hub, user)
    before = containers()
    write(before["inside-2dann"])
    for user in users[:3]:
        hub.halt(user)
    again(hub, "localhost", None)
    # The server continues to run, and the hub notices its end.
    wait_until(lambda: hub.is_running("removed-dan"), timeout=30)
    assert containers()["removed-2ddan"].id == before["removed-2ddan"].id
    started(hub, "inside-ann")
    assert containers()["inside-2dann"].id == before["inside-2dann"].id
    assert has_file(containers()["inside-2dann"])
    hub.halt("inside-ann")
    started(hub, "kept-cyd")
    hub.halt("kept-cyd")
    before["removed-2ddan"].kill()
    wait_until(lambda: not hub.is_running("removed-dan"), timeout=30)
    again(hub, "127.0.0.1", None)
    started(hub, "inside-ann")
    assert containers()["inside-2dann"].id == before["inside-2dann"].id
    hub.halt("inside-ann")
    for user in users:
        hub.http.delete(f"{hub.api}/users/{user}").raise_for_status()
    assert containers() == {}
    assert volumes(client, instance) == set()


@pytest.mark.parametrize("kind", ["inside", "kept", "slept", "removed"])
def test_renamed_user_keeps_files(
    hub: Hub, client: Any, instance: str, containers: Callable[[], dict[str, Any]], kind: str
) -> None:
    old, new = f"{kind}-hal", f"{kind}-hans"
    started(hub, old)
    write(containers()[f"{kind}-2dhal"])
    hub.halt(old)
    rename(hub, old, new)
    started(hub, new)
    assert list(containers()) == [f"{kind}-2dhans"]
    assert has_file(containers()[f"{kind}-2dhans"])
    hub.halt(new)
    hub.http.delete(f"{hub.api}/users/{new}").raise_for_status()
    assert containers() == {}
    assert volumes(client, instance) == set()


@pytest.mark.usefixtures("newest")
def test_new_user_of_a_former_name_gets_nothing_of_the_renamed_user(
    hub: Hub, client: Any, instance: str, containers: Callable[[], dict[str, Any]]
) -> None:
    kinds = ["inside", "kept", "slept", "removed"]
    for kind in kinds:
        started(hub, f"{kind}-eve")
        write(containers()[f"{kind}-2deve"])
        hub.halt(f"{kind}-eve")
        rename(hub, f"{kind}-eve", f"{kind}-eva")
    # JupyterHub itself has the former name in URLs until it is restarted.
    again(hub, "127.0.0.1", None)
    for kind in kinds:
        old, new = f"{kind}-eve", f"{kind}-eva"
        started(hub, old)
        assert not has_file(containers()[f"{kind}-2deve"])
        started(hub, new)
        assert has_file(containers()[f"{kind}-2deva"])
        found = containers()
        hub.halt(old)
        started(hub, old)
        hub.halt(old)
        hub.http.delete(f"{hub.api}/users/{old}").raise_for_status()
        assert hub.is_running(new)
        assert containers()[f"{kind}-2deva"].id == found[f"{kind}-2deva"].id
        hub.halt(new)
        started(hub, new)
        assert has_file(containers()[f"{kind}-2deva"])
        hub.halt(new)
        hub.http.delete(f"{hub.api}/users/{new}").raise_for_status()
    assert containers() == {}
    assert volumes(client, instance) == set()


def test_servers_whose_names_differ_by_case_share_nothing(
    hub: Hub, instance: str, python: str, containers: Callable[[], dict[str, Any]]
) -> None:
    if python == sys.executable:
        pytest.skip("JupyterHub 6 makes no servers with capitals")
    for server in ("lab", "Lab"):
        started(hub, "kept-fay", server)
    assert hub.is_running("kept-fay", "lab")
    assert len(containers()) == 2
    assert hub.visit("kept-fay", "lab") == hub.visit("kept-fay", "Lab") == 404
    # JupyterHub refuses to delete a user whose named servers run.
    for server in ("lab", "Lab"):
        hub.halt("kept-fay", server)
    hub.http.delete(f"{hub.api}/users/kept-fay").raise_for_status()
    assert containers() == {}
