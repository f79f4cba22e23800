"""DB_URL: which address is one of a database that the hub can use."""

from __future__ import annotations

import os
import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SQLITE = "sqlite:////srv/dockyard/data/jupyterhub.sqlite"

POSTGRES = "postgresql+psycopg"
_DRIVERS = {"postgresql": POSTGRES, "postgres": POSTGRES, POSTGRES: POSTGRES, "sqlite": "sqlite"}
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
    return URL.create(POSTGRES, username="dockyard", password=password, host="postgres", database="dockyard")
