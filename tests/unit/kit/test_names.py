"""A start is refused if the engine has certainly lost the hub's name on the servers' network, and in no other case."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dockyard.hub import names
from support.spawners import make_spawner

# What the resolver answers for a name: an error, 0 for an address.
Answers = dict[str, int]
FOUND: Answers = {"hub.lab_users": 0, "hub": 0}
LOST: Answers = {"hub.lab_users": socket.EAI_NONAME, "hub": socket.EAI_NODATA}


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """What the resolver answers; the test changes it."""
    given = dict(FOUND)

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        if given[name]:
            raise socket.gaierror(given[name], "said the resolver")
        return []

    monkeypatch.setattr("dockyard.hub.names.socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr(names, "AGAIN", 0.0)
    yield given
    names._seen.clear()
    names._looking.clear()


def spawner(**traits: Any) -> Any:
    return make_spawner(**{"network_name": "lab_users", "hub_connect_url": "http://hub:8081", **traits})


async def message(**traits: Any) -> str:
    """What a user reads whose start is refused; empty if it is not."""
    try:
        await names.check(spawner(**traits))
    except Exception as error:
        return str(error.jupyterhub_message)  # type: ignore[attr-defined]
    return ""


async def known(answers: Answers) -> None:
    """The names resolve while the hub starts."""
    await asyncio.to_thread(names.remember("lab_users").join)


async def test_names_that_are_lost_refuse_a_start(answers: Answers, caplog: pytest.LogCaptureFixture) -> None:
    await known(answers)
    assert await message() == ""
    answers |= LOST
    with caplog.at_level(logging.ERROR):
        assert await message() == (
            "The server can't be started: the network has lost the hub's name. Ask an administrator to repair it."
        )
    assert "has lost the hub's name on the network lab_users" in caplog.text
    assert "'make up' recreates the services whose names are lost" in caplog.text
    answers |= FOUND
    assert await message() == ""


@pytest.mark.parametrize(
    ("errors", "is_refused"),
    [
        # No way to other DNS servers: the engine still answers for the short name.
        ({"hub": socket.EAI_NODATA}, True),
        ({"hub.lab_users": socket.EAI_AGAIN, "hub": socket.EAI_NODATA}, True),
        # Another network has the name, such as one of a user.
        ({"hub.lab_users": socket.EAI_NONAME, "hub": 0}, True),
        # The engine's DNS server is away.
        ({"hub.lab_users": socket.EAI_AGAIN, "hub": socket.EAI_AGAIN}, False),
        ({"hub.lab_users": socket.EAI_AGAIN, "hub": 0}, False),
    ],
)
async def test_only_what_is_certain_refuses(answers: Answers, errors: Answers, is_refused: bool) -> None:
    await known(answers)
    answers |= errors
    assert bool(await message()) is is_refused


async def test_names_that_never_resolved_pass(answers: Answers) -> None:
    """As with the host's network, or an engine without a DNS server."""
    answers |= LOST
    assert names._is_lost("hub.lab_users")
    assert await message() == ""


@pytest.mark.parametrize(
    "traits",
    [
        {"network_name": "host"},
        {"network_name": "other"},
        {"network_isolation": "per-user"},
        {"hub_connect_url": "http://10.0.0.7:8081"},
        {"hub_connect_url": "http://hub.example.org:8081"},
        {"hub_connect_url": ""},
    ],
)
async def test_a_server_that_does_not_look_up_the_name_passes(answers: Answers, traits: dict[str, Any]) -> None:
    await known(answers)
    answers |= LOST
    assert await message(**traits) == ""


async def test_a_name_that_is_back_at_the_second_look_passes(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    await known(answers)
    answers |= LOST
    monkeypatch.setattr("dockyard.hub.names.time.sleep", lambda seconds: answers.update(FOUND))
    assert await message() == ""


async def test_a_resolver_that_hangs_lets_all_pass_and_takes_one_thread(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(answers)
    hangs, asked = threading.Event(), []

    def look(name: str) -> bool:
        asked.append(name)
        hangs.wait()
        return True

    monkeypatch.setattr(names, "_is_lost", look)
    monkeypatch.setattr(names, "PATIENCE", 0.01)
    try:
        assert await asyncio.gather(*(message() for _ in range(20))) == [""] * 20
        assert asked == ["hub.lab_users"]
    finally:
        hangs.set()
