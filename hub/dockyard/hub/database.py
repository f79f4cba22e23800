"""The hub's database: which address is one, how connections to it are made, and what happens when it goes away."""

from __future__ import annotations

import os
import re
import time
from shutil import disk_usage
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session

SQLITE = "sqlite:////srv/dockyard/data/jupyterhub.sqlite"

FULL = (
    "The disk that holds the hub's database is full: no user can sign in or start a server until there is room on it."
)
# Bytes that are free on a disk that is not full.
_ROOM = 2**20
_SIGNS_OF_FULL = ("disk is full", "No space left on device")

_POSTGRES = "postgresql+psycopg"
_DRIVERS = {"postgresql": _POSTGRES, "postgres": _POSTGRES, _POSTGRES: _POSTGRES, "sqlite": "sqlite"}
# Schemes that a message may name; any other text may be a piece of a password.
_OTHERS = ("mysql", "mariadb", "oracle", "mssql", "postgresql+", "sqlite+", "cockroachdb", "http", "jdbc")

_FORM = "postgresql://user:password@host:5432/name"
_ENCODE = "encode the user and the password: @ is %40, / is %2F, % is %25"
# Characters of comma-separated host names and IPv4 addresses, or of an IPv6 address.
_HOST = re.compile(r"[\w.,-]+|[0-9A-Fa-f:.]+(%\w+)?")

# Options that PostgreSQL's client takes after the ?. It refuses others, and the hub would not start.
_OPTIONS = frozenset(
    [
        "application_name", "channel_binding", "client_encoding", "connect_timeout",
        "fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "keepalives", "keepalives_count",
        "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts", "max_protocol_version",
        "min_protocol_version", "options", "replication", "require_auth", "requirepeer", "requiressl",
        "scram_client_key", "scram_server_key", "service", "servicefile", "ssl_max_protocol_version",
        "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcompression", "sslcrl", "sslcrldir", "sslkey",
        "sslkeylogfile", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs",
        "tcp_user_timeout",
    ]
)  # fmt: skip


def parse(text: str) -> URL:
    """Parse the URL of a database for which the hub has a driver.

    Raises ValueError with the fix; the message follows the setting's name. It contains no piece of the URL: a part of
    an unencoded password could be in what was taken for the host, the port or the name.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+]*", scheme):
        raise ValueError(f"is not a database URL, such as {_FORM}")
    if scheme not in _DRIVERS:
        known = next((name for name in _OTHERS if scheme.startswith(name)), "another scheme")
        raise ValueError(f"begins with {known}://, but the hub supports only postgresql:// and sqlite://")
    if scheme != "sqlite":
        _check_encoding(rest)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a database URL, such as {_FORM}; {_ENCODE}") from None
    url = url.set(drivername=_DRIVERS[scheme])
    if url.drivername == "sqlite":
        if not os.path.normpath(url.database or "").startswith("/srv/dockyard/data/"):
            raise ValueError("is a file outside the hub's volume: write sqlite:////srv/dockyard/data/NAME")
        return url
    if secret := next((name for name in ("password", "passfile", "sslpassword") if name in url.query), ""):
        raise ValueError(f"has {secret} after the ?, where it would be logged: write {_FORM}")
    if "host" in url.query or "hostaddr" in url.query or (url.host or "").startswith(("%2F", "%2f")):
        raise ValueError(f"names a socket, which the hub's container lacks, or a host after the ?: write {_FORM}")
    if not (url.host and url.database and url.username):
        raise ValueError(f"lacks the user, the host or the database name, as in {_FORM}; {_ENCODE}")
    if not _HOST.fullmatch(url.host):
        raise ValueError(f"has an invalid host: {_ENCODE}")
    if url.port is not None and not 0 < url.port < 2**16:
        raise ValueError("has a port that is not between 1 and 65535")
    if not url.query.keys() <= _OPTIONS:
        raise ValueError(
            "has an option after the ? that PostgreSQL's client does not know: write sslmode=require, or none"
        )
    return url


def _check_encoding(address: str) -> None:
    """Raise ValueError if the text before the last @, the user and the password, has an unencoded character."""
    before, _, _ = address.rpartition("@")
    if re.search(r"[@/]|%(?![0-9A-Fa-f]{2})", before):
        raise ValueError(f"has an unencoded @, / or % in the user or the password: {_ENCODE}")


def of_the_overlay(password: str) -> URL:
    """The database that compose/compose.postgres.yaml brings."""
    return URL.create(_POSTGRES, username="dockyard", password=password, host="postgres", database="dockyard")


def options(url: str) -> dict[str, Any]:
    """How connections are made: one that is dead is noticed in seconds, since the hub stands still meanwhile."""
    if not url.startswith(_POSTGRES):
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
