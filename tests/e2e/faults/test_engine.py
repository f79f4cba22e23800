"""An engine that says nothing while users work, as the hub sees it: its gate is frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from support.atwork import AtWork
from support.kit import Kit
from support.wait import wait_until

# Seconds in which the hub has answered, unless something holds it up for as long as it waits for an engine.
SOON = 8


@contextmanager
def silent_engine(kit: Kit) -> Iterator[None]:
    gate = kit.container("gate")
    gate.pause()
    try:
        yield
    finally:
        gate.unpause()


def answers(at_work: AtWork) -> bool:
    """The hub says that it is well, shows a page, and has everybody on record."""
    assert requests.get(f"{at_work.kit.url}/hub/health", timeout=SOON).ok
    assert at_work.admin.session.get(f"{at_work.kit.url}/hub/home", timeout=SOON).ok
    assert at_work.known() == at_work.names
    return True


@pytest.mark.parametrize("seconds", [0, pytest.param(120, marks=pytest.mark.long)])
def test_an_engine_that_hangs(running: Kit, at_work: AtWork, seconds: int) -> None:
    """For as long as a start takes to fail, and at least for some seconds."""
    newcomer = running.user("newcomer").sign_in()
    with ThreadPoolExecutor(1) as pool, silent_engine(running):
        until = time.monotonic() + seconds
        start = pool.submit(newcomer.start)
        wait_until(
            lambda: answers(at_work) and start.done() and time.monotonic() > until,
            timeout=seconds + 120,
            what="the start has ended",
        )
        assert "The Docker engine does not answer" in start.result()[-1]["message"]
        at_work.goes_on()
    assert newcomer.start()[-1].get("ready")
    newcomer.stop()


def test_a_hub_that_starts_while_the_engine_hangs(running: Kit, at_work: AtWork) -> None:
    with silent_engine(running):
        running.crash("hub")
        running.wait_for("hub")
        wait_until(lambda: at_work.known() == at_work.names, timeout=60, what="all are known")
        wait_until(lambda: answers(at_work) and at_work.served() == at_work.names, timeout=60, what="all are served")
    wait_until(lambda: answers(at_work) and at_work.served() == at_work.names, timeout=60)
