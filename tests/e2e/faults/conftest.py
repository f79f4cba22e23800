"""Twenty users at work while something breaks: the kit is on a machine whose engine a test may stop.

Of the hub's disk a test can have all that is left.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import nested
from support.atwork import AtWork
from support.kit import Kit
from support.nested import Node
from support.scenario import *  # noqa: F403
from support.user import User

USERS = [f"user{number}" for number in range(20)]

# All is looked at more often than in a kit, where half a minute and a minute go by.
OWN = """
from dockerspawner._engine import watch
watch.RESYNC = 5.0
c.Spawner.poll_interval = 2
"""


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    files = "compose/compose.yaml:tests/e2e/faults/compose.disk.yaml"
    # All start at once, on a machine that may have other things to do.
    return {"COMPOSE_FILE": files, "MEM_LIMIT": "512M", "START_TIMEOUT": "180"}


@pytest.fixture(scope="package")
def disk() -> str:
    """The hub's, on the machine that the kit is on."""
    return "/srv/hub-data"


@pytest.fixture(scope="package")
def node(kit: Kit, disk: str, seed: str) -> Iterator[Node]:
    """The machine that the kit is on."""
    path = kit.folder / "hub/config.d/50-own.py"
    path.write_text(OWN)
    path.chmod(0o644)
    with nested.node(folders=[kit.folder], seed=seed, live_restore=True) as node:
        node.run(f"mkdir {disk} && mount -t tmpfs -o size=16m,uid=1000,mode=0700 hub-data {disk}")
        with kit.moved_to(node):
            yield node


@pytest.fixture(scope="package")
def docker_compose_command(kit: Kit, node: Node) -> str:
    return f"docker --host {node.url} compose --progress quiet --env-file {kit.env_file}"


@pytest.fixture(scope="package")
def at_work(running: Kit) -> Iterator[AtWork]:
    """All of USERS with a server, a kernel that counts and a websocket that hears it."""
    with AtWork(running, USERS) as at_work:
        yield at_work


@pytest.fixture(autouse=True)
def unharmed(at_work: AtWork) -> Iterator[None]:
    """Whatever a test does, in the end everybody is at work as before."""
    yield
    at_work.goes_on()


@pytest.fixture
def guest(running: Kit, at_work: AtWork) -> Iterator[User]:
    """One more user, with a server that a test may do harm to."""
    guest = running.user("guest").sign_in().started()
    yield guest
    if guest.model()["servers"]:
        guest.stop()
