"""A hub that dockerspawner 14 has run is taken over, with the same jupyterhub_config.py and the same database."""

from __future__ import annotations

import re
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from dockerspawner._records.ownership import environment_of
from support.engine import clean
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.venvs import python_of
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

Server = tuple[str, str]

RUNNING: list[Server] = [("ann", ""), ("ann", "lab"), ("Ann@example.org", ""), ("olga", "")]
CRASHING: Server = ("carol", "")
STOPPED: list[Server] = [("bob", ""), ("bob", "lab"), ("b_o.b", ""), ("olga", "lab")]
# Of her servers the hub has states as dockerspawner before 0.10 wrote them.
OLD_STATES = "olga"

HOME = "/home/jovyan/work"

SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.cmd = ["sh", "-c", "exec httpd -f -p 8888 -h /www"]
c.DockerSpawner.prefix = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.notebook_dir = "{home}"
c.DockerSpawner.volumes = {{
    "{instance}-user-{{username}}": "{home}",
    "{instance}-all": {{"bind": "/all", "mode": "rw"}},
}}
c.DockerSpawner.read_only_volumes = {{"{instance}-data": "/data"}}
c.DockerSpawner.poll_interval = 1
c.DockerSpawner.mem_limit = lambda spawner: "64M"
c.DockerSpawner.extra_host_config = {{"cap_drop": ["NET_RAW"], "pids_limit": 100}}
c.DockerSpawner.extra_create_kwargs = {{"labels": {{"team": "of-{{username}}"}}}}
"""

SCENARIOS = {
    "kept": 'c.DockerSpawner.remove = False\nc.DockerSpawner.name_template = "{prefix}-{username}-{servername}"\n',
    "removed": "c.DockerSpawner.remove = True\nc.DockerSpawner.use_internal_ip = False\n",
}


class Takeover:
    """A hub as the predecessor leaves it, servers running and stopped, and what our spawner then makes of it."""

    def __init__(self, hub: Hub, client: docker.DockerClient, instance: str, keeps: bool) -> None:
        self.hub, self.keeps = hub, keeps
        self._client, self._instance = client, instance
        hub.start()
        for server in [*RUNNING, CRASHING, *STOPPED]:
            assert hub.spawn(*server)[-1].get("ready")
        self.left, self.left_volumes = self.containers(), self._volumes()
        for server, container in self.left.items():
            script = f"echo mine > {in_home(server)}; echo mine > /inside"
            assert container.exec_run(["sh", "-c", script]).exit_code == 0
        for server in STOPPED:
            hub.halt(*server)
        hub.stop()
        use_old_states(hub.folder / "jupyterhub.sqlite", OLD_STATES)
        hub.python = sys.executable
        hub.start()

    def containers(self) -> dict[Server, Container]:
        """The containers of this hub; no server has two."""
        found: dict[Server, Container] = {}
        for container in self._client.containers.list(all=True, filters={"name": self._instance}, ignore_removed=True):
            environment = environment_of(container.attrs)
            server = environment["JUPYTERHUB_USER"], environment["JUPYTERHUB_SERVER_NAME"]
            assert server not in found, f"{server} has {container.name} and {found[server].name}"
            found[server] = container
        return found

    def _volumes(self) -> dict[str, str]:
        """Names, and when they were made: one that was made again is another."""
        return {one.name: one.attrs["CreatedAt"] for one in self._client.volumes.list(filters={"name": self._instance})}

    def assert_serves(self, server: Server) -> None:
        """It answers through the proxy, the hub takes its token, its files are there, and nothing else has changed."""
        wait_until(lambda: self.hub.visit(*server) == 404, timeout=30, what=f"{server} answers through the proxy")
        container = self.containers()[server]
        token = environment_of(container.attrs)["JUPYTERHUB_API_TOKEN"]
        found = self.hub.http.get(f"{self.hub.api}/user", headers={"Authorization": f"token {token}"})
        assert found.json()["name"] == server[0]
        assert container.exec_run(["cat", in_home(server)]).output == b"mine\n"
        assert self._volumes() == self.left_volumes
        if self.keeps:
            assert container.exec_run(["cat", "/inside"]).output == b"mine\n"
            assert {name: one.id for name, one in self.containers().items()} == {
                name: one.id for name, one in self.left.items()
            }


def in_home(server: Server) -> str:
    """A file of this server in the home that all servers of its user share."""
    return f"{HOME}/of-{server[1]}"


def use_old_states(database: Path, user: str) -> None:
    old = "json_object('container_id', json_extract(state, '$.object_id'))"
    whose = "user_id = (SELECT id FROM users WHERE name = ?) AND json_extract(state, '$.object_id') IS NOT NULL"
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(f"UPDATE spawners SET state = {old} WHERE {whose}", [user]).rowcount


@pytest.fixture(scope="module", params=SCENARIOS)
def takeover(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient, network: str
) -> Iterator[Takeover]:
    instance = f"dyt{secrets.token_hex(3)}"
    settings = SETTINGS.format(image=tiny_image(), instance=instance, network=network, home=HOME)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings + SCENARIOS[request.param], python_of("predecessor"))
    try:
        yield Takeover(hub, client, instance, keeps=request.param == "kept")
    finally:
        hub.stop()
        clean(client, instance)


def test_each_hub_had_a_spawner_of_its_own(takeover: Takeover) -> None:
    before, now = re.findall(r"Using Spawner: dockerspawner\.dockerspawner\.DockerSpawner-?(\S*)", takeover.hub.log)
    assert before == "14.0.0"
    assert now != before


@pytest.mark.parametrize("server", RUNNING, ids="/".join)
def test_a_running_server_goes_on_stops_and_starts_again(takeover: Takeover, server: Server) -> None:
    hub = takeover.hub
    wait_until(lambda: hub.is_running(*server), timeout=30, what=f"{server} is known")
    takeover.assert_serves(server)
    old, now = takeover.left[server], takeover.containers()[server]
    assert (now.id, now.attrs["State"]["StartedAt"]) == (old.id, old.attrs["State"]["StartedAt"])
    hub.halt(*server)
    assert (server in takeover.containers()) is takeover.keeps
    assert hub.spawn(*server)[-1].get("ready")
    takeover.assert_serves(server)


def test_a_running_server_that_ends_is_noticed(takeover: Takeover) -> None:
    hub = takeover.hub
    wait_until(lambda: hub.is_running(*CRASHING), timeout=30, what=f"{CRASHING} is known")
    takeover.containers()[CRASHING].kill()
    wait_until(lambda: not hub.is_running(*CRASHING), timeout=30, what="its end is noticed")
    assert hub.spawn(*CRASHING)[-1].get("ready")
    takeover.assert_serves(CRASHING)


@pytest.mark.parametrize("server", STOPPED, ids="/".join)
def test_a_stopped_server_starts_again(takeover: Takeover, server: Server) -> None:
    assert not takeover.hub.is_running(*server)
    assert takeover.hub.spawn(*server)[-1].get("ready")
    takeover.assert_serves(server)
