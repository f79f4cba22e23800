"""Figures of the spawner, in the hub's own registry: they are beside its others at /hub/metrics.

dockyard_spawn_phase_seconds{phase}     pull, create, start, ready: how long each took, where it ended well
dockyard_spawn_failures_total{reason}   starts that failed, by reason
dockyard_engine_call_seconds{method}    calls to the Docker engine: how long each took, the wait for a thread apart
dockyard_engine_errors_total{method,kind}  those that failed, by what that means
dockyard_watch_lag_seconds              from what happened on the engine until it was heard, by two clocks
dockyard_out_of_memory_total            processes of servers that were killed for memory
dockyard_servers{instance,state}        containers of servers: running, sleeping (frozen, by whomever)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

from prometheus_client import Counter, Gauge, Histogram

PHASES = ("pull", "create", "start", "ready")

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

spawn_phase = Histogram(
    "dockyard_spawn_phase_seconds", "Seconds that a phase of a start took", ["phase"], buckets=_SECONDS
)
spawn_failures = Counter("dockyard_spawn_failures", "Starts that failed", ["reason"])
engine_calls = Histogram(
    "dockyard_engine_call_seconds", "Seconds that a call to the Docker engine took", ["method"], buckets=_SECONDS
)
engine_errors = Counter("dockyard_engine_errors", "Calls to the Docker engine that failed", ["method", "kind"])
watch_lag = Histogram(
    "dockyard_watch_lag_seconds", "Seconds from an event on the engine until it is heard", buckets=_SECONDS
)
out_of_memory = Counter("dockyard_out_of_memory", "Processes of servers that were killed for memory")
servers = Gauge("dockyard_servers", "Containers of servers", ["instance", "state"])

for _phase in PHASES:
    spawn_phase.labels(_phase)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Observe how long what is inside took, where it ends well."""
    began = time.monotonic()
    yield
    spawn_phase.labels(name).observe(time.monotonic() - began)


@contextmanager
def call(method: str, kind: Callable[[Exception], str]) -> Iterator[None]:
    """Observe a call of the engine, and where it fails, its kind."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        engine_errors.labels(method, kind(error)).inc()
        raise
    finally:
        engine_calls.labels(method).observe(time.monotonic() - began)


def failed(error: BaseException) -> None:
    """A start failed; what the failure says is its reason."""
    reason = "cancelled" if isinstance(error, asyncio.CancelledError) else getattr(error, "reason", None)
    spawn_failures.labels(reason or "error").inc()


def heard(at: int) -> None:
    """Count an event; `at` is the engine's time in nanoseconds, 0 if unknown."""
    if not at:
        return
    watch_lag.observe(max(0.0, time.time() - at / 1e9))


class Counted(Protocol):
    """A source of the number of servers."""

    def running(self) -> int: ...

    def sleeping(self) -> int: ...


# By instance: several engines, or an engine and a swarm, may run servers of one instance.
_counted: dict[str, WeakSet[Counted]] = {}


def count_servers(instance: str, of: Counted) -> None:
    """Add a source of the gauge. It is read when the gauge is read, and drops out when it is garbage-collected."""
    if instance not in _counted:
        counted = _counted[instance] = WeakSet()
        servers.labels(instance, "running").set_function(lambda: sum(one.running() for one in list(counted)))
        servers.labels(instance, "sleeping").set_function(lambda: sum(one.sleeping() for one in list(counted)))
    _counted[instance].add(of)
