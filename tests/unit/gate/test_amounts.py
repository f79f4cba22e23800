"""How much servers may ask for: what settings and profiles give, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockyard.gate.policy import checks
from dockyard.gate.policy.limits import Limits, limits
from dockyard.gate.policy.operators import CHECKED, digest
from dockyard.gate.strict import Refused
from support.bodies import ALLOWED, server, service

GIB = 2**30
SETTINGS = {
    "mem_limit": "2G",
    "cpu_limit": 0.5,
    "cpu_guarantee": None,
    "pids_limit": 1024,
    "gate_limits": "always",
}
NOWHERE = Path("/nonexistent")
MOST = Limits(2 * GIB, 0.5, 1024, 1024, swap=False)


def given(*overrides: Any, operators: Path = NOWHERE, **settings: Any) -> Limits:
    return limits(SimpleNamespace(**{**SETTINGS, **settings}), overrides, operators)


def made(most: Limits, **host: Any) -> None:
    body = server(**{f"HostConfig__{name}": value for name, value in host.items()})
    checks.container(replace(ALLOWED, limits=most), body)


def deployed(most: Limits, **sizes: Any) -> None:
    body = service(**{f"TaskTemplate__Resources__{name}": value for name, value in sizes.items()})
    checks.service(replace(ALLOWED, limits=most), body)


def test_what_the_spawner_sends_is_within_the_settings() -> None:
    made(MOST)
    deployed(MOST)


@pytest.mark.parametrize(
    ("asked", "field", "setting"),
    [
        ({"Memory": 2 * GIB + 1}, "Memory", "MEM_LIMIT"),
        ({"Memory": 0}, "Memory has no limit", "MEM_LIMIT"),
        ({"Memory": None}, "Memory has no limit", "MEM_LIMIT"),
        ({"MemorySwap": -1}, "MemorySwap has no limit", "MEM_LIMIT"),
        ({"MemorySwap": 0}, "MemorySwap has no limit", "MEM_LIMIT"),
        ({"MemorySwap": None}, "MemorySwap has no limit", "MEM_LIMIT"),
        ({"MemorySwap": 4 * GIB}, "MemorySwap is 4096 MiB", "MEM_LIMIT"),
        ({"MemoryReservation": 3 * GIB}, "MemoryReservation", "MEM_LIMIT"),
        ({"CpuQuota": 60_000}, "CpuQuota is 0.6", "CPU_LIMIT"),
        ({"CpuQuota": 0}, "CpuQuota has no limit", "CPU_LIMIT"),
        ({"CpuQuota": None, "CpuPeriod": None}, "CpuQuota has no limit", "CPU_LIMIT"),
        ({"CpuPeriod": 1000, "CpuQuota": 1000}, "CpuQuota is 1,", "CPU_LIMIT"),
        ({"CpuPeriod": None, "CpuQuota": None, "NanoCpus": 10**9}, "NanoCpus or CpuQuota is 1", "CPU_LIMIT"),
        ({"CpuShares": 262_144}, "CpuShares", "CPU_GUARANTEE"),
        ({"PidsLimit": 1025}, "PidsLimit is 1025", "PIDS_LIMIT"),
        ({"PidsLimit": -1}, "PidsLimit has no limit", "PIDS_LIMIT"),
        ({"PidsLimit": 0}, "PidsLimit has no limit", "PIDS_LIMIT"),
        ({"PidsLimit": None}, "PidsLimit has no limit", "PIDS_LIMIT"),
    ],
)
def test_a_container_that_asks_for_more_is_refused(asked: Any, field: str, setting: str) -> None:
    with pytest.raises(Refused) as refused:
        made(MOST, **asked)
    assert field.rstrip(",") in str(refused.value)
    assert setting in str(refused.value)
    assert "GATE_LIMITS" in str(refused.value)
    made(Limits(), **asked)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"Limits": {"MemoryBytes": 3 * GIB, "NanoCPUs": 1, "Pids": 1}}, "MemoryBytes is 3072 MiB"),
        ({"Limits": {"MemoryBytes": GIB, "NanoCPUs": 10**9, "Pids": 1}}, "NanoCPUs is 1"),
        ({"Limits": {"MemoryBytes": GIB, "NanoCPUs": 1, "Pids": 2000}}, "Pids is 2000"),
        ({"Limits": {"MemoryBytes": GIB, "NanoCPUs": 1}}, "Pids has no limit"),
        ({"Limits": {"NanoCPUs": 1, "Pids": 1}}, "MemoryBytes has no limit"),
        ({"Limits": {"MemoryBytes": GIB, "Pids": 1}}, "NanoCPUs has no limit"),
        ({"Limits": None}, "MemoryBytes has no limit"),
        ({"Reservations": {"MemoryBytes": 3 * GIB}}, "Reservations.MemoryBytes"),
        ({"Reservations": {"NanoCPUs": 64 * 10**9}}, "Reservations.NanoCPUs is 64"),
    ],
)
def test_a_service_that_asks_for_more_is_refused(asked: Any, field: str) -> None:
    with pytest.raises(Refused, match=field):
        deployed(MOST, **asked)
    deployed(Limits(), **asked)


def test_a_service_without_resources_is_refused() -> None:
    with pytest.raises(Refused, match="MemoryBytes has no limit"):
        checks.service(replace(ALLOWED, limits=MOST), service(TaskTemplate__Resources=None))


def test_the_settings_are_the_most_without_profiles() -> None:
    assert given() == MOST
    assert given(cpu_limit=None).cpus is None
    assert given(cpu_guarantee=4).shares == 4096


@pytest.mark.parametrize(
    ("override", "most"),
    [
        ({"mem_limit": "16G", "cpu_limit": 4}, {"memory": 16 * GIB, "cpus": 4.0}),
        ({"mem_limit": "512M", "cpu_limit": "0.25"}, {}),
        ({"mem_limit": 3 * GIB}, {"memory": 3 * GIB}),
        ({"mem_limit": None}, {"memory": None}),
        # A text that users write.
        ({"mem_limit": "{value}G", "cpu_limit": "{value}"}, {"memory": None, "cpus": None}),
        ({"cpu_limit": None}, {"cpus": None}),
        ({"cpu_guarantee": 2}, {"shares": 2048}),
        ({"cpu_guarantee": None, "mem_guarantee": None}, {}),
        ({"extra_host_config": {"pids_limit": 4096, "mem_limit": "4g"}}, {"pids": 4096, "memory": 4 * GIB}),
        ({"extra_host_config": {"pids_limit": -1}}, {"pids": None}),
        ({"extra_host_config": {"nano_cpus": 3 * 10**9}}, {"cpus": 3.0}),
        ({"extra_host_config": {"cpu_quota": 200_000}}, {"cpus": 2.0}),
        ({"extra_host_config": {"cpu_quota": 200_000, "cpu_period": 50_000}}, {"cpus": 4.0}),
        ({"extra_host_config": {"cpu_shares": 4096}}, {"shares": 4096}),
        ({"extra_host_config": {"memswap_limit": "8g"}}, {"swap": True}),
        ({"extra_host_config": {"shm_size": "1g"}}, {}),
        ({"extra_host_config": None, "environment": {"A": "1"}}, {}),
        ({"swap": True}, {"swap": True}),
        ({"extra_resources_spec": {"pids_limit": 2000, "cpu_limit": 10**9}}, {"pids": 2000, "cpus": 1.0}),
        (
            {"extra_create_kwargs": {"host_config": {"Memory": 1}}},
            {"memory": None, "cpus": None, "pids": None, "shares": None, "swap": True},
        ),
        ({"extra_create_kwargs": {"user": "root"}}, {}),
    ],
)
def test_a_profile_raises_the_most_and_never_lowers_it(override: Any, most: Any) -> None:
    assert given({"image": "x"}, override) == replace(MOST, **most)


@pytest.fixture
def file_in(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        (tmp_path / name).touch()
        return tmp_path

    return write


def test_auto_allows_all_as_soon_as_operators_have_a_file(file_in: Callable[[str], Path]) -> None:
    most = given(gate_limits="auto", operators=file_in("README.md"))
    with pytest.raises(Refused):
        made(most, Memory=64 * GIB)
    file_in("50-large.py")
    made(most, Memory=64 * GIB, PidsLimit=-1)
    deployed(most, Limits={"MemoryBytes": 64 * GIB})


def test_auto_holds_to_the_settings_if_the_files_are_those_that_were_checked(file_in: Callable[[str], Path]) -> None:
    folder = file_in("50-title.py")
    (folder / "more.json").write_text("{}")
    (folder / CHECKED).write_text(f"{digest(folder)}\n")
    most = given(gate_limits="auto", operators=folder)
    with pytest.raises(Refused):
        made(most, Memory=64 * GIB)
    with pytest.raises(Refused):
        deployed(most, Limits={"MemoryBytes": 64 * GIB})
    # What editors and Python leave behind, and what people read: a clone may keep that from the gate's user.
    for name in (".50-title.py.swp", "__pycache__/50-title.pyc", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with pytest.raises(Refused):
        made(most, Memory=64 * GIB)
    (folder / "more.json").write_text('{"mem_limit": "64G"}')
    made(most, Memory=64 * GIB)


def test_a_folder_that_can_not_be_hashed_in_no_time_has_no_hash(tmp_path: Path) -> None:
    assert digest(tmp_path)
    (tmp_path / "data").write_bytes(bytes(2**20 + 1))
    assert digest(tmp_path) == ""
    (tmp_path / "50-title.py").touch()
    (tmp_path / CHECKED).touch()
    made(given(gate_limits="auto", operators=tmp_path), PidsLimit=-1)


def test_always_holds_operators_to_the_settings_and_never_does_not(file_in: Callable[[str], Path]) -> None:
    folder = file_in("50-large.py")
    with pytest.raises(Refused):
        made(given(gate_limits="always", operators=folder), Memory=64 * GIB)
    assert given(gate_limits="never") == Limits()


@pytest.mark.parametrize("env", [["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute"], ["A=1"]])
def test_the_environment_of_gpus_where_settings_give_them(env: list[str]) -> None:
    allowed = replace(ALLOWED, gpus=True)
    assert checks.container(allowed, server(Env=env)).body["Env"] == env
    checks.service(allowed, service(TaskTemplate__ContainerSpec__Env=env))


@pytest.mark.parametrize("text", ["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_API_KEY=x", "MY_NVIDIA_X=1", "NVIDIA=1"])
def test_an_environment_that_gives_no_gpus(text: str) -> None:
    assert checks.container(ALLOWED, server(Env=[text])).body["Env"] == [text]


@pytest.mark.parametrize(
    "log",
    [
        {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        {"Type": "json-file", "Config": {"max-size": "1g"}},
        {"Type": "json-file", "Config": {"max-size": "100MB", "compress": "true", "max-file": "3"}},
        {"Type": "local"},
        {"Type": "local", "Config": {"max-size": "50m"}},
        None,
    ],
)
def test_a_log_that_has_an_end(log: Any) -> None:
    made(Limits(), LogConfig=log)


@pytest.mark.parametrize("is_null", [True, False])
def test_a_log_of_which_nothing_is_said_has_an_end(is_null: bool) -> None:
    """By the engine's default it may have none, or go to another machine."""
    given = server()
    del given["HostConfig"]["LogConfig"]
    body = checks.container(
        ALLOWED, given | {"HostConfig": {**given["HostConfig"], **({"LogConfig": None} if is_null else {})}}
    ).body
    assert body["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}


def test_a_services_log_of_which_nothing_is_said_has_an_end() -> None:
    body = checks.service(ALLOWED, service(TaskTemplate__LogDriver=None)).body
    assert body["TaskTemplate"]["LogDriver"] == {
        "Name": "json-file",
        "Options": {"max-size": "10m", "max-file": "2"},
    }


@pytest.mark.parametrize(
    "ulimits",
    [
        None,
        [],
        [{"Name": "nofile", "Soft": 1024, "Hard": 2**20}, {"Name": "core", "Soft": 0, "Hard": 0}],
        [{"Name": "memlock", "Soft": GIB, "Hard": GIB}, {"Name": "stack", "Soft": 2**26, "Hard": 2**26}],
    ],
)
def test_bounded_limits_of_the_kernel(ulimits: Any) -> None:
    made(Limits(), Ulimits=ulimits)
    checks.service(ALLOWED, service(TaskTemplate__ContainerSpec__Ulimits=ulimits))
