"""The idle culler: a service of the hub that may see who is active and stop servers, and nothing else.

The proxy counts each byte of an open tab as activity. A server of the kit's image knows better what its activity is
(singleuser/dockyard_activity.py) and marks its reports. What the proxy says about such a server is left out.

`python -m culling SECONDS ARGUMENT...` is jupyterhub-idle-culler with ARGUMENT..., which waits SECONDS after its start
before it stops an idle server: reports that a hub missed while it was away have arrived by then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings import Settings

SERVICE = "idle-culler"

# Seconds between two reports of a server, give or take a tenth. Not by CULL_IDLE_AFTER: running servers keep theirs.
REPORT_EVERY = 45
# Seconds between two readings of the proxy's table, which has the activity of servers that do not report any.
TABLE_READ_EVERY = 60
# The smallest CULL_IDLE_AFTER: a report, or a reading of the table, may be lost.
SMALLEST = 2 * TABLE_READ_EVERY
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
    return [{"name": SERVICE, "command": [sys.executable, "-m", "culling", str(patience), *limits]}]


def roles(settings: Settings) -> list[dict[str, Any]]:
    """What the culler may do, as JupyterHub.load_roles has it."""
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    return [
        {"name": service["name"], "scopes": scopes, "services": [service["name"]]} for service in services(settings)
    ]


def accept_marked_reports() -> None:
    """Have the hub remember which servers count their activity themselves. Holds for the process."""
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
    """The proxy's routes, without the activity of servers that count it themselves."""
    spawners = {(user.name, name): spawner for user in users for name, spawner in user.spawners.items()}
    for route in routes.values():
        data = route["data"]
        if getattr(spawners.get((data.get("user"), data.get("server_name"))), _REPORTS, False):
            data.pop("last_activity", None)
    return routes


def now() -> float:
    """Seconds, of which those count that the machine was suspended for."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Patience:
    """Decides for the culler whether a server is idle: not within `seconds` after its own start, or after a gap.

    The culler asks every half of the limit. A longer gap is one in which the machine was suspended.
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
