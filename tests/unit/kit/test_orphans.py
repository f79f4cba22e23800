"""What the hub does not know of: by its database, and by what the engine has."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyterhub import orm

from dockyard.hub.orphans import Known, known, told

LINES = [
    "server\tkit-ann\tann\t\n",
    "server\tkit-ann--lab\tann\tlab\n",
    "server\tkit-bob\tbob\t\n",
    "volume\tkit-home-ann\tann\t\n",
    "volume\tkit-home-bob\tbob\t\n",
    "volume\tkit-shared-notes\t\t\n",
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a database with ann, whose default server runs and whose other does not."""
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    session = orm.new_session_factory(url)()
    ann = orm.User(name="ann")
    session.add(ann)
    session.add(orm.Spawner(name="", user=ann, server=orm.Server()))
    session.add(orm.Spawner(name="lab", user=ann))
    session.commit()
    session.close()
    session.bind.dispose()
    return url


def test_what_is_known(url: str) -> None:
    assert known(url) == Known(frozenset({"ann"}), frozenset({("ann", "")}))


def test_servers_and_volumes_that_are_not_known(url: str) -> None:
    servers, volumes = told(LINES, known(url))
    assert servers.endswith(": kit-ann--lab kit-bob")
    assert volumes.endswith(": kit-home-bob")


def test_all_that_there_is_after_a_loss() -> None:
    servers, volumes = told(LINES, Known(frozenset(), frozenset()))
    assert servers.endswith(": kit-ann kit-ann--lab kit-bob")
    assert volumes.endswith(": kit-home-ann kit-home-bob")


def test_how_to_end_a_server_of_a_swarm() -> None:
    (servers,) = told(["service\tkit-bob\tbob\t\n"], Known(frozenset({"bob"}), frozenset()))
    assert "'docker service rm NAME' ends it: kit-bob" in servers


def test_nothing_is_said_where_all_is_known(url: str) -> None:
    assert told([LINES[0], LINES[3], LINES[5]], known(url)) == []
