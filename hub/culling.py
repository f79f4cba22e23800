"""The idle culler: a service of the hub that may see who is active and stop servers, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

from settings import Settings

SERVICE = "idle-culler"


def services(settings: Settings) -> list[dict[str, Any]]:
    """The culler as JupyterHub.services has it; none where nothing is culled."""
    idle, age = settings.cull_idle_after, settings.cull_max_age
    if not (idle or age):
        return []
    # Its limit of idleness can't be switched off, and says how often it looks.
    limits = [
        f"--timeout={idle or age}",
        f"--max-age={age}",
        f"--cull-every={max(5, min(filter(None, (idle, age))) // 2)}",
    ]
    return [{"name": SERVICE, "command": [sys.executable, "-m", "jupyterhub_idle_culler", *limits]}]


def roles(settings: Settings) -> list[dict[str, Any]]:
    """What the culler may do, as JupyterHub.load_roles has it."""
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    return [
        {"name": service["name"], "scopes": scopes, "services": [service["name"]]} for service in services(settings)
    ]
