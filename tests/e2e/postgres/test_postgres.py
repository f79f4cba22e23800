"""The hub's database on Postgres: it goes away and comes back, and whoever works at a notebook does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest
import requests

from support.kit import Kit
from support.probing import doors_of, opened_by_root, opened_by_user
from support.user import User
from support.wait import wait_until


@pytest.fixture(scope="module")
def ada(running: Kit) -> Iterator[User]:
    """A user with a running server."""
    ada = running.user("ada").sign_in().started()
    yield ada
    ada.stop()


def psql(kit: Kit, query: str) -> str:
    command = ["psql", "--username=dockyard", "--tuples-only", "--no-align", "--command", query]
    return str(kit.container("postgres").exec_run(command).output.decode().strip())


def hub_says(kit: Kit, *sentences: str) -> None:
    """Wait for lines of the hub's log; it must not have crashed meanwhile."""
    wait_until(
        lambda: all(sentence in kit.container("hub").logs().decode() for sentence in sentences),
        timeout=120,
        what=f"the hub says {sentences}",
    )
    hub = kit.container("hub")
    assert (hub.attrs["RestartCount"], hub.status) == (0, "running")


def test_users_are_in_the_database(running: Kit, ada: User) -> None:
    assert psql(running, "select name from users where name = 'ada'") == "ada"
    assert "sqlite" not in running.container("hub").exec_run(["ls", "/srv/dockyard/data"]).output.decode()


def test_only_the_hub_reaches_the_server(running: Kit, ada: User) -> None:
    postgres, hub = running.container("postgres"), running.container("hub")
    assert set(postgres.attrs["NetworkSettings"]["Networks"]) == {f"{running.project}_hub"}
    assert postgres.attrs["HostConfig"]["PortBindings"] == {}
    doors = doors_of(postgres, hub)
    assert {port for (_, port), name in doors.items() if name == postgres.name} == {5432}
    doors["postgres", 5432] = postgres.name
    with ada.kernel() as kernel:
        opened = opened_by_user(kernel, doors)
        printed = kernel.run(
            "import os\nprint([name for name in os.environ if 'POSTGRES' in name or 'DB_URL' in name])"
        )
    assert printed == "[]\n"
    assert {(doors[door], door[1]) for door in opened} == {(hub.name, 8081)}
    assert opened_by_root(running.server_of("ada"), doors) == opened
    assert running.container("postgres").exec_run(["id", "-u"]).output == b"1000\n"


def test_a_restart_of_the_database_is_not_noticed(running: Kit, ada: User) -> None:
    hub = running.container("hub").attrs["State"]["StartedAt"]
    with ada.kernel() as kernel:
        kernel.run("x = 41")
        running.compose("restart", "postgres")
        running.compose("up", "--detach", "--wait", "postgres")
        # The first one who asks is not signed out.
        assert ada.model()["servers"][""]["ready"]
        assert kernel.run("print(x + 1)") == "42\n"
    assert running.container("hub").attrs["State"]["StartedAt"] == hub
    running.user("bea").sign_in()


def test_a_second_hub_waits_until_the_first_is_gone(running: Kit, ada: User) -> None:
    with running.second_hub() as second:
        says = f"the hub in {running.container('hub').id[:12]} uses it, and only one hub can use a database"
        wait_until(lambda: says in second.logs().decode(), timeout=60, what="the second hub waits")
        assert "JupyterHub is now running" not in second.logs().decode()
        assert ada.model()["servers"][""]["ready"]
        running.compose("stop", "hub")
        wait_until(lambda: "JupyterHub is now running" in second.logs().decode(), timeout=60, what="the second goes on")
    running.compose("up", "--detach", "--wait", "hub")
    assert ada.model()["servers"][""]["ready"]


