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
