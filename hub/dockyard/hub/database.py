"""The hub's database: how connections to it are made, and what happens when it goes away."""

from __future__ import annotations

import os
import time
from shutil import disk_usage
from typing import Any

from sqlalchemy import Engine, ExceptionContext, create_engine, event, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session

from dockyard.settings.db_url import POSTGRES

FULL = (
    "The disk that holds the hub's database is full: no user can sign in or start a server until there is room on it."
)
# Bytes that are free on a disk that is not full.
_ROOM = 2**20
_SIGNS_OF_FULL = ("disk is full", "No space left on device")


def options(url: str) -> dict[str, Any]:
    """How connections are made: one that is dead is noticed in seconds, since the hub stands still meanwhile."""
    if not url.startswith(POSTGRES):
        return {}
    wait = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}
    return {"pool_pre_ping": True, "connect_args": {**wait, "tcp_user_timeout": 10_000, "application_name": "hub"}}


def why_not(url: str) -> str:
    """Why the database can't be used now, in one line; empty where it can."""
    engine = create_engine(url, **options(url))
    try:
        with engine.connect():
            return ""
    except DBAPIError as error:
        return str(error.orig).strip().splitlines()[-1]
    finally:
        engine.dispose()


def reconnect() -> None:
    """Have sessions that lost their connection between two uses get another one at the next, unnoticed.

    The hub keeps one session, and with it a connection, from request to request. After a restart of the database the
    first use of it would fail: whoever asked first would appear to be signed out.
    """
    event.listen(Session, "do_orm_execute", _ping)


def _ping(state: ORMExecuteState) -> None:
    session, now = state.session, time.monotonic()
    if now < session.info.get("pinged", 0) + 1 or not session.in_transaction():
        return
    # What is being written is the caller's to lose or keep.
    if session.new or session.dirty or session.deleted:
        return
    try:
        session.connection().execute(select(1))
        session.info["pinged"] = now
    except SQLAlchemyError:
        session.rollback()


def explain() -> None:
    """Have the hub's pages and its API say what keeps it from writing, instead of an internal error alone.

    Who is signed in stays so. The hub writes down when somebody was active before it answers, and takes for a stranger
    whoever it can't do that for: also a notebook that asks whose it is. So that is left out where SQLite has no room.
    Services are refused all the same: the culler would stop servers of whose activity nothing is known.
    """
    event.listen(Engine, "handle_error", _name_the_cause)
    event.listen(Session, "before_flush", _spare_room)


def _spare_room(session: Session, *_: object) -> None:
    url = session.get_bind().engine.url
    if url.drivername != "sqlite" or disk_usage(os.path.dirname(url.database or "") or ".").free >= _ROOM:
        return
    for one in session.dirty:
        if one.__tablename__ == "users" or (one.__tablename__ == "api_tokens" and one.user_id is not None):
            session.expire(one, ["last_activity"])


def _name_the_cause(context: ExceptionContext) -> None:
    if any(sign in str(context.original_exception) for sign in _SIGNS_OF_FULL):
        # What the hub shows of an exception that has it.
        context.sqlalchemy_exception.jupyterhub_message = FULL  # type: ignore[union-attr]
