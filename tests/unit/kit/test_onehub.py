"""One hub to a database, beside SQLite. On PostgreSQL: e2e/postgres."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dockyard.hub import database_lock, start
from support.repo import ROOT


def test_whoever_comes_second_is_told_who_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    first = database_lock.lock_of(url)
    assert first.take() == ""
    assert start.others(url) == f"{socket.gethostname()} uses it, and only one hub can use a database"
    # And nothing of it is lost by being asked.
    assert database_lock.lock_of(url).take() == socket.gethostname()


def test_on_a_full_disk_it_holds_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    assert start.others(url) == ""
    assert database_lock.lock_of(url).take() == "another hub"


def test_it_is_held_until_the_process_ends(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    program = f"import sys; from dockyard.hub import start; print(start.others({url!r}), flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT / "hub", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "\n"
        assert "uses it" in start.others(url)
        holder.kill()
    assert database_lock.lock_of(url).take() == ""
