"""One hub to a database: two would take each other's servers for their own. Whoever comes second waits.

Beside SQLite it is a lock of a file; on PostgreSQL an advisory lock, which the server gives up when it has not heard of
its holder for half a minute. A hub that has lost its lock to another one, while the network was cut, ends at once.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dockyard.hub import database

# Of all locks in that database, the hub's: "dockyard" in eight bytes.
KEY = int.from_bytes(b"dockyard", "big")
# Seconds between two looks whether the lock is still ours.
LOOK_EVERY = 5.0
# How soon the server gives up on a connection whose other end is gone; milliseconds in the last one.
_GIVEN_UP = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 25000,
}


class FileLock:
    """A lock of a file beside the database's, held by this process until it ends."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"

    def take(self) -> str:
        """Have it; empty where that is done, else who has it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.read(file, 100).decode()
            os.close(file)
            return who or "another hub"
        # On a full disk it holds without the name.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, socket.gethostname().encode())
        return ""

    def keep(self) -> None:
        """It needs no keeping."""


class AdvisoryLock:
    """Held by a connection of its own, which `keep` makes anew where it was lost."""

    def __init__(self, url: str) -> None:
        arguments = database.options(url)["connect_args"]
        settings = " ".join(f"-c {name}={value}" for name, value in _GIVEN_UP.items())
        connect = {**arguments, "application_name": f"the hub in {socket.gethostname()}", "options": settings}
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=connect)
        self._connection: Connection | None = None

    def take(self) -> str:
        """Have it; empty where that is done, else who has it. SQLAlchemyError where the server can't be asked."""
        with ExitStack() as stack:
            connection = stack.enter_context(self._engine.connect())
            if not connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": KEY}).scalar():
                return self._holder(connection)
            stack.pop_all()
        self._connection = connection
        return ""

    @staticmethod
    def _holder(connection: Connection) -> str:
        holder = (
            "select application_name from pg_stat_activity join pg_locks using (pid) "
            "where locktype = 'advisory' and granted and (classid::bigint << 32) + objid::bigint = :key"
        )
        return connection.execute(text(holder), {"key": KEY}).scalar() or "another hub"

    def is_held(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute(text("select 1"))
                return True
        except SQLAlchemyError:
            self._connection = None
        return False

    def keep(self) -> None:
        """From now on have a thread see that it stays ours. The process ends where another hub has it."""
        threading.Thread(target=self._keep, daemon=True, name="one-hub").start()

    def _keep(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            if self.is_held():
                continue
            try:
                who = self.take()
            except SQLAlchemyError:
                # Nobody can have it from a server that can't be asked.
                continue
            if who:
                print(f"The database is {who}'s by now: this hub ends, servers go on", file=sys.stderr, flush=True)
                os._exit(1)


def lock_of(url: str) -> Any:
    """The lock of a database, not yet taken."""
    parsed = make_url(url)
    return FileLock(str(parsed.database)) if parsed.drivername == "sqlite" else AdvisoryLock(url)
