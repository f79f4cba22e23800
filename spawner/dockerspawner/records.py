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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join
from sqlalchemy.exc import SQLAlchemyError

from dockerspawner.ownership import Owner


def session_of(spawner: Any) -> Any:
    """The hub's database session, for functions of this module only; None without a hub."""
    return getattr(spawner.user, "db", None)


@contextmanager
def _operation(session: Any) -> Iterator[None]:
    """One read, or one change and its commit; a failure leaves a session that works."""
    try:
        yield
    except SQLAlchemyError:
        session.rollback()
        raise


def _columns(session: Any, *columns: Any) -> Any:
    """A query of columns instead of whole records, which take several times as long; flushes nothing.

    Not cached as a statement: JupyterHub's type of `state` can't be part of a cache key, and SQLAlchemy warns of that.
    """
    return session.query(*columns).autoflush(False).execution_options(compiled_cache=None)


def save(spawner: Any) -> None:
    """Commit what was changed of this server's record; nothing without a hub."""
    session = session_of(spawner)
    if session is not None:
        with _operation(session):
            session.commit()


def save_state(spawner: Any, **changes: Any) -> None:
    """Change these values in the state on record now: JupyterHub asks for the state only after the start."""
    if spawner.orm_spawner and session_of(spawner) is not None:
        spawner.orm_spawner.state = {**(spawner.orm_spawner.state or {}), **changes}
        save(spawner)


def replace_state(spawner: Any) -> None:
    """Put the state on record that the spawner has now. JupyterHub commits it together with its own change."""
    if spawner.orm_spawner:
        spawner.orm_spawner.state = spawner.get_state()


def saved_options(spawner: Any) -> Mapping[str, Any]:
    """The options on record, with which JupyterHub starts the server if a start gives none."""
    return getattr(spawner.orm_spawner, "user_options", None) or {}


def save_options(spawner: Any, options: Mapping[str, Any]) -> None:
    """Have these options on record."""
    if spawner.orm_spawner:
        spawner.orm_spawner.user_options = dict(options)
        save(spawner)


def servers_on_record(session: Any) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Every server that runs or sleeps, as the names of its user and its own, with its state; none without a hub."""
    if session is None:
        return []
    columns = orm.User.name, orm.Spawner.name, orm.Spawner.state, orm.Spawner.server_id
    with _operation(session):
        rows = _columns(session, *columns).join(orm.Spawner.user).all()
    return [
        ((user, name), state)
        for user, name, state, server in rows
        if state and (server is not None or "paused_at" in state)
    ]


def forget_sleep(session: Any, owner: Owner, container_id: str) -> None:
    """A server whose state says that it sleeps in that container does so no more; nothing without a hub."""
    if session is None:
        return
    whose = orm.User.name == owner.user, orm.Spawner.name == owner.server
    with _operation(session):
        row = session.query(orm.Spawner).join(orm.Spawner.user).filter(*whose).first()
        if row is not None and (row.state or {}).get("object_id") == container_id:
            row.state = {name: value for name, value in row.state.items() if name != "paused_at"}
            session.commit()


def _all_states(session: Any) -> list[tuple[int, str, dict[str, Any]]]:
    """The states of all servers, by the ids of their users and their own names."""
    with _operation(session):
        rows = _columns(session, orm.Spawner.user_id, orm.Spawner.name, orm.Spawner.state).all()
    return [(user, name, state or {}) for user, name, state in rows]


def _others(spawner: Any) -> list[tuple[int, str, dict[str, Any]]]:
    session = session_of(spawner)
    if session is None:
        return []
    own = spawner.user.orm_user.id, spawner.name
    return [record for record in _all_states(session) if record[:2] != own]


def states_of_others(spawner: Any) -> list[dict[str, Any]]:
    """The states of the hub's other servers, running or not; none without a hub."""
    return [state for _, _, state in _others(spawner)]


def names_of_others(spawner: Any) -> set[str]:
    """The names of the user's other servers, running or not; none without a hub."""
    session = session_of(spawner)
    if session is None:
        return set()
    with _operation(session):
        rows = _columns(session, orm.Spawner.name).filter_by(user_id=spawner.user.orm_user.id).all()
    return {name for (name,) in rows} - {spawner.name}


def volumes_of_others(spawner: Any) -> set[str]:
    """Volumes on record of the hub's other servers; where `spawner` is the unnamed one, of other users' servers."""
    found = _others(spawner)
    if not spawner.name:
        found = [record for record in found if record[0] != spawner.user.orm_user.id]
    return {volume for _, _, state in found for volume in (state.get("volumes") or {}).values()}


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
