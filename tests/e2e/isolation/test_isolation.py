"""A network for each server: what a user, or root, in a real notebook finds open of everything that listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cloud import ADDRESS, metadata_service
from support.kit import Kit
from support.probing import doors_of, opened_by_root, opened_by_user
from support.user import User
from support.wait import wait_until

SERVICES = ("hub", "gate", "proxy")


@pytest.fixture(scope="module")
def users(running: Kit) -> Iterator[list[User]]:
    """Two with a server each."""
    users = [running.user(name).sign_in().started() for name in ("ada", "bob")]
    yield users
    for user in users:
        user.stop()
    # Their networks go with them.
    wait_until(lambda: not own_networks(running), timeout=30, what="no network of a user's is left")


def own_networks(kit: Kit) -> list[str]:
    users = tuple(f"{kit.project}-{name}" for name in ("ada", "bob"))
    return [name for name in kit.leftovers()["networks"] if name.startswith(users)]


def test_nothing_is_open_but_the_hub_and_the_proxy(running: Kit, users: list[User]) -> None:
    ada, bob = (running.server_of(user.name) for user in users)
    doors = doors_of(bob, *map(running.container, SERVICES))
    names = {service: running.container(service).name for service in SERVICES}
    # All that there is was looked at.
    assert {(name, port) for (_, port), name in doors.items()} >= {
        (bob.name, 8888), (names["hub"], 8081), (names["proxy"], 8000), (names["proxy"], 8001),
    }  # fmt: skip
    with users[0].kernel() as kernel:
        opened = opened_by_user(kernel, doors)
    assert {(doors[door], door[1]) for door in opened} == {(names["hub"], 8081), (names["proxy"], 8000)}
    assert opened_by_root(ada, doors) == opened
    # And at one address each, on the server's own network.
    assert len(opened) == 2


def test_no_server_has_a_way_to_the_clouds_credentials(running: Kit, users: list[User]) -> None:
    with metadata_service() as port:
        door = {(ADDRESS, port): "cloud"}
        # Whoever is not kept from it reaches it.
        assert opened_by_root(running.container("hub"), door) == {*door}
        with users[0].kernel() as kernel:
            assert opened_by_user(kernel, door) == set()
        assert opened_by_root(running.server_of("ada"), door) == set()


def test_a_hub_and_a_proxy_that_are_made_anew_reach_every_server(running: Kit, users: list[User]) -> None:
    ada, bob = users
    with ada.kernel() as kernel:
        running.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "hub")
        assert kernel.run("print(6 * 7)") == "42\n"
    running.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "proxy")
    for user in (ada, bob):
        wait_until(lambda user=user: user.server("GET", "/api/status").status_code == 200, timeout=60)  # type: ignore[misc]
        assert user.model()["servers"][""]["ready"]
