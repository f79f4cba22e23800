"""Tests in several processes at once: which of them stay together, and what only one may do at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from support.repo import ROOT

LOCKS = Path(tempfile.gettempdir(), f"dockyard-tests-{os.getuid()}")
# Of this checkout: tests of another one are not waited for.
DOOR, ROOM = (f"{name}-of{str(ROOT).replace('/', '-')}" for name in ("door", "room"))


@contextmanager
def locked(name: str, shared: bool = False) -> Iterator[None]:
    """Wait until no other process of this machine has this lock, or where it is to be `shared`, has it for itself."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    with (LOCKS / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """A test's turn. One that has to be `alone` waits for those that run, and those that come meanwhile for it."""
    with ExitStack() as room:
        with locked(DOOR):
            room.enter_context(locked(ROOM, shared=not alone))
        yield


def group_of(test: str) -> str:
    """What a test shares fixtures with: its package where its folder is one, else its file."""
    file = PurePosixPath(test.partition("::")[0])
    return str(file.parent if (ROOT / file.parent / "__init__.py").exists() else file)
