"""An engine that is stopped, killed, or hangs, while users work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from support.atwork import AtWork
from support.freezing import freeze
from support.kit import Kit
from support.nested import Node
from support.prompt import SOON, prompt
from support.user import User
from support.wait import wait_until


@contextmanager
def away(node: Node, end: Callable[[Node], None]) -> Iterator[None]:
    end(node)
    try:
        yield
    finally:
        node.start()


@contextmanager
def hanging(node: Node) -> Iterator[None]:
    node.signal("STOP")
    try:
        yield
    finally:
        node.signal("CONT")


@contextmanager
def silent_gate(kit: Kit) -> Iterator[None]:
    """To the hub, an engine that hangs and starts a hub all the same."""
    gate = kit.container("gate")
    freeze(gate)
    try:
        yield
    finally:
        gate.unpause()


def process(kit: Kit, service: str) -> int:
    return int(kit.container(service).attrs["State"]["Pid"])


def lasting(kit: Kit) -> dict[str, int]:
    """Process number of all that has to go on without an engine, by name."""
    servers = {server.name: server.attrs["State"]["Pid"] for server in kit.servers()}
    return {**servers, "hub": process(kit, "hub"), "proxy": process(kit, "proxy")}


def answers(at_work: AtWork) -> bool:
    """The hub says that it is well, shows a page, and has everybody on record."""
    for page in ("health", "home"):
        assert at_work.admin.session.get(f"{at_work.kit.url}/hub/{page}", timeout=SOON).ok
    assert at_work.known() == at_work.names
    return True


def fails_to_start(user: User, at_work: AtWork, seconds: int = 0) -> None:
    """The user is told why, and the hub answers at once all the while, and at least for some seconds."""
    until = time.monotonic() + seconds
    with prompt(at_work.admin.session), ThreadPoolExecutor(1) as pool:
        start = pool.submit(user.start)
        wait_until(
            lambda: answers(at_work) and start.done() and time.monotonic() > until,
            timeout=seconds + 120,
            what="the start has ended",
        )
    assert "The Docker engine does not answer" in start.result()[-1]["message"]


def starts_again(user: User) -> None:
    """Maybe not at the first try: an engine that is back has other things to do as well."""
    wait_until(lambda: user.start()[-1].get("ready"), timeout=60, what="the engine starts servers again")
    user.stop()


@pytest.mark.parametrize("end", [Node.stop, Node.kill])
def test_an_engine_that_is_away(running: Kit, at_work: AtWork, node: Node, end: Callable[[Node], None]) -> None:
    """Nothing ends with it where it has live-restore, but the gate: it has to have the new socket."""
    newcomer = running.user("newcomer").sign_in()
    before, gate = lasting(running), process(running, "gate")
    with away(node, end):
        fails_to_start(newcomer, at_work)
        at_work.goes_on()
    wait_until(lambda: process(running, "gate") not in {0, gate}, timeout=60, what="the gate is started again")
    running.wait_for("gate")
    starts_again(newcomer)
    assert lasting(running) == before


@pytest.mark.parametrize("seconds", [0, pytest.param(120, marks=pytest.mark.long)])
def test_an_engine_that_hangs(running: Kit, at_work: AtWork, node: Node, seconds: int) -> None:
    """For as long as a start takes to fail, and at least for some seconds."""
    newcomer = running.user("newcomer").sign_in()
    with hanging(node):
        fails_to_start(newcomer, at_work, seconds)
        at_work.goes_on()
    assert newcomer.start()[-1].get("ready")
    newcomer.stop()


def test_a_hub_that_starts_while_the_engine_hangs(running: Kit, at_work: AtWork) -> None:
    with silent_gate(running):
        running.crash("hub")
        running.wait_for("hub")
        with prompt(at_work.admin.session):
            wait_until(lambda: at_work.known() == at_work.names, timeout=60, what="all are known")
            wait_until(lambda: answers(at_work) and at_work.served() == at_work.names, timeout=60, what="all served")
    wait_until(lambda: answers(at_work) and at_work.served() == at_work.names, timeout=60)
