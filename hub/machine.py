"""What the engine's machine allows: its cores, and limits that its kernel or engine lacks.

`scripts/check` says both of them in the environment, of a swarm those of its largest node: MACHINE_CPUS, a number, and
MACHINE_LACKS, some of memory, swap, cpu, pids.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from typing import Any

from gate.allowed import overrides

OPEN_FILES = 65536
_LACKS = {
    "memory": "can't limit memory, and MEM_LIMIT has no effect: on ARM boards, add cgroup_enable=memory to the "
    "kernel's command line",
    "swap": "can't limit swap, which servers may use beside MEM_LIMIT: add swapaccount=1 to the kernel's command line, "
    "or switch swap off",
    "pids": "can't limit processes, and PIDS_LIMIT has no effect: for a rootless engine, delegate the pids controller",
}


def open_files() -> int:
    """The number of files that a process of a server may have open.

    Not above the hard limit that the engine gives its containers: without CAP_SYS_RESOURCE it starts none with more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)


def mistakes(values: Mapping[str, str], profiles: Any) -> list[str]:
    """What no node of a swarm can run. One host takes a limit above its cores, for none."""
    if os.environ.get("SPAWNER") != "swarm":
        return []
    return [
        f"{name}={cores:g} is more than the largest node of the swarm has ({most:g}), and nodes reject such servers: "
        f"write {most:g} or less"
        for name, cores, most in _above(values, profiles)
    ]


def hints(values: Mapping[str, str], profiles: Any) -> list[str]:
    """What one host accepts and ignores."""
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
    """Limits above the machine's cores, where these are known."""
    most = _number(os.environ.get("MACHINE_CPUS"))
    return ((name, cores, most) for name, cores in _limits(values, profiles) if 0 < most < cores)


def _limits(values: Mapping[str, str], profiles: Any) -> Iterator[tuple[str, float]]:
    """The limits and guarantees of processors in `.env` and profiles."""
    for name in ("CPU_LIMIT", "CPU_GUARANTEE"):
        if cores := _number(values.get(name)):
            yield name, cores
    for override, _ in overrides(profiles):
        for name in ("cpu_limit", "cpu_guarantee"):
            if cores := _number(override.get(name)):
                yield f"PROFILES_FILE: {name}", cores


def _number(value: Any) -> float:
    """A number, 0 for what is none: the check reports that elsewhere."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0
