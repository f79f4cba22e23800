"""The idle culler as a service of the hub, and whose activity counts."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import apihandlers
from jupyterhub.scopes import scope_definitions

from dockyard.hub import culling
from dockyard.settings import intervals
from dockyard.settings.fields import Settings
from support.singleuser import module


def settings(**values: Any) -> Settings:
    return Settings.model_construct(**{"cull_idle_after": 0, "cull_max_age": 0} | values)


def test_nothing_is_culled_unless_it_is_asked_for() -> None:
    assert (culling.services(settings()), culling.roles(settings())) == ([], [])


@pytest.mark.parametrize(
    ("idle", "age", "limits"),
    [
        (120, 0, ["--timeout=120", "--max-age=0", "--cull-every=60"]),
        (0, 90, ["--timeout=90", "--max-age=90", "--cull-every=45"]),
        (86400, 3600, ["--timeout=86400", "--max-age=3600", "--cull-every=1800"]),
    ],
)
def test_the_limits_are_the_settings(idle: int, age: int, limits: list[str]) -> None:
    (service,) = culling.services(settings(cull_idle_after=idle, cull_max_age=age))
    assert service == {"name": "idle-culler", "command": [sys.executable, "-m", "dockyard.hub.culling", "150", *limits]}


def test_it_may_see_activity_and_stop_servers_and_nothing_else() -> None:
    (role,) = culling.roles(settings(cull_idle_after=120))
    assert role["services"] == ["idle-culler"]
    assert set(role["scopes"]) <= set(scope_definitions)
    assert set(role["scopes"]) == {"list:users", "read:users:activity", "read:servers", "delete:servers"}


def test_the_smallest_limit_is_longer_than_two_reports_take() -> None:
    activity = module("dockyard_activity")
    assert activity.INTERVAL == intervals.REPORT_EVERY
    # JupyterHub varies the interval by a tenth.
    assert 2 * 1.1 * intervals.REPORT_EVERY + activity.PERIOD < intervals.LEAST_IDLE


# Whose activity counts


def user(name: str, *servers: str) -> Any:
    return SimpleNamespace(name=name, spawners={server: SimpleNamespace() for server in servers})


def route(user: str, server: str) -> dict[str, Any]:
    return {"data": {"user": user, "server_name": server, "last_activity": "now"}}


def test_activity_of_the_proxy_is_left_out_for_servers_that_count_it_themselves() -> None:
    ann, ben = user("ann", "", "two"), user("ben", "")
    culling.remember(ann.spawners, ["two", "no-such-server"])
    routes = {"/a/": route("ann", ""), "/a/two/": route("ann", "two"), "/b/": route("ben", ""), "/": {"data": {}}}
    found = culling.without_counted(routes, [ann, ben])
    assert {path for path, one in found.items() if "last_activity" in one["data"]} == {"/a/", "/b/"}
    assert found["/a/two/"]["data"] == {"user": "ann", "server_name": "two"}


def test_reports_are_taken_by_a_handler_that_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apihandlers, "default_handlers", list(apihandlers.default_handlers))
    culling.accept_marked_reports()
    handlers = [handler for path, handler, *_ in apihandlers.default_handlers if path == r"/api/users/([^/]+)/activity"]
    assert len(handlers) == 2
    assert issubclass(*handlers)


# When a server counts as idle


class Culler:
    """Asks every `every` seconds of a clock."""

    def __init__(self, patience: float, limit: float) -> None:
        self.at = 1000.0
        self.limit = limit
        self.decide = culling.Patience(patience, lambda: self.at)

    def after(self, seconds: float, inactive: float) -> bool:
        self.at += seconds
        return self.decide(inactive=timedelta(seconds=inactive), inactive_limit=self.limit, server={})


def test_patience_a_hub_that_was_away_waits_for_reports() -> None:
    culler = Culler(patience=150, limit=120)
    assert not culler.after(0, inactive=10_000)
    assert not culler.after(60, inactive=10_000)
    assert not culler.after(60, inactive=10_000)
    assert culler.after(60, inactive=10_000)
    assert not culler.after(60, inactive=119)
    assert culler.after(60, inactive=120)


def test_patience_a_machine_that_was_suspended_waits_for_reports() -> None:
    culler = Culler(patience=150, limit=120)
    for _ in range(4):
        culler.after(60, inactive=0)
    assert not culler.after(3600, inactive=3600)
    assert not culler.after(60, inactive=3660)
    assert not culler.after(60, inactive=3720)
    assert culler.after(60, inactive=3780)
