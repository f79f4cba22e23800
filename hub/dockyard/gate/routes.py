"""The table of all that is let through: method, path, query. Whatever is not in it is refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dockyard.gate.calls.engine import Call, Outcome
from dockyard.gate.calls.swarm import SwarmCalls
from dockyard.gate.strict import Refused

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


_FILTERS = frozenset({"filters"})
_LOG = frozenset({"stdout", "stderr", "timestamps", "follow", "tail"})


def _everywhere(calls: type[SwarmCalls]) -> list[Route]:
    return [
        Route("GET", "/_ping", calls.ping),
        Route("GET", "/version", calls.version),
        Route("GET", "/info", calls.info),
        Route("GET", "/events", calls.events, _FILTERS | {"since", "until"}),
        Route("GET", "/images/{image}/json", calls.inspect_image),
        Route("POST", "/images/create", calls.pull, frozenset({"fromImage", "tag"})),
        # On a swarm, those of the manager, from a time as one host.
        Route("GET", "/volumes", calls.volumes, _FILTERS),
        Route("GET", "/volumes/{name}", calls.inspect_volume),
        Route("DELETE", "/volumes/{name}", calls.remove_volume),
        Route("GET", "/networks", calls.networks, _FILTERS),
        Route("GET", "/networks/{name}", calls.inspect_network),
    ]


def _one_host(calls: type[SwarmCalls]) -> list[Route]:
    one = "/containers/{name}"
    return [
        Route("GET", "/containers/json", calls.containers, _FILTERS | {"all", "limit", "size", "trunc_cmd"}),
        Route("POST", "/containers/create", calls.create_container, frozenset({"name"}), json=True),
        Route("GET", f"{one}/json", calls.inspect_container),
        Route("GET", f"{one}/logs", calls.logs, _LOG),
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
        Route("POST", "/volumes/create", calls.create_volume, json=True),
        Route("POST", "/networks/create", calls.create_network, json=True),
        Route("DELETE", "/networks/{name}", calls.remove_network),
        Route("POST", "/networks/{name}/connect", calls.connect, json=True),
        Route("POST", "/networks/{name}/disconnect", calls.disconnect, json=True),
    ]


def _swarm(calls: type[SwarmCalls]) -> list[Route]:
    return [
        Route("GET", "/services", calls.services, _FILTERS),
        Route("POST", "/services/create", calls.create_service, json=True),
        Route("GET", "/services/{name}", calls.inspect_service),
        Route("DELETE", "/services/{name}", calls.remove_service),
        Route("GET", "/services/{name}/logs", calls.service_logs, _LOG | {"details"}),
        Route("GET", "/tasks", calls.tasks, _FILTERS),
        Route("GET", "/tasks/{name}", calls.inspect_task),
        Route("GET", "/nodes/{name}", calls.inspect_node),
        Route("GET", "/secrets", calls.secrets, _FILTERS),
        Route("POST", "/secrets/create", calls.create_secret, json=True),
        Route("DELETE", "/secrets/{name}", calls.remove_secret),
    ]


ONE_HOST = (*_everywhere(SwarmCalls), *_one_host(SwarmCalls))
SWARM = (*_everywhere(SwarmCalls), *_swarm(SwarmCalls))


def find(method: str, path: str, on_swarm: bool) -> tuple[Route, Mapping[str, str]]:
    """The route of a request, and the names in its path. Refused where there is none."""
    for route in SWARM if on_swarm else ONE_HOST:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return route, match.groupdict()
    where = "a swarm" if on_swarm else "one host"
    raise Refused(f"{method[:10]} {path[:200]} is not among the calls that a hub on {where} needs.")
