"""The resources that a server may ask for: at most those of settings and profiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockyard.gate.policy import models, services
from dockyard.gate.policy.operators import may_raise_limits
from dockyard.gate.strict import Refused
from dockyard.settings.types import in_bytes

# The engine's default period of a CPU quota, and its default weight of a container.
CPU_PERIOD = 100_000
CPU_SHARES = 1024
BILLION = 1_000_000_000


@dataclass(frozen=True)
class Limits:
    """The most that one server may have; None means no limit.

    `memory` is in bytes. Without `swap`, the memory limit includes swap. While the folder `unless` contains Python
    files that may raise limits, nothing is checked.
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shares: int | None = None
    swap: bool = True
    unless: Path | None = None

    def check_container(self, host: models.ServerHost) -> None:
        """Raise Refused if a container's HostConfig asks for more."""
        if self._is_off():
            return
        period = host.CpuPeriod or CPU_PERIOD
        cpus = host.NanoCpus / BILLION if host.NanoCpus else (host.CpuQuota or 0) / period
        self._within("Memory", "MEM_LIMIT", host.Memory, self.memory)
        if not self.swap:
            self._within("MemorySwap", "MEM_LIMIT", host.MemorySwap, self.memory)
        self._within("NanoCpus or CpuQuota", "CPU_LIMIT", cpus, self.cpus)
        self._within("PidsLimit", "PIDS_LIMIT", host.PidsLimit, self.pids)
        self._at_most("MemoryReservation", "MEM_LIMIT", host.MemoryReservation, self.memory)
        self._at_most("CpuShares", "CPU_GUARANTEE", host.CpuShares, self.shares)

    def check_service(self, sizes: services.Sizes | None) -> None:
        """Raise Refused if a service's task asks for more."""
        if self._is_off():
            return
        most = (sizes and sizes.Limits) or services.Most()
        least = (sizes and sizes.Reservations) or services.Least()
        self._within("MemoryBytes", "MEM_LIMIT", most.MemoryBytes, self.memory)
        self._within("NanoCPUs", "CPU_LIMIT", (most.NanoCPUs or 0) / BILLION, self.cpus)
        self._within("Pids", "PIDS_LIMIT", most.Pids, self.pids)
        self._at_most("Reservations.MemoryBytes", "MEM_LIMIT", least.MemoryBytes, self.memory)
        if self.shares is not None:
            reserved = self.shares / CPU_SHARES
            self._at_most("Reservations.NanoCPUs", "CPU_GUARANTEE", (least.NanoCPUs or 0) / BILLION, reserved)

    def _is_off(self) -> bool:
        return self.unless is not None and may_raise_limits(self.unless)

    def _within(self, field: str, setting: str, asked: float | None, most: float | None) -> None:
        # 0, -1 and a missing field mean no limit.
        if most is not None and (asked is None or asked <= 0):
            raise _refused(f"{field} has no limit", setting, most)
        self._at_most(field, setting, asked, most)

    def _at_most(self, field: str, setting: str, asked: float | None, most: float | None) -> None:
        if most is not None and asked is not None and asked > most:
            raise _refused(f"{field} is {_shown(asked, setting)}", setting, most)


def _refused(what: str, setting: str, most: float) -> Refused:
    return Refused(
        f"{what}. {setting} and PROFILES_FILE give a server {_shown(most, setting)} at most. "
        f"Ask for less, raise {setting}, or see GATE_LIMITS in .env."
    )


def _shown(amount: float, setting: str) -> str:
    return f"{amount / 2**20:g} MiB" if setting == "MEM_LIMIT" else f"{amount:g}"


def limits(settings: Any, overrides: Iterable[Mapping[str, Any]], operators: Path) -> Limits:
    """Return the most that settings and profiles give; `operators` is the folder of the operator's configuration."""
    if settings.gate_limits == "never":
        return Limits()
    given: dict[str, list[float | None]] = {
        "memory": [_memory(settings.mem_limit)],
        "cpus": [settings.cpu_limit],
        "pids": [settings.pids_limit],
        "shares": [CPU_SHARES, (settings.cpu_guarantee or 0) * CPU_SHARES],
        "swap": [0],
    }
    for override in overrides:
        for what, amount in _asked(override):
            given[what].append(amount)
    # An amount that only a start shows, such as a user's text, means no limit.
    most = {
        what: None if None in amounts else max(amount for amount in amounts if amount is not None)
        for what, amounts in given.items()
    }
    return Limits(
        memory=_whole(most["memory"]),
        cpus=most["cpus"],
        pids=_whole(most["pids"]),
        shares=_whole(most["shares"]),
        swap=bool(most["swap"]),
        unless=operators if settings.gate_limits == "auto" else None,
    )


def _asked(override: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield the amounts that a docker_override gives; None means no limit."""
    host, resources = (_mapping(override.get(name)) for name in ("extra_host_config", "extra_resources_spec"))
    for extra in (override, host, resources):
        if "mem_limit" in extra:
            yield "memory", _memory(extra["mem_limit"])
        if "pids_limit" in extra:
            yield "pids", _number(extra["pids_limit"])
    for extra, name, unit in (
        (override, "cpu_limit", 1),
        (host, "nano_cpus", BILLION),
        (resources, "cpu_limit", BILLION),
    ):
        if name in extra:
            yield "cpus", _number(extra[name], unit)
    if "cpu_quota" in host or "cpu_period" in host:
        yield "cpus", _number(host.get("cpu_quota"), _number(host.get("cpu_period")) or CPU_PERIOD)
    if override.get("cpu_guarantee") is not None:
        yield "shares", _number(override["cpu_guarantee"], 1 / CPU_SHARES)
    if "cpu_shares" in host:
        yield "shares", _number(host["cpu_shares"])
    if override.get("swap") or "memswap_limit" in host:
        yield "swap", 1
    if _mapping(override.get("extra_create_kwargs")).keys() & {"host_config", "task_template"}:
        # In the engine's own spelling.
        yield from (("memory", None), ("cpus", None), ("pids", None), ("shares", None), ("swap", 1))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(amount: float | None) -> int | None:
    return None if amount is None else int(amount)


def _memory(value: Any) -> float | None:
    try:
        return in_bytes(str(value).upper().removesuffix("B")) or None
    except (ValueError, TypeError):
        return None


def _number(value: Any, unit: float = 1) -> float | None:
    """Convert to a number of units; None for 0, -1 and what is not a number, which mean no limit."""
    try:
        number = float(value) / unit
    except (ValueError, TypeError):
        return None
    return number if number > 0 else None
