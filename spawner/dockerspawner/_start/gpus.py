"""GPUs: all, a number, or devices of a pool that are leased to one server at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from docker.types import DeviceRequest
from traitlets import Any as AnyTrait
from traitlets import List, Unicode

from dockerspawner._core import Core
from dockerspawner._errors.failures import failure, misconfigured
from dockerspawner._records.database import servers_on_record, session_of

ALL = "all"


class NoneFree(Exception):
    """The pool has not as many devices left as were asked for."""


class Pool:
    """Which device is leased to whom; a holder is whatever names a server for good."""

    def __init__(self) -> None:
        self.holders: dict[str, Hashable] = {}
        self.loaded = False

    def lease(self, holder: Hashable, count: int, devices: Sequence[str], wanted: Sequence[str] = ()) -> list[str]:
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

    def give_back(self, holder: Hashable) -> None:
        self.holders = {device: other for device, other in self.holders.items() if other != holder}


def device_request(gpus: str | int | Sequence[str]) -> DeviceRequest:
    """What the engine is asked for: "all", a number of its choice, or certain devices."""
    capabilities = [["gpu"]]
    if gpus == ALL:
        return DeviceRequest(count=-1, capabilities=capabilities)
    if isinstance(gpus, int):
        return DeviceRequest(count=gpus, capabilities=capabilities)
    return DeviceRequest(device_ids=list(gpus), capabilities=capabilities)


class GpuSettings(Core):
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


class Gpus:
    """The GPUs that one server has leased.

    A paused server keeps its devices, since it holds their memory: `is_paused` tells.
    """

    def __init__(self, server: GpuSettings, is_paused: Callable[[], bool]) -> None:
        self._server = server
        self._is_paused = is_paused
        # Leased to this server now; the last ones that were, which the next start prefers. Kept in the state.
        self._leased: list[str] = []
        self._last_leased: list[str] = []

    def load(self, state: Mapping[str, Any]) -> None:
        self._leased = state.get("gpus") or []
        self._last_leased = self._leased or state.get("last_gpus") or []

    def kept(self) -> dict[str, Any]:
        if self._leased:
            return {"gpus": self._leased}
        return {"last_gpus": self._last_leased} if self._last_leased else {}

    @property
    def holder(self) -> Hashable:
        # Not the user's name, which may change.
        return getattr(self._server.user, "id", self._server.user.name), self._server.name

    @property
    def pool(self) -> Pool:
        """The leases of this hub, as the states have them that it keeps."""
        pool: Pool = self._server.engine.shared(Pool, self._server.instance, Pool)
        if not pool.loaded:
            pool.loaded = True
            for holder, state in servers_on_record(session_of(self._server)):
                pool.holders |= dict.fromkeys(state.get("gpus") or (), holder)
        return pool

    async def requests(self) -> list[DeviceRequest]:
        """What the container is to have; leases what it takes of the pool."""
        gpus = _valid(await self._server._evaluated("gpus"))
        if not (gpus and self._server.gpu_pool and isinstance(gpus, int)):
            self.give_back()
            return [device_request(gpus)] if gpus else []
        try:
            self.lease(gpus, self._server.gpu_pool)
        except NoneFree:
            raise failure(
                f"There is no GPU free: of {len(self._server.gpu_pool)} in the pool, {gpus} are needed. "
                "Please try again when another server has stopped.",
                reason="gpus",
                status=503,
            ) from None
        return [device_request(self._leased)]

    def lease(self, count: int, devices: Sequence[str]) -> None:
        self._leased = self.pool.lease(self.holder, count, devices, self._last_leased)
        self._last_leased = self._leased or self._last_leased

    def check_devices(self, container: Mapping[str, Any]) -> None:
        """Lease the devices of the pool that a kept container was made with; a failure where others have them."""
        if not self._server.gpu_pool:
            return
        requests = container["HostConfig"].get("DeviceRequests") or ()
        made_with = {device for request in requests for device in request.get("DeviceIDs") or ()}
        devices = [device for device in self._server.gpu_pool if device in made_with]
        try:
            self.lease(len(devices), devices)
        except NoneFree:
            holders = self.pool.holders
            others = [device for device in devices if holders.get(device, self.holder) != self.holder]
            message = f"The server's kept container is bound to GPUs that are in use: {', '.join(others)}."
            raise failure(message, reason="gpus", status=503) from None

    def give_back(self) -> None:
        """Give the leased devices back to the pool, unless the server is paused."""
        if self._leased and not self._is_paused():
            self.pool.give_back(self.holder)
            self._leased = []


def _valid(value: Any) -> Any:
    is_ids = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or value == ALL or is_number or is_ids:
        return value
    raise misconfigured(f"The setting gpus is {value!r}: it must be 'all', a number, or a list of device ids.")
