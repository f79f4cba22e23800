"""How tests share a machine with one another."""

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import sidebyside
from support.sidebyside import DOOR, group_of, turn
from support.wait import wait_until


@pytest.mark.parametrize(
    ("test", "group"),
    [
        ("tests/e2e/tls/test_edge.py::test_one[a::b/c]", "tests/e2e/tls"),
        ("tests/swarm/test_nodes.py::TestLost::test_one", "tests/swarm"),
        ("tests/docker/test_hub.py::test_one", "tests/docker/test_hub.py"),
    ],
)
def test_what_shares_fixtures_stays_together(test: str, group: str) -> None:
    assert group_of(test) == group


def is_taken(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_that_has_to_be_alone_waits_and_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidebyside, "LOCKS", tmp_path)
    ran = []

    def run(name: str, alone: bool) -> None:
        with turn(alone):
            ran.append(name)

    with ThreadPoolExecutor(2) as pool, turn(alone=False), turn(alone=False):
        pool.submit(run, "alone", True)
        wait_until(lambda: is_taken(tmp_path / DOOR), timeout=30, what="it is at the door")
        pool.submit(run, "late", False)
        ran.append("early")
    assert ran == ["early", "alone", "late"]
