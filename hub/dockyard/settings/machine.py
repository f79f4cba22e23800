"""What the engine's machine allows: its cores, and limits that its kernel or engine lacks.

`scripts/check` passes both in the environment: MACHINE_CPUS, a number, and MACHINE_LACKS, some of memory, swap, cpu and
pids. On a swarm, MACHINE_CPUS is that of the largest node, and MACHINE_LACKS is empty.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from typing import Any

from dockyard.settings.overrides import overrides

OPEN_FILES = 65536
_LACKS = {
    "memory": "can't limit memory, and MEM_LIMIT has no effect: on ARM boards, add cgroup_enable=memory to the "
    "kernel's command line",
    "swap": "can't limit swap, which servers may use beside MEM_LIMIT: add swapaccount=1 to the kernel's command line, "
    "or switch swap off",
    "pids": "can't limit processes, and PIDS_LIMIT has no effect: for a rootless engine, delegate the pids controller",
}


def open_files() -> int:
    """Return the number of files that a process of a server may have open.

    It is at most the hard limit of the engine's containers: an engine without CAP_SYS_RESOURCE starts none with more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)


def mistakes(values: Mapping[str, str], profiles: Any) -> list[str]:
    """Return limits above the cores of every node of a swarm. One host accepts such a limit and ignores it."""
    if os.environ.get("SPAWNER") != "swarm":
        return []
    return [
        f"{name}={cores:g} is more than the largest node of the swarm has ({most:g}), and nodes reject such servers: "
        f"write {most:g} or less"
        for name, cores, most in _above(values, profiles)
    ]


def hints(values: Mapping[str, str], profiles: Any) -> list[str]:
    """Return limits that one host accepts and ignores."""
    if os.environ.get("SPAWNER") == "swarm":
        return []
    lacks = os.environ.get("MACHINE_LACKS", "").split()
    found = [f"The kernel or engine of this machine {text}" for what, text in _LACKS.items() if what in lacks]
    limited = [name for name, _ in _limits(values, profiles)]
    if "cpu" in lacks and limited:
        return [
            *found,
            f"The kernel or engine of this machine can't limit processors (CONFIG_CFS_BANDWIDTH): {limited[0]} has no "
            "effect, and servers share the processors by weight",
        ]
    return found + [
        f"{name}={cores:g} has no effect: this machine has {most:g} {'core' if most == 1 else 'cores'}"
        for name, cores, most in _above(values, profiles)
    ]


def _above(values: Mapping[str, str], profiles: Any) -> Iterator[tuple[str, float, float]]:
    """Return limits above the machine's cores, if these are known."""
    most = _number(os.environ.get("MACHINE_CPUS"))
    return ((name, cores, most) for name, cores in _limits(values, profiles) if 0 < most < cores)


def _limits(values: Mapping[str, str], profiles: Any) -> Iterator[tuple[str, float]]:
    """Yield the limits and guarantees of processors in `.env` and profiles."""
    for name in ("CPU_LIMIT", "CPU_GUARANTEE"):
        if cores := _number(values.get(name)):
            yield name, cores
    for override, _ in overrides(profiles):
        for name in ("cpu_limit", "cpu_guarantee"):
            if cores := _number(override.get(name)):
                yield f"PROFILES_FILE: {name}", cores


def _number(value: Any) -> float:
    """Convert to a number; 0 for a text that is not one, which the check of the settings reports."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0
