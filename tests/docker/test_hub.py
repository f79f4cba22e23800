"""Servers on a real engine, through a real hub process with its proxy: that of the kit, and JupyterHub 5."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import docker
import pytest

from support.engine import marked
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.venvs import python_of
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.remove = True
c.DockerSpawner.poll_interval = 1
c.DockerSpawner.volumes = {{
    "{instance}-home-{{username}}": "/home/jovyan",
    "{instance}-of-{{username}}-{{servername}}": "/data",
}}
c.DockerSpawner.delete_policy = "delete"

def before(spawner):
    if spawner.user.name == "dead-on-arrival":
        spawner.cmd = ["sh", "-c", "echo token=$JUPYTERHUB_API_TOKEN; exit 7"]
    if spawner.user.name == "no-image":
        spawner.image = "localhost:1/no-such-image"
    if spawner.user.name == "sleepy":
        spawner.cmd, spawner.start_timeout = ["sleep", "60"], 10
    if spawner.user.name == "kept":
        spawner.remove = False
    if spawner.user.name in ("ida", "ina"):
        name = spawner.user.name
        spawner.volumes = {{f"{{spawner.prefix}}-hook-{{name}}": "/data", f"{{spawner.prefix}}-hooked": "/shared"}}

c.DockerSpawner.pre_spawn_hook = before
"""


@pytest.fixture(scope="module", params=["jupyterhub6", "jupyterhub5"])
def python(request: pytest.FixtureRequest) -> str:
    """What runs the hub."""
    return sys.executable if request.param == "jupyterhub6" else python_of(request.param)


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient, python: str) -> Iterator[str]:
    """Depends on `python` so that each hub has one of its own."""
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, python: str) -> Iterator[Hub]:
    settings = SETTINGS.format(image=tiny_image(), instance=instance, network=network)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings, python)
    with hub:
        yield hub


def containers(client: docker.DockerClient, instance: str) -> dict[str, str]:
    """Names and ids."""
    found = client.api.containers(all=True, filters={"label": f"dockyard.instance={instance}"})
    return {one["Names"][0].lstrip("/"): one["Id"] for one in found}


def tokens(hub: Hub) -> set[str]:
    """What the hub has noted of the API tokens of servers that it has on record."""
    with closing(sqlite3.connect(f"file:{hub.folder}/jupyterhub.sqlite?mode=ro", uri=True)) as db:
        return {note for (note,) in db.execute("select note from api_tokens where note like 'Server at %'")}


def test_a_user_starts_visits_and_stops_a_server(hub: Hub, client: Any, instance: str) -> None:
    events = hub.spawn("ann")
    assert events[-1]["ready"], events
    assert "Waiting for the server to answer" in [event["message"] for event in events]
    assert hub.visit("ann") == 404
    assert list(containers(client, instance)) == [f"{instance}-ann"]
    hub.halt("ann")
    assert containers(client, instance) == {}


