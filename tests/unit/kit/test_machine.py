"""What the engine's machine allows."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest

from dockyard.settings import machine


@pytest.mark.parametrize(
    ("hard", "given"), [(resource.RLIM_INFINITY, 65536), (1_048_576, 65536), (65536, 65536), (20_000, 20_000)]
)
def test_open_files_of_servers_are_within_what_the_engine_gives_its_containers(
    monkeypatch: pytest.MonkeyPatch, hard: int, given: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda what: (1024, hard))
    assert machine.open_files() == given


PROFILES = [{"display_name": "Large", "docker_override": {"cpu_limit": 8, "image": "x"}}]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what scripts/check says of the machine."""

    def on(cpus: str, lacks: str = "", spawner: str = "docker") -> None:
        monkeypatch.setattr("os.environ", {"MACHINE_CPUS": cpus, "MACHINE_LACKS": lacks, "SPAWNER": spawner})

    return on


@pytest.mark.parametrize(
    ("values", "profiles", "cpus", "lines"),
    [
        ({"CPU_LIMIT": "4"}, [], "2", ["CPU_LIMIT=4 has no effect: this machine has 2 cores"]),
        ({"CPU_LIMIT": "1.5", "CPU_GUARANTEE": "2"}, [], "1", ["CPU_LIMIT=1.5 has no", "CPU_GUARANTEE=2 has no"]),
        ({}, PROFILES, "4", ["PROFILES_FILE: cpu_limit=8 has no effect: this machine has 4 cores"]),
        ({"CPU_LIMIT": "2"}, [], "2", []),
        ({"CPU_LIMIT": "lots"}, [], "2", []),
        ({"CPU_LIMIT": "64"}, [], "", []),
        ({}, [], "1", []),
    ],
)
def test_hints_name_limits_above_the_machines_cores(
    on: Callable[..., None], values: dict[str, str], profiles: Any, cpus: str, lines: list[str]
) -> None:
    on(cpus)
    found = machine.hints(values, profiles)
    assert [line for line, start in zip(found, lines, strict=True) if not line.startswith(start)] == []
    assert machine.mistakes(values, profiles) == []


@pytest.mark.parametrize(
    ("lacks", "values", "words"),
    [
        ("memory", {}, ["MEM_LIMIT has no effect"]),
        ("swap", {}, ["swapaccount=1"]),
        ("pids", {}, ["PIDS_LIMIT has no effect"]),
        ("cpu", {}, []),
        ("cpu", {"CPU_LIMIT": "8"}, ["CONFIG_CFS_BANDWIDTH"]),
        ("memory swap cpu pids", {"CPU_LIMIT": "1"}, ["MEM_LIMIT", "swapaccount", "PIDS_LIMIT", "CPU_LIMIT"]),
        ("", {"CPU_LIMIT": "1"}, []),
    ],
)
def test_hints_name_limits_that_the_kernel_lacks(
    on: Callable[..., None], lacks: str, values: dict[str, str], words: list[str]
) -> None:
    on("4", lacks)
    found = machine.hints(values, [])
    assert [line for line, word in zip(found, words, strict=True) if word not in line] == []


def test_more_cores_than_the_largest_node_has_are_a_mistake_on_a_swarm(on: Callable[..., None]) -> None:
    on("2", spawner="swarm")
    (line,) = machine.mistakes({"CPU_LIMIT": "4"}, [])
    assert line.startswith("CPU_LIMIT=4 is more than the largest node of the swarm has (2)")
    assert len(machine.mistakes({"CPU_GUARANTEE": "3"}, PROFILES)) == 2
    assert machine.mistakes({"CPU_LIMIT": "2"}, []) == machine.hints({"CPU_LIMIT": "4"}, []) == []
