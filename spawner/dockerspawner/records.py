"""What the hub has on record of servers: of those for which there is no spawner object now, and of starts long past."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join

from dockerspawner.ownership import Owner


def servers_on_record(db: Any) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Every server that runs or sleeps, as the names of its user and its own, with its state; none without a hub."""
    if db is None:
        return []
    rows = db.query(orm.User.name, orm.Spawner.name, orm.Spawner.state, orm.Spawner.server_id).join(orm.Spawner.user)
    return [
        ((user, name), state)
        for user, name, state, server in rows
        if state and (server is not None or "paused_at" in state)
    ]


def forget_sleep(db: Any, owner: Owner, container_id: str) -> None:
    """A server whose state says that it sleeps in that container does so no more; nothing without a hub."""
    if db is None:
        return
    whose = orm.User.name == owner.user, orm.Spawner.name == owner.server
    row = db.query(orm.Spawner).join(orm.Spawner.user).filter(*whose).first()
    if row is not None and (row.state or {}).get("object_id") == container_id:
        row.state = {name: value for name, value in row.state.items() if name != "paused_at"}
        db.commit()


def volumes_of_others(spawner: Any) -> set[str]:
    """Volumes on record of the hub's other servers; where `spawner` is the unnamed one, of other users' servers."""
    db = getattr(spawner.user, "db", None)
    if db is None:
        return set()
    own = spawner.user.orm_user.id
    rows = db.query(orm.Spawner.state, orm.Spawner.user_id, orm.Spawner.name)
    states = [state for state, user, name in rows if state and (user != own or (spawner.name and name != spawner.name))]
    return {volume for state in states for volume in (state.get("volumes") or {}).values()}


def forget_tokens(spawner: Any, but: str = "") -> None:
    """Delete the API tokens that the hub has made for this server's starts, all but one that it has now.

    Where it has none, its OAuth client goes along. The hub does that itself for a server that it has started and
    whose stop has worked; a hub that was restarted does not know the token, which would open its API for ever.
    Nothing without a hub.
    """
    user = getattr(spawner.user, "orm_user", None)
    if user is None:
        return
    db = spawner.user.db
    # The hub's own words.
    note = f"Server at {url_path_join(spawner.user.base_url, url_escape_path(spawner.name), '/')}"
    tokens = db.query(orm.APIToken).filter_by(user_id=user.id, note=note)
    stale = [token for token in tokens if not (but and token.match(but))]
    if not but:
        stale += db.query(orm.OAuthClient).filter_by(identifier=spawner.oauth_client_id)
    for one in stale:
        db.delete(one)
    if stale:
        db.commit()
