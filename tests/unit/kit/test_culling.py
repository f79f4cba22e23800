"""The idle culler as a service of the hub."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from jupyterhub.scopes import scope_definitions

import culling
from settings import Settings


def settings(**values: Any) -> Settings:
    return Settings.model_construct(**{"cull_idle_after": 0, "cull_max_age": 0} | values)


def test_nothing_is_culled_unless_it_is_asked_for() -> None:
    assert (culling.services(settings()), culling.roles(settings())) == ([], [])


@pytest.mark.parametrize(
    ("idle", "age", "limits"),
    [
        (60, 0, ["--timeout=60", "--max-age=0", "--cull-every=30"]),
        (0, 90, ["--timeout=90", "--max-age=90", "--cull-every=45"]),
        (86400, 3600, ["--timeout=86400", "--max-age=3600", "--cull-every=1800"]),
    ],
)
def test_the_limits_are_the_settings(idle: int, age: int, limits: list[str]) -> None:
    (service,) = culling.services(settings(cull_idle_after=idle, cull_max_age=age))
    assert service == {"name": "idle-culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", *limits]}


def test_it_may_see_activity_and_stop_servers_and_nothing_else() -> None:
    (role,) = culling.roles(settings(cull_idle_after=60))
    assert role["services"] == ["idle-culler"]
    assert set(role["scopes"]) <= set(scope_definitions)
    assert set(role["scopes"]) == {"list:users", "read:users:activity", "read:servers", "delete:servers"}
