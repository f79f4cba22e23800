"""Twenty users at work while something breaks; of the hub's disk a test can have all that is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import docker
import pytest

from support.atwork import AtWork
from support.kit import Kit
from support.scenario import *  # noqa: F403
from support.tiny import tiny_image
from support.user import User

USERS = [f"user{number}" for number in range(20)]

# All is looked at more often than in a kit, where half a minute and a minute go by.
OWN = """
from dockerspawner import watch
watch.RESYNC = 5.0
c.Spawner.poll_interval = 2
"""


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    return {"COMPOSE_FILE": "compose/compose.yaml:tests/e2e/faults/compose.disk.yaml", "MEM_LIMIT": "512M"}


@pytest.fixture(scope="package", autouse=True)
def own_configuration(kit: Kit) -> None:
    path = kit.folder / "hub/config.d/50-own.py"
    path.write_text(OWN)
    path.chmod(0o644)


@pytest.fixture(scope="package")
def disk(running: Kit) -> Iterator[Any]:
    """A container that has the hub's disk at /disk, and keeps it while the hub is down."""
    volumes = {f"{running.project}_hub-data": {"bind": "/disk"}}
    with closing(docker.from_env()) as client:
        keeper = client.containers.run(
            tiny_image(), ["sleep", "86400"], name=f"{running.project}-disk", volumes=volumes, detach=True
        )
        yield keeper
        keeper.remove(force=True)


@pytest.fixture(scope="package")
def at_work(running: Kit, disk: object) -> Iterator[AtWork]:
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
