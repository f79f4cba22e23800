from __future__ import annotations

import time
from typing import Any

import pytest
from jupyterhub.traitlets import Callable
from traitlets import Float, TraitError, Unicode, Union

from dockerspawner import DockerSpawner
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

GIB = 1024**3
LIMITS = ["mem_limit", "cpu_limit", "mem_guarantee", "cpu_guarantee", "tmp_size"]


async def later(spawner: Any) -> str:
    return "3G"


@pytest.mark.parametrize(
    ("setting", "number"),
    [("1G", GIB), (1_000_000, 1_000_000), (None, None), (lambda spawner: "2G", 2 * GIB), (lambda spawner: None, None)],
)
async def test_reading_a_limit_of_a_start_gives_its_number(setting: Any, number: int | None) -> None:
    spawner = make_spawner(mem_limit=setting)
    await spawner._pin_limits()
    assert spawner.mem_limit == number
    assert spawner.get_env().get("MEM_LIMIT") == (str(number) if number else None)


@pytest.mark.parametrize("name", LIMITS)
def test_reading_a_limit_calls_no_code_of_the_operator(name: str) -> None:
    def fails(spawner: Any) -> Any:
        raise AssertionError

    spawner = make_spawner(**{name: fails})
    assert getattr(spawner, name) is fails
    assert name.upper() not in spawner.get_env()


async def test_a_callable_is_asked_once_for_each_start() -> None:
    def limit(spawner: Any) -> float:
        asked.append(spawner.user.name)
        return users[spawner.user.name]

    users, asked = {"ann": 1.5}, list[str]()
    spawner = make_spawner("ann", cpu_limit=limit)
    for number in (1.5, 2.0):
        users["ann"] = number
        await spawner._pin_limits()
        assert (spawner.cpu_limit, spawner.get_env()["CPU_LIMIT"]) == (number, str(number))
        spawner.clear_state()
        assert spawner.cpu_limit is limit
    assert asked == ["ann", "ann"]


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


@pytest.mark.parametrize(
    ("limit", "asked", "size"),
    [("1G", "2G", GIB // 2), ("4G", "1G", GIB), (None, "1G", GIB), ("1G", None, None), ("1G", 0, 0)],
)
async def test_tmp_size_above_half_of_mem_limit_is_half(limit: str | None, asked: Any, size: int | None) -> None:
    spawner = make_spawner(mem_limit=limit, tmp_size=asked)
    await spawner._pin_limits()
    assert spawner.tmp_size == size


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


class Properties(DockerSpawner):
    @property
    def mem_limit(self) -> Any:
        return "64M"

    @property
    def cpu_limit(self) -> Any:
        return lambda spawner: 0.5


class Plain(DockerSpawner):
    mem_limit, mem_guarantee, cpu_guarantee = "64M", "32M", 0.25

    async def cpu_limit(self) -> Any:
        return 0.5


class Traits(DockerSpawner):
    mem_limit = Unicode("64M", config=True)
    cpu_limit = Union([Callable(), Float()], default_value=lambda spawner: 0.5)


@pytest.mark.parametrize("cls", [Properties, Plain, Traits])
async def test_start_with_limits_that_a_subclass_has_in_place_of_settings_applies_them(cls: Any) -> None:
    spawner: Any = make_spawner(cls=cls, engine=fake_engine(FakeClient()), image="tiny")
    await spawner._pin_limits()
    spec = await spawner._create_kwargs()
    host = spec["host_config"]
    assert (host["Memory"], host["CpuQuota"]) == (64 * 2**20, 50_000)
    assert (spec["environment"]["MEM_LIMIT"], spec["environment"]["CPU_LIMIT"]) == (str(64 * 2**20), "0.5")
    if cls is Plain:
        assert (host["MemoryReservation"], host["CpuShares"]) == (32 * 2**20, 256)


async def test_start_with_a_wrong_limit_of_a_subclass_names_the_setting() -> None:
    class Wrong(DockerSpawner):
        cpu_limit = "many"

    with pytest.raises(Exception, match=r"Wrong value for the setting cpu_limit: .* Please contact"):
        await make_spawner(cls=Wrong)._pin_limits()


def test_hub_waits_longer_with_an_http_timeout_of_a_subclass() -> None:
    class Patient(DockerSpawner):
        http_timeout = 10**6

    assert make_spawner(cls=Patient)._ready._hub_waits_longer(time.monotonic())
