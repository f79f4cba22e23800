"""GPUs: all, a number, or devices of a pool that are leased to one server at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from docker.types import DeviceRequest
from jupyterhub.utils import maybe_future
from traitlets import Any as AnyTrait
from traitlets import List, Unicode
from traitlets.config import LoggingConfigurable

from dockerspawner.failures import failure
from dockerspawner.records import states_on_record

ALL = "all"


class NoneFree(Exception):
    """The pool has not as many devices left as were asked for."""


class Pool:
    """Which device is leased to whom; a holder is whatever names a server for good."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.loaded = False

    def lease(self, holder: str, count: int, devices: Sequence[str], wanted: Sequence[str] = ()) -> list[str]:
        """Lease `count` of `devices` to `holder`, the `wanted` ones before others, and give back all else that it has.

        NoneFree where there are not as many; nothing has changed then.
        """
        free = [device for device in devices if self.holders.get(device, holder) == holder]
        if len(free) < count:
            raise NoneFree
        first = [device for device in free if device in wanted]
        leased = [*first, *(device for device in free if device not in first)][:count]
        self.give_back(holder)
        self.holders |= dict.fromkeys(leased, holder)
        return leased

    def give_back(self, holder: str) -> None:
        self.holders = {device: other for device, other in self.holders.items() if other != holder}


def device_request(gpus: str | int | Sequence[str]) -> DeviceRequest:
    """What the engine is asked for: "all", a number of its choice, or certain devices."""
    capabilities = [["gpu"]]
    if gpus == ALL:
        return DeviceRequest(count=-1, capabilities=capabilities)
    if isinstance(gpus, int):
        return DeviceRequest(count=gpus, capabilities=capabilities)
    return DeviceRequest(device_ids=list(gpus), capabilities=capabilities)


class Gpus(LoggingConfigurable):
    """Which GPUs a server has."""

    gpus = AnyTrait(
        None,
        allow_none=True,
        config=True,
        help="""GPUs of each server: "all"; a number, of `gpu_pool` where that is set and else of the engine's
        choice; a list of device ids; or a callable(spawner) or coroutine function that gives one of these and is
        called at each start. None or 0: none.""",
    )

    gpu_pool = List(
        Unicode(),
        config=True,
        help="""Ids of devices of which each is leased to one server at a time: indices, UUIDs, MIG ids, as
        `nvidia-smi -L` lists them. A server keeps its devices while it sleeps.""",
    )

    # Leased to this server, or the last ones that were: kept in the state, and wanted again.
    _leased: list[str] = []
    _paused_at = 0.0

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._leased = state.get("gpus") or []

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {"gpus": self._leased} if self._leased else state

    @property
    def _pool(self) -> Pool:
        """The leases of this hub, as the states have them that it keeps."""
        pool: Pool = self.engine.leases.setdefault(self.instance, Pool())
        if not pool.loaded:
            pool.loaded = True
            for state in states_on_record(self):
                pool.holders |= dict.fromkeys(state.get("gpus") or (), state.get("object_name", ""))
        return pool

    async def _gpu_requests(self) -> list[DeviceRequest]:
        """What the container is to have; leases what it takes of the pool."""
        value = await maybe_future(self.gpus(self)) if callable(self.gpus) else self.gpus
        gpus = _valid(value)
        if not gpus:
            return []
        if self.gpu_pool and isinstance(gpus, int):
            try:
                gpus = self._leased = self._pool.lease(self.object_name, gpus, self.gpu_pool, self._leased)
            except NoneFree:
                raise failure(
                    f"There is no GPU free: of {len(self.gpu_pool)} in the pool, {gpus} are needed. "
                    "Please try again when another server has stopped.",
                    reason="gpus",
                    status=503,
                ) from None
        return [device_request(gpus)]

    def _check_devices(self, container: Mapping[str, Any]) -> None:
        """A failure where a kept container was made with devices of the pool that are not this server's now."""
        requests = container["HostConfig"].get("DeviceRequests") or ()
        devices = {device for request in requests for device in request.get("DeviceIDs") or ()}
        if others := sorted(devices & set(self.gpu_pool) - set(self._leased)):
            message = f"The server's kept container is bound to GPUs that are in use: {', '.join(others)}."
            raise failure(message, reason="gpus", status=503)

    def _give_gpus_back(self) -> None:
        """Others may have them; not while the server sleeps, since it holds their memory."""
        if self._leased and not self._paused_at:
            self._pool.give_back(self.object_name)


def _valid(value: Any) -> Any:
    is_ids = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or value == ALL or is_number or is_ids:
        return value
    raise failure(
        f"The setting gpus is {value!r}: it takes 'all', a number, or a list of device ids.", reason="settings"
    )
