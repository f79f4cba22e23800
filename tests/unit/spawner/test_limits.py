from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError

from support.spawners import make_spawner

GIB = 1024**3
LIMITS = ["mem_limit", "cpu_limit", "mem_guarantee", "cpu_guarantee"]


async def later(spawner: Any) -> str:
    return "3G"


@pytest.mark.parametrize(
    ("setting", "number"),
    [("1G", GIB), (1_000_000, 1_000_000), (None, None), (lambda spawner: "2G", 2 * GIB), (lambda spawner: None, None)],
)
def test_reading_a_limit_gives_its_number(setting: Any, number: int | None) -> None:
    assert make_spawner(mem_limit=setting).mem_limit == number


def test_a_callable_is_asked_again_and_again() -> None:
    users = {"ann": 1.5}
    spawner = make_spawner("ann", cpu_limit=lambda spawner: users[spawner.user.name])
    assert spawner.cpu_limit == 1.5
    users["ann"] = 2
    assert spawner.cpu_limit == 2.0


async def test_while_a_server_starts_it_is_what_it_was_at_the_beginning() -> None:
    asked: list[Any] = []
    spawner = make_spawner(mem_limit=later, cpu_limit=lambda spawner: asked.append(spawner) or len(asked))
    await spawner._pin_limits()
    assert [(spawner.mem_limit, spawner.cpu_limit) for _ in range(2)] == [(3 * GIB, 1.0)] * 2
    assert len(asked) == 1


@pytest.mark.parametrize(("limit", "guarantee"), [("1G", GIB), ("4G", 2 * GIB), (None, 2 * GIB)])
async def test_no_more_is_guaranteed_than_allowed(limit: str | None, guarantee: int) -> None:
    """The engine would refuse it, and a profile with a small limit would have to say both."""
    spawner = make_spawner(mem_limit=limit, mem_guarantee="2G")
    await spawner._pin_limits()
    assert spawner.mem_guarantee == guarantee


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_no_number_is_refused_by_name(name: str) -> None:
    with pytest.raises(TraitError, match=name):
        make_spawner(**{name: "lots"})


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", ["lots", True, lambda: 1])
async def test_a_callable_that_gives_no_number_fails_the_start_by_name(name: str, value: Any) -> None:
    with pytest.raises(Exception, match=name) as failed:
        await make_spawner(**{name: lambda spawner: value})._pin_limits()
    assert failed.value.reason == "settings"


@pytest.mark.parametrize(("setting", "value"), [("mem_limit", "2 gigs"), ("cpu_limit", "two"), ("mem_guarantee", True)])
async def test_start_with_a_wrong_limit_of_a_callable_names_the_setting(setting: str, value: Any) -> None:
    spawner = make_spawner(**{setting: lambda spawner: value})
    with pytest.raises(Exception, match=f"Wrong value for the setting {setting}: .* Please contact an administrator"):
        await spawner._pin_limits()
