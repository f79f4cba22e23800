from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from dockerspawner._engine import metrics
from dockerspawner._errors.failures import failure
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"dockyard_{name}", labels) or 0.0


@pytest.mark.parametrize(
    ("error", "reason"),
    [(failure("x", reason="network"), "network"), (asyncio.CancelledError(), "cancelled"), (KeyError("x"), "error")],
)
def test_failures_by_reason(error: Any, reason: str) -> None:
    before = figure("spawn_failures_total", reason=reason)
    metrics.failed(error)
    assert figure("spawn_failures_total", reason=reason) == before + 1


def test_only_a_phase_that_ends_well_is_counted() -> None:
    before = figure("spawn_phase_seconds_count", phase="start")
    with metrics.phase("start"):
        pass
    with pytest.raises(ValueError, match="no"), metrics.phase("start"):
        raise ValueError("no")
    assert figure("spawn_phase_seconds_count", phase="start") == before + 1


async def test_calls_of_the_engine_and_what_became_of_them() -> None:
    client = FakeClient()
    client.fail["inspect_image"] = [api_error(404, "No such image: tiny")]
    spawner = make_spawner(engine=fake_engine(client))
    calls = figure("engine_call_seconds_count", method="inspect_image")
    errors = figure("engine_errors_total", method="inspect_image", kind="NoSuchImage")
    await asyncio.gather(*(spawner.docker("inspect_image", "tiny") for _ in range(2)), return_exceptions=True)
    assert figure("engine_call_seconds_count", method="inspect_image") == calls + 2
    assert figure("engine_errors_total", method="inspect_image", kind="NoSuchImage") == errors + 1


def test_servers_of_several_engines_are_counted_together() -> None:
    class Counted:
        def __init__(self, running: int, sleeping: int) -> None:
            self._figures = running, sleeping

        def running(self) -> int:
            return self._figures[0]

        def sleeping(self) -> int:
            return self._figures[1]

    one, two = Counted(3, 1), Counted(2, 0)
    metrics.count_servers("counted", one)
    metrics.count_servers("counted", two)
    assert figure("servers", instance="counted", state="running") == 5
    assert figure("servers", instance="counted", state="sleeping") == 1
    del one
    assert figure("servers", instance="counted", state="running") == 2
