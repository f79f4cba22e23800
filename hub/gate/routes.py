"""The table of all that is let through: method, path, query. Whatever is not in it is refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gate.calls import Call, Outcome
from gate.strict import Refused
from gate.swarmcalls import SwarmCalls

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9_./:@-]*"


@dataclass(frozen=True)
class Route:
    """`json` says that there is a body in JSON, `archive` that there is one of bytes, `upgrade` that the connection
    becomes the answer."""

    method: str
    path: str
    serve: Callable[[Any, Call], Awaitable[Outcome]]
    query: frozenset[str] = frozenset()
    json: bool = False
    archive: bool = False
    upgrade: bool = False

    @property
    def is_order(self) -> bool:
        """Is it noted? A look is not, unless at files."""
        return self.method not in ("GET", "HEAD") or self.path.endswith("/archive")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        pattern = self.path.replace("{image}", f"(?P<image>{_IMAGE})")
        return re.compile(re.sub(r"\{(\w+)\}", rf"(?P<\1>{_NAME})", pattern), re.ASCII)


def _routes() -> list[Route]:
    calls = SwarmCalls
    one, log = "/containers/{name}", frozenset({"stdout", "stderr", "timestamps", "follow", "tail"})
    filters = frozenset({"filters"})
    return [
        Route("GET", "/_ping", calls.ping),
        Route("GET", "/version", calls.version),
        Route("GET", "/info", calls.info),
        Route("GET", "/events", calls.events, filters | {"since", "until"}),
        Route("GET", "/containers/json", calls.containers, filters | {"all", "limit", "size", "trunc_cmd"}),
        Route("POST", "/containers/create", calls.create_container, frozenset({"name"}), json=True),
        Route("GET", f"{one}/json", calls.inspect_container),
        Route("GET", f"{one}/logs", calls.logs, log),
        Route("POST", f"{one}/start", calls.start),
        Route("POST", f"{one}/stop", calls.stop, frozenset({"t"})),
        Route("POST", f"{one}/pause", calls.pause),
        Route("POST", f"{one}/unpause", calls.unpause),
        Route("POST", f"{one}/rename", calls.rename, frozenset({"name"})),
        Route("POST", f"{one}/exec", calls.execute, json=True),
        Route("GET", f"{one}/archive", calls.get_archive, frozenset({"path"})),
        Route("PUT", f"{one}/archive", calls.put_archive, frozenset({"path"}), archive=True),
        Route("DELETE", one, calls.remove_container, frozenset({"v", "link", "force"})),
        Route("POST", "/exec/{id}/start", calls.start_exec, json=True, upgrade=True),
        Route("GET", "/exec/{id}/json", calls.inspect_exec),
        Route("GET", "/images/{image}/json", calls.inspect_image),
        Route("POST", "/images/create", calls.pull, frozenset({"fromImage", "tag"})),
        Route("GET", "/volumes", calls.volumes, filters),
        Route("POST", "/volumes/create", calls.create_volume, json=True),
        Route("GET", "/volumes/{name}", calls.inspect_volume),
        Route("DELETE", "/volumes/{name}", calls.remove_volume),
        Route("GET", "/networks", calls.networks, filters),
        Route("POST", "/networks/create", calls.create_network, json=True),
        Route("GET", "/networks/{name}", calls.inspect_network),
        Route("DELETE", "/networks/{name}", calls.remove_network),
        Route("POST", "/networks/{name}/connect", calls.connect, json=True),
        Route("POST", "/networks/{name}/disconnect", calls.disconnect, json=True),
        Route("GET", "/services", calls.services, filters),
        Route("POST", "/services/create", calls.create_service, json=True),
        Route("GET", "/services/{name}", calls.inspect_service),
        Route("DELETE", "/services/{name}", calls.remove_service),
        Route("GET", "/services/{name}/logs", calls.service_logs, log | {"details"}),
        Route("GET", "/tasks", calls.tasks, filters),
        Route("GET", "/tasks/{name}", calls.inspect_task),
        Route("GET", "/nodes/{name}", calls.inspect_node),
        Route("GET", "/secrets", calls.secrets, filters),
        Route("POST", "/secrets/create", calls.create_secret, json=True),
        Route("DELETE", "/secrets/{name}", calls.remove_secret),
    ]


ROUTES = _routes()


def find(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route of a request, and the names in its path. Refused where there is none."""
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, match.groupdict()
    raise Refused(f"{method[:10]} {path[:200]} is none of the calls that a hub needs.")
