"""fence.py: a server that reaches nobody ends itself in time, and one that reaches somebody does not."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from support.repo import ROOT
from support.singleuser import module
from support.wait import wait_until

FILE = ROOT / "singleuser/fence.py"
fence = module("fence")

# The address of all is that of nobody.
NOBODY = ("255.255.255.255", 80)


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()  # type: ignore[no-any-return]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(fence, "now", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_whom_to_try() -> None:
    environ = {
        "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
        "DOCKYARD_FENCE_CONTACTS": "proxy:8000 [fd00::1]:99",
    }
    assert fence.contacts(environ) == [("hub", 8081), ("proxy", 8000), ("fd00::1", 99)]
    assert fence.contacts({"JUPYTERHUB_API_URL": "https://hub.example.org/hub/api"}) == [("hub.example.org", 443)]


def test_an_answer_and_a_refusal_are_contacts(listening: tuple[str, int], refusing: tuple[str, int]) -> None:
    assert fence.reached(listening, 5)
    assert fence.reached(refusing, 5)
    assert not fence.reached(NOBODY, 0.2)
    assert not fence.reached(("no-such-host.invalid", 80), 0.2)


def test_a_lease_is_renewed_by_any_contact(clock: Clock, listening: tuple[str, int]) -> None:
    lease = fence.Lease([NOBODY, listening], 60)
    clock.now += 50
    assert lease.left() == 10
    lease.renew()
    assert lease.left() == 60


def test_a_lease_runs_out_where_nobody_answers(clock: Clock) -> None:
    lease = fence.Lease([NOBODY], 60)
    clock.now += 50
    lease.renew()
    assert lease.left() == 10


def test_a_lease_that_has_run_out_is_not_renewed(clock: Clock, listening: tuple[str, int]) -> None:
    """Whoever was frozen for longer than it lasts must not go on, although all can be reached again."""
    lease = fence.Lease([listening], 60)
    clock.now += 61
    lease.keep()
    assert lease.left() == -1


def test_a_lease_is_dated_from_before_the_answer(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(contact: object, timeout: float) -> bool:
        clock.now += 7
        return True

    monkeypatch.setattr(fence, "reached", late)
    lease = fence.Lease([NOBODY], 60)
    lease.renew()
    assert lease.left() == 53


def test_it_ends_once_the_contacts_are_gone(listening: tuple[str, int]) -> None:
    host, port = listening
    ended = threading.Event()
    environ = {"DOCKYARD_FENCE_AFTER": "0.5", "DOCKYARD_FENCE_CONTACTS": f"{host}:{port}"}
    begun = threading.active_count()
    fence.start(environ, lambda after: ended.set())
    assert not ended.wait(1.5), "it ended although it reached a contact"
    environ["DOCKYARD_FENCE_CONTACTS"] = f"{NOBODY[0]}:{NOBODY[1]}"
    fence.start(environ, lambda after: ended.set())
    assert ended.wait(5)
    wait_until(lambda: threading.active_count() == begun + 2, timeout=5, what="threads of an ended lease are gone")


@pytest.mark.parametrize(("handler", "code"), [("SIG_DFL", -15), ("SIG_IGN", 1)])
def test_the_process_ends_in_good_order_or_else_at_once(handler: str, code: int) -> None:
    script = (
        f"import runpy, signal, threading; signal.signal(signal.SIGTERM, signal.{handler})\n"
        f"fence = runpy.run_path({str(FILE)!r})\n"
        f"environ = dict(DOCKYARD_FENCE_AFTER='0.2', DOCKYARD_FENCE_CONTACTS='{NOBODY[0]}:1')\n"
        "fence['start'](environ); threading.Event().wait(30)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert done.returncode == code, done.stderr
    assert "Nobody was reached for 0.2 s" in done.stderr
