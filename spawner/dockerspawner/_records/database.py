"""JupyterHub's database records: no other module of this package reads or changes them, or has a session.

Why it is needed. JupyterHub keeps a spawner's own state, and saves it at points of its choice. It has no API for:

- what the hub's other servers hold (GPUs, volumes, paused containers): reads their state, name, user and server_id;
- the end of a paused server that has no spawner object: changes its state;
- the API tokens and the OAuth client that earlier starts left: deletes them;
- what must be saved at once, since the hub may be killed: this server's state, options and address.

Why the shared session. The REST API takes a token with `admin:server_state`, which only an operator can give to a
spawner. Another connection would change records that JupyterHub's session has cached and never reads again:
JupyterHub would overwrite the change. On SQLite that connection could also wait for a lock that its own thread holds.

Transactions. All of JupyterHub shares one session on the hub's main thread, `User.db`. `Spawner.db` is the same
session; JupyterHub deprecates it, and logs a warning when a spawner first uses it. No function here awaits anything
between its first read and its commit. A commit also saves what others have changed and not yet committed, as each of
JupyterHub's commits does. Reading other servers' records flushes nothing. If the database fails, the session is
rolled back, so that it works for the next caller, and the error is raised.

Several replicas of a hub. `session_of` then has to open a session for each operation. A read of other servers and the
decision based on it (which GPU is free, which paused server has expired) need one lock across replicas. A state has
to be changed by a conditional UPDATE, because the replica that runs the server has a copy of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join
from sqlalchemy import UnicodeText, cast
from sqlalchemy.exc import SQLAlchemyError

from dockerspawner._records.instance import owners_of
from dockerspawner._records.volume_history import VolumeHistory


def session_of(spawner: Any) -> Any:
    """Return the hub's database session, only for functions of this module; None without a hub."""
    return getattr(spawner.user, "db", None)


@contextmanager
def _operation(session: Any) -> Iterator[None]:
    """Wrap one read, or one change and its commit; a failure leaves a usable session."""
    try:
        yield
    except SQLAlchemyError:
        session.rollback()
        raise


def _columns(session: Any, *columns: Any) -> Any:
    """Query columns instead of whole records, which take several times as long; flushes nothing.

    Statement caching is off: SQLAlchemy warns that JupyterHub's type of `state` can't be part of a cache key.
    """
    return session.query(*columns).autoflush(False).execution_options(compiled_cache=None)


def save(spawner: Any) -> None:
    """Commit changes of this server's record; does nothing without a hub."""
    session = session_of(spawner)
    if session is not None:
        with _operation(session):
            session.commit()


def save_state(spawner: Any, **changes: Any) -> None:
    """Change these values of the state on record at once: JupyterHub saves the state only after the start."""
    if spawner.orm_spawner and session_of(spawner) is not None:
        spawner.orm_spawner.state = {**(spawner.orm_spawner.state or {}), **changes}
        save(spawner)


def replace_state(spawner: Any) -> None:
    """Write the spawner's current state to the record. JupyterHub commits it together with its own change."""
    if spawner.orm_spawner:
        spawner.orm_spawner.state = spawner.get_state()


def saved_options(spawner: Any) -> Mapping[str, Any]:
    """Return the options on record. JupyterHub uses them if a start has no options."""
    return getattr(spawner.orm_spawner, "user_options", None) or {}


def save_options(spawner: Any, options: Mapping[str, Any]) -> None:
    """Write these options to the record."""
    if spawner.orm_spawner:
        spawner.orm_spawner.user_options = dict(options)
        save(spawner)


def servers_on_record(session: Any) -> list[tuple[tuple[int, str], dict[str, Any]]]:
    """List running and paused servers as (user id, server name) with their state; empty without a hub."""
    if session is None:
        return []
    columns = orm.Spawner.user_id, orm.Spawner.name, orm.Spawner.state, orm.Spawner.server_id
    with _operation(session):
        rows = _columns(session, *columns).all()
    return [
        ((user, name), state)
        for user, name, state, server in rows
        if state and (server is not None or "paused_at" in state)
    ]


def forget_sleep(session: Any, container_id: str) -> None:
    """Clear the paused state of the server that is paused in that container; does nothing without a hub.

    The container id identifies the server: the user or server may have been renamed since.
    """
    if session is None:
        return
    with _operation(session):
        asleep = _columns(session, orm.Spawner.id, orm.Spawner.state).filter(_mentions(container_id)).all()
        ids = [row for row, state in asleep if state.get("object_id") == container_id]
        for record in session.query(orm.Spawner).filter(orm.Spawner.id.in_(ids)):
            record.state = {name: value for name, value in record.state.items() if name != "paused_at"}
            session.commit()