def test_named_servers(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("bob")[-1].get("ready")
    assert hub.spawn("bob", "lab")[-1].get("ready")
    assert sorted(containers(client, instance)) == [f"{instance}-bob", f"{instance}-bob--lab"]
    assert hub.visit("bob", "lab") == 404
    hub.halt("bob", "lab")
    assert hub.is_running("bob")
    hub.halt("bob")


def test_user_names_that_are_no_host_names(hub: Hub, client: Any, instance: str) -> None:
    names = ["ann@example.org", "a.b.c", "zoë", "under_score", "x" * 200]
    with ThreadPoolExecutor(len(names)) as pool:
        last = [events[-1] for events in pool.map(hub.spawn, names)]
    assert all(event.get("ready") for event in last), last
    assert len(containers(client, instance)) == len(names)
    for name in names:
        hub.halt(name)


def test_a_killed_hub_knows_its_servers_again(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("carol")[-1].get("ready")
    assert hub.spawn("dave")[-1].get("ready")
    before = containers(client, instance)
    notes = {"Server at /user/carol/", "Server at /user/dave/"}
    assert notes <= tokens(hub)
    hub.kill()
    client.containers.get(f"{instance}-dave").remove(force=True)
    hub.start()
    wait_until(lambda: hub.is_running("carol") and not hub.is_running("dave"), timeout=30)
    assert containers(client, instance) == {f"{instance}-carol": before[f"{instance}-carol"]}
    wait_until(lambda: hub.visit("carol") == 404, timeout=30)
    hub.halt("carol")
    assert containers(client, instance) == {}
    # This hub has not made them.
    wait_until(lambda: notes.isdisjoint(tokens(hub)), timeout=20, what="the tokens of both servers are gone")


def test_a_server_that_ends_by_itself_is_noticed_and_starts_again(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("erin")[-1].get("ready")
    client.containers.get(f"{instance}-erin").kill()
    wait_until(lambda: not hub.is_running("erin"), timeout=30)
    assert containers(client, instance) == {}
    assert hub.spawn("erin")[-1].get("ready")
    hub.halt("erin")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("dead-on-arrival", "The server ended with exit code 7.\ntoken=[hidden]"),
        ("no-image", "Image localhost:1/no-such-image could not be pulled"),
        ("sleepy", "The server is running, but nothing answers at"),
    ],
)
def test_the_progress_page_says_why_a_start_failed(hub: Hub, client: Any, instance: str, user: str, said: str) -> None:
    last = hub.spawn(user)[-1]
    assert last["failed"]
    assert said in last["message"]
    assert containers(client, instance) == {}


def test_a_kept_server_goes_on_with_the_token_that_it_has(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("kept")[-1].get("ready")
    kept = containers(client, instance)
    hub.halt("kept")
    assert containers(client, instance) == kept
    assert hub.spawn("kept")[-1].get("ready")
    assert containers(client, instance) == kept
    environment = client.containers.get(f"{instance}-kept").attrs["Config"]["Env"]
    token = next(pair for pair in environment if pair.startswith("JUPYTERHUB_API_TOKEN=")).partition("=")[2]
    found = hub.http.get(f"{hub.api}/user", headers={"Authorization": f"token {token}"})
    assert found.json()["name"] == "kept"
    hub.halt("kept")


def test_a_deleted_server_and_a_deleted_user_take_their_volumes_along(hub: Hub, client: Any, instance: str) -> None:
    def volumes() -> list[str]:
        return sorted(
            one.name for one in client.volumes.list() if one.name.startswith(f"{instance}-") and "-gus" in one.name
        )

    for server in ("lab", "work"):
        assert hub.spawn("gus", server)[-1].get("ready")
        hub.halt("gus", server)
    assert volumes() == [f"{instance}-home-gus", f"{instance}-of-gus-lab", f"{instance}-of-gus-work"]
    hub.http.delete(f"{hub.api}/users/gus/servers/lab", json={"remove": True}).raise_for_status()
    assert volumes() == [f"{instance}-home-gus", f"{instance}-of-gus-work"]
    hub.http.delete(f"{hub.api}/users/gus").raise_for_status()
    assert volumes() == []


def test_a_deleted_user_takes_along_the_volume_that_a_hook_has_named(hub: Hub, client: Any, instance: str) -> None:
    def volumes() -> list[str]:
        return sorted(one.name for one in client.volumes.list(filters={"name": f"{instance}-hook"}))

    for user in ("ida", "ina"):
        assert hub.spawn(user)[-1].get("ready")
        hub.halt(user)
    hub.http.delete(f"{hub.api}/users/ida").raise_for_status()
    # A volume that the hook names for all users remains.
    assert volumes() == [f"{instance}-hook-ina", f"{instance}-hooked"]


def test_a_server_that_took_over_a_renamed_servers_name_does_not_take_its_volume_along(
    hub: Hub, client: Any, instance: str, python: str
) -> None:
    if python != sys.executable:
        pytest.skip("JupyterHub 5 renames no servers")
    volume = f"{instance}-of-hal-lab"
    assert hub.spawn("hal", "lab")[-1].get("ready")
    hub.halt("hal", "lab")
    server = f"{hub.api}/users/hal/servers/lab"
    hub.http.patch(server, json={"name": "work"}).raise_for_status()
    assert hub.spawn("hal", "lab")[-1].get("ready")
    hub.halt("hal", "lab")
    hub.http.delete(server, json={"remove": True}).raise_for_status()
    assert [one.name for one in client.volumes.list(filters={"name": volume})] == [volume]
    hub.http.delete(server.replace("lab", "work"), json={"remove": True}).raise_for_status()
    assert client.volumes.list(filters={"name": volume}) == []


def test_figures_are_beside_the_hubs_own(hub: Hub) -> None:
    assert hub.spawn("fay")[-1].get("ready")
    hub.halt("fay")
    hub.spawn("no-image")
    page = hub.http.get(hub.api.replace("/api", "/metrics"))
    page.raise_for_status()
    figures = dict(line.rsplit(" ", 1) for line in page.text.splitlines() if line.startswith("dockyard_"))
    for phase in ("create", "start", "ready"):
        assert float(figures[f'dockyard_spawn_phase_seconds_count{{phase="{phase}"}}']) >= 1
    assert float(figures['dockyard_spawn_failures_total{reason="image"}']) >= 1
    assert float(figures['dockyard_engine_call_seconds_count{method="create_container"}']) >= 1
    assert float(figures["dockyard_watch_lag_seconds_count"]) >= 1
    states = {key.partition('state="')[2].rstrip('"}'): value for key, value in figures.items() if "_servers{" in key}
    assert set(states) == {"running", "sleeping"}
