"""What the hub has on record of servers for which there is no spawner object now."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm


def states_on_record(spawner: Any) -> list[dict[str, Any]]:
    """The states of every server that runs or sleeps, of the hub that `spawner` belongs to; none without a hub."""
    db = getattr(spawner.user, "db", None)
    if db is None:
        return []
    rows = db.query(orm.Spawner.state, orm.Spawner.server_id)
    return [state for state, server in rows if state and (server is not None or "paused_at" in state)]


def volumes_of_others(spawner: Any) -> set[str]:
    """Volumes on record of the hub's other servers; where `spawner` is the unnamed one, of other users' servers."""
    db = getattr(spawner.user, "db", None)
    if db is None:
        return set()
    own = spawner.user.orm_user.id
    rows = db.query(orm.Spawner.state, orm.Spawner.user_id, orm.Spawner.name)
    states = [state for state, user, name in rows if state and (user != own or (spawner.name and name != spawner.name))]
    return {volume for state in states for volume in (state.get("volumes") or {}).values()}