def _mentions(text: str) -> Any:
    """Create a database condition: the state as JSON contains this text."""
    return cast(orm.Spawner.state, UnicodeText).contains(json.dumps(text), autoescape=True)


def _mentions_part(text: str) -> Any:
    """Return a database condition: the state contains a string that begins with this text, as JSON."""
    return cast(orm.Spawner.state, UnicodeText).contains(json.dumps(text)[:-1], autoescape=True)


@dataclass(frozen=True)
class Record:
    """The hub's record of one server."""

    user: int
    name: str
    state: Mapping[str, Any]

    @property
    def container(self) -> str:
        return str(self.state.get("object_id") or self.state.get("container_id") or "")

    @property
    def volumes(self) -> set[str]:
        """All volumes on record, of all starts, and their parts as `volume/subpath`."""
        history = VolumeHistory.of(self.state)
        return {*history.names, *history.volumes}


def _others(spawner: Any, *conditions: Any) -> list[Record]:
    """List the hub's other servers, running or not; empty without a hub."""
    session, user = session_of(spawner), getattr(spawner.user, "orm_user", None)
    if session is None or user is None:
        return []
    columns = orm.Spawner.user_id, orm.Spawner.name, orm.Spawner.state
    with _operation(session):
        rows = _columns(session, *columns).filter(*conditions).all()
    own = user.id, spawner.name
    return [Record(one, name, state or {}) for one, name, state in rows if (one, name) != own]


def _other_users(spawner: Any, *conditions: Any) -> list[Record]:
    return [record for record in _others(spawner, *conditions) if record.user != spawner.user.orm_user.id]


def names_of_others(spawner: Any) -> set[str]:
    """List the names of the user's other servers, running or not; empty without a hub."""
    session, user = session_of(spawner), getattr(spawner.user, "orm_user", None)
    if session is None or user is None:
        return set()
    with _operation(session):
        rows = _columns(session, orm.Spawner.name).filter_by(user_id=user.id).all()
    return {name for (name,) in rows} - {spawner.name}


def containers_of_others(spawner: Any) -> set[str]:
    """List ids of containers on record of the hub's other servers."""
    return {record.container for record in _others(spawner)} - {""}


def containers_of_other_users(spawner: Any) -> set[str]:
    """List ids of containers on record of other users' servers."""
    return {record.container for record in _other_users(spawner)} - {""}


def records_of_user(spawner: Any) -> list[Record]:
    """List the records of the user's other servers."""
    return [record for record in _others(spawner) if record.user == spawner.user.orm_user.id]


def volumes_of_others(spawner: Any) -> set[str]:
    """Volumes on record of the hub's other servers; where `spawner` is the unnamed one, of other users' servers.

    Of all their starts: a user whose last start had another profile may have files in them.
    """
    found = _others(spawner) if spawner.name else _other_users(spawner)
    return {volume for record in found for volume in record.volumes}


def is_volume_of_other_user(spawner: Any, volume: str) -> bool:
    """Does another user's server have this volume on record?"""
    return any(volume in record.volumes for record in _other_users(spawner, _mentions_part(volume)))


def volumes_of_former_namesakes(spawner: Any) -> set[str]:
    """List volumes on record of users who once had this user's current name."""
    name = spawner.user.name
    found = [
        record
        for record in _other_users(spawner, _mentions(name))
        if name in (owner.user for owner in owners_of(record.state))
    ]
    return {volume for record in found for volume in record.volumes}


def instances_on_record(spawner: Any) -> set[str]:
    """List the values of `instance` at starts of this hub's other servers."""
    return {owner.instance for record in _others(spawner, _mentions("owners")) for owner in owners_of(record.state)}


def forget_tokens(spawner: Any, but: str = "") -> None:
    """Delete the API tokens that the hub has made for this server's starts, all but one that it has now.

    Where it has none, its OAuth client goes along. The hub does that itself for a server that it has started and
    whose stop has worked; a hub that was restarted does not know the token, which would open its API for ever.
    Nothing without a hub.
    """
    user = getattr(spawner.user, "orm_user", None)
    session = session_of(spawner)
    if user is None or session is None:
        return
    # The hub's own words.
    note = f"Server at {url_path_join(spawner.user.base_url, url_escape_path(spawner.name), '/')}"
    with _operation(session):
        tokens = session.query(orm.APIToken).filter_by(user_id=user.id, note=note)
        stale = [token for token in tokens if not (but and token.match(but))]
        if not but:
            stale += session.query(orm.OAuthClient).filter_by(identifier=spawner.oauth_client_id)
        for one in stale:
            session.delete(one)
        if stale:
            session.commit()
