"""The idle culler: a service of the hub that may see who is active and stop servers, and nothing else.

The proxy counts each byte of an open tab as activity. A server of the kit's image measures its activity more precisely
(singleuser/dockyard_activity.py), and marks its reports. The hub ignores the proxy's figures for such a server.

`python -m dockyard.hub.culling SECONDS ARGUMENT...` runs jupyterhub-idle-culler with ARGUMENT.... It stops no idle
server in the first SECONDS after its start: by then, servers have sent the reports that the hub missed while it was
down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dockyard.settings.intervals import REPORT_EVERY, TABLE_READ_EVERY

if TYPE_CHECKING:
    from dockyard.settings.fields import Settings

SERVICE = "idle-culler"

_REPORTS = "counts_its_activity"


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
    patience = 2 * REPORT_EVERY + TABLE_READ_EVERY
    return [{"name": SERVICE, "command": [sys.executable, "-m", "dockyard.hub.culling", str(patience), *limits]}]


def roles(settings: Settings) -> list[dict[str, Any]]:
    """What the culler may do, as JupyterHub.load_roles has it."""
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    return [
        {"name": service["name"], "scopes": scopes, "services": [service["name"]]} for service in services(settings)
    ]


def accept_marked_reports() -> None:
    """Have the hub remember which servers count their activity themselves, for the life of this process."""
    from jupyterhub import apihandlers

    apihandlers.default_handlers.insert(0, (r"/api/users/([^/]+)/activity", _handler()))


def _handler() -> type[Any]:
    from jupyterhub.apihandlers.users import ActivityAPIHandler

    class MarkedActivity(ActivityAPIHandler):
        def post(self, user_name: str) -> None:
            super().post(user_name)
            if self.get_query_argument("counted", "") == "server":
                remember(self.find_user(user_name).spawners, self.get_json_body().get("servers") or {})

    return MarkedActivity


def remember(spawners: Mapping[str, Any], names: Iterable[str]) -> None:
    """Mark the spawners of these servers. The hub makes a new spawner for the next start."""
    for name in names:
        if name in spawners:
            setattr(spawners[name], _REPORTS, True)


def without_counted(routes: dict[str, Any], users: Iterable[Any]) -> dict[str, Any]:
    """Remove the activity of servers that count it themselves from the proxy's routes. Return the same routes."""
    spawners = {(user.name, name): spawner for user in users for name, spawner in user.spawners.items()}
    for route in routes.values():
        data = route["data"]
        if getattr(spawners.get((data.get("user"), data.get("server_name"))), _REPORTS, False):
            data.pop("last_activity", None)
    return routes


def now() -> float:
    """Seconds since boot, including time in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Patience:
    """The culler's decision whether a server is idle: never within `seconds` after the culler's start or after a gap.

    The culler asks at intervals of half the limit. A longer gap means that the machine was suspended.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = now) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since = self._asked_at = clock()

    def __call__(self, *, inactive: Any, inactive_limit: float, server: Any) -> bool:
        at = self._clock()
        if at - self._asked_at > 0.6 * inactive_limit:
            self._since = at
        self._asked_at = at
        return bool(at - self._since >= self._seconds and inactive.total_seconds() >= inactive_limit)


def main(arguments: list[str]) -> None:
    from jupyterhub_idle_culler import IdleCuller
    from traitlets.config import Config

    config = Config({"IdleCuller": {"cull_arbiter_hook": Patience(float(arguments[0]))}})
    IdleCuller.launch_instance(argv=arguments[1:], config=config)


if __name__ == "__main__":
    main(sys.argv[1:])
