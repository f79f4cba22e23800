"""An engine that takes all servers with it. The last of the folder's tests: nobody is at work afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from support.atwork import AtWork
from support.kit import Kit
from support.nested import Node
from support.wait import wait_until

AUTHORS = ["user0", "user7", "user19"]


@pytest.fixture
def unharmed() -> None:
    """Nobody is."""


def test_an_engine_that_is_started_again(running: Kit, at_work: AtWork, node: Node) -> None:
    """The kit comes up by itself, shows all servers as stopped, and users find their files."""
    for name in AUTHORS:
        running.server_of(name).exec_run(["sh", "-c", f"echo notes of {name} >notes"])
    node.configure(live_restore=False)
    node.stop()
    node.start()
    for service in ("gate", "proxy", "hub"):
        running.wait_for(service)

    def on_record() -> dict[str, Any]:
        return {user["name"]: user["servers"] for user in at_work.admin.api("GET", "/users").json()}

    wait_until(lambda: running.servers() == [], timeout=60, what="the ended containers are removed")
    # A stop is over a moment after its container is gone.
    wait_until(lambda: not any(on_record().values()), timeout=20, what="no server is on record")
    assert at_work.names <= on_record().keys()
    for name in AUTHORS:
        user = running.user(name).sign_in().started()
        assert user.server("GET", "/api/contents/notes").json()["content"] == f"notes of {name}\n"
    assert {server.labels["dockyard.user"] for server in running.servers()} == set(AUTHORS)
