"""The hub's database: no room is left for it, and all of it is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from support.atwork import AtWork
from support.kit import Kit
from support.nested import Node
from support.user import Refused, User
from support.wait import wait_until

FULL = "The disk that holds the hub&#39;s database is full"


@pytest.fixture
def full(node: Node, disk: str) -> Iterator[None]:
    node.run(f"dd if=/dev/zero of={disk}/filler bs=4k", check=False)
    yield
    node.run(f"rm -f {disk}/filler")


def test_a_full_disk(running: Kit, at_work: AtWork, node: Node, disk: str, full: None) -> None:
    """Who wants something new reads why not; who is signed in stays so; a hub that starts has all on record; then all
    is well again."""
    newcomer = running.user("newcomer")
    with pytest.raises(Refused, match=FULL):
        newcomer.sign_in()
    assert requests.get(f"{running.url}/hub/health", timeout=10).ok
    at_work.counters.go_on()
    running.crash("hub")
    running.wait_for("hub")
    with pytest.raises(Refused, match=FULL):
        newcomer.sign_in()
    wait_until(lambda: at_work.known() == at_work.names, timeout=60, what="who is signed in stays so")
    assert "database is full" in at_work.admin.start()[-1]["message"]
    wait_until(lambda: at_work.served() == at_work.names, timeout=60, what="all are served")
    node.run(f"rm {disk}/filler")
    assert newcomer.sign_in().start()[-1].get("ready")
    newcomer.stop()
    check = "import sqlite3; print(*sqlite3.connect('data/jupyterhub.sqlite').execute('pragma integrity_check'))"
    assert running.container("hub").exec_run(["python3", "-c", check]).output == b"('ok',)\n"


@pytest.fixture
def lost(running: Kit, at_work: AtWork, guest: User, node: Node, disk: str) -> Iterator[None]:
    """The hub has begun anew on an empty disk; it gets back what it had."""
    running.container("hub").stop()
    node.run(f"mkdir /kept && mv {disk}/* /kept/")
    running.container("hub").start()
    running.wait_for("hub")
    yield
    running.container("hub").stop()
    node.run(f"rm {disk}/*; mv /kept/* {disk}/ && rmdir /kept")
    running.container("hub").start()
    running.wait_for("hub")


@pytest.fixture
def file(guest: User) -> None:
    """A file in the guest's home."""
    with guest.kernel() as kernel:
        kernel.run("open('kept', 'w').write('before')")


def test_a_lost_database(running: Kit, at_work: AtWork, file: None, lost: None) -> None:
    """All goes on, is found again by whoever signs in, and is listed meanwhile."""
    at_work.counters.go_on()
    said = running.make("doctor", check=False).stdout
    listed = {line.split(" ")[3]: set(line.split(": ")[-1].split(" ")) for line in said.splitlines() if "NAME" in line}
    everybody = {*at_work.names, "guest"}
    assert listed["Servers"] == {f"{running.project}-{name}" for name in everybody}
    assert listed["Volumes"] >= {f"{running.project}-home-{name}" for name in everybody}
    before = running.server_of("guest").id
    guest = running.user("guest").sign_in().started()
    assert running.server_of("guest").id != before
    with guest.kernel() as kernel:
        assert kernel.run("print(open('kept').read())") == "before\n"
    said = running.run("scripts/orphans").stdout
    assert f"{running.project}-user0" in said
    assert f"{running.project}-guest" not in said
    assert f"{running.project}-home-guest" not in said
    assert {server.labels["dockyard.user"] for server in running.servers()} == everybody
    guest.stop()
    at_work.counters.go_on()