def test_a_hub_that_has_lost_its_lock_ends(running: Kit, ada: User) -> None:
    """As where the network was cut, and another hub has the database by then."""
    hub = running.container("hub")
    psql(running, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'the hub in %'")
    # Nobody else has it: it is had again.
    held = "select count(*) from pg_locks where locktype = 'advisory' and granted"
    wait_until(lambda: psql(running, held) == "1", timeout=30, what="the lock is had again")
    taker = "select pg_advisory_lock(x'646f636b79617264'::bigint); select pg_sleep(60)"
    command = ["psql", "--username=dockyard", "--dbname=dockyard", "--command", taker]
    running.container("postgres").exec_run(command, detach=True, environment={"PGAPPNAME": "somebody"})
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    wait_until(lambda: psql(running, waiting) == "1", timeout=30, what="somebody waits for the lock")
    psql(running, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'the hub in %'")
    says = "The database is somebody's by now: this hub ends, servers go on"
    wait_until(lambda: says in hub.logs().decode(), timeout=30, what="the hub ends")
    psql(running, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'somebody'")
    wait_until(lambda: running.container("hub").health == "healthy", timeout=120, what="the hub is back")
    assert ada.model()["servers"][""]["ready"]


def test_a_database_that_is_down_for_a_while(running: Kit, ada: User) -> None:
    server = running.server_of("ada").attrs["State"]["StartedAt"]
    with ada.kernel() as kernel:
        running.compose("stop", "postgres")
        assert kernel.run("print('still here')") == "still here\n"
        # The hub answers, and does not take back what it can't look up.
        assert requests.get(f"{running.url}/hub/health", timeout=10).status_code == 200
        assert ada.api("GET", "/users/ada").status_code >= 400
        running.compose("up", "--detach", "--wait", "postgres")
        wait_until(lambda: ada.api("GET", "/users/ada").status_code == 200, timeout=30)
        assert kernel.run("print('still here')") == "still here\n"
    assert running.server_of("ada").attrs["State"]["StartedAt"] == server
    assert ada.model()["servers"][""]["ready"]


def test_a_hub_that_starts_before_its_database_waits(running: Kit, ada: User) -> None:
    running.compose("stop", "postgres")
    running.compose("up", "--detach", "--no-deps", "--force-recreate", "hub")
    hub_says(running, "Waiting for the database dockyard at postgres: ")
    running.compose("up", "--detach", "--wait")
    assert running.container("hub").attrs["RestartCount"] == 0
    assert ada.model()["servers"][""]["ready"]


def test_a_database_of_the_operators_own(running: Kit) -> None:
    """DB_URL without the overlay. The hub waits for it to be there, and then for its password to be right."""
    network, kept = f"{running.project}_hub", running.env_file.read_text()
    running.write_env(COMPOSE_FILE="compose/compose.yaml", DB_URL="postgres://hub:of-my-own@database.test/jupyter")
    running.compose("up", "--detach", "hub")
    hub_says(running, "Waiting for the database jupyter at database.test: no such host")
    client = docker.from_env()
    theirs: Any = client.containers.create(
        running.setting("POSTGRES_IMAGE"),
        name=f"{running.project}-theirs",
        environment={"POSTGRES_USER": "hub", "POSTGRES_PASSWORD": "another-one", "POSTGRES_DB": "jupyter"},
        network=network,
        networking_config={network: client.api.create_endpoint_config(aliases=["database.test"])},
    )
    try:
        theirs.start()
        hub_says(running, "the password in DB_URL or POSTGRES_PASSWORD is not the one that the database has")
        said = running.container("hub").logs().decode()
        assert "of-my-own" not in said
        theirs.exec_run(["psql", "--username=hub", "jupyter", "-c", "alter role hub password 'of-my-own'"])
        running.compose("up", "--detach", "--wait", "hub")
        running.user("cleo").sign_in()
        assert running.container("hub").attrs["RestartCount"] == 0
    finally:
        running.compose("stop", "hub")
        theirs.remove(force=True, v=True)
        running.env_file.write_text(kept)
        running.compose("up", "--detach", "--wait")


def test_down_and_up_keep_users(running: Kit) -> None:
    dora = running.user("dora").sign_in()
    running.make("down")
    assert f"{running.project}_postgres-data" in running.leftovers()["volumes"]
    assert "Dockyard is up" in running.make("up").stdout
    assert dora.model()["name"] == "dora"
