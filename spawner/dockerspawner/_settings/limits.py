"""Limits that may be callables, evaluated anew at each start."""

from __future__ import annotations

import inspect
from typing import Any

from jupyterhub.traitlets import ByteSpecification
from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.utils import maybe_future
from traitlets import Bool, Float, HasTraits, TraitError, TraitType, Union

from dockerspawner._core import Core
from dockerspawner._errors.failures import misconfigured
from dockerspawner._settings.operator_code import operator_code

NAMES = ("mem_limit", "cpu_limit", "mem_guarantee", "cpu_guarantee", "tmp_size")


class Limit(Union):
    """A number, or a callable(spawner) that gives one; None is no limit.

    Reading it gives the number: while a server starts, the one that was evaluated at the beginning.
    """

    def __init__(self, number: TraitType[Any, Any], help: str) -> None:
        super().__init__([CallableTrait(), number], allow_none=True, default_value=None, config=True, help=help)

    def get(self, obj: HasTraits, cls: Any = None) -> Any:
        spawner: Any = obj
        pinned: dict[str, Any] = spawner._pinned
        if self.name in pinned:
            return pinned[self.name]
        value = super().get(obj, cls)
        # Under the lock, traitlets sets what it gets.
        if not callable(value) or inspect.iscoroutinefunction(value) or obj._cross_validation_lock:
            return value
        return self.number(obj, value(obj))

    async def evaluate(self, obj: HasTraits) -> Any:
        """The number that counts now; TraitError where it is none."""
        value = super().get(obj)
        return self.number(obj, await maybe_future(value(obj)) if callable(value) else value)

    def number(self, obj: HasTraits, value: Any) -> Any:
        if callable(value) or isinstance(value, bool):
            self.error(obj, value)
        return None if value is None else self._validate(obj, value)


class Limits(Core):
    """How much a server may use."""

    mem_limit = Limit(
        ByteSpecification(),
        """Memory limit: bytes, a number with suffix K, M, G or T, or a callable(spawner) or coroutine function
        that gives one and is called at each start.""",
    )

    swap = Bool(
        True,
        config=True,
        help="""False: a server with a mem_limit has no swap, whatever a profile makes of that limit. Sets
        memswap_limit to the limit, unless extra_host_config has another. Services know no such limit: swap is the
        nodes' own matter.""",
    )

    cpu_limit = Limit(
        Float(),
        """Processors that the server may use, or a callable(spawner) or coroutine function that gives their
        number and is called at each start. Sets cpu_quota over a cpu_period of 100 ms, unless
        extra_host_config has another period.""",
    )

    mem_guarantee = Limit(
        ByteSpecification(),
        """Memory that the server keeps when memory runs short, as mem_limit is given: the kernel takes from others
        first. Sets mem_reservation. No more than mem_limit, whatever is said.""",
    )

    cpu_guarantee = Limit(
        Float(),
        """Processors that the server gets where all are wanted, as cpu_limit is given. Sets cpu_shares, 1024 for
        each.""",
    )

    tmp_size = Limit(
        ByteSpecification(),
        """Size of a tmpfs at /tmp, as mem_limit is given. Default: /tmp is on the engine's disk, without a limit.
        Files in the tmpfs count as memory of the server, so it has at most half of mem_limit. A volume or mount at
        /tmp replaces the tmpfs. Programs in the tmpfs can be executed. Services have no such tmpfs.""",
    )

    def __init__(self, **kwargs: Any) -> None:
        # What the limits are for the start under way.
        self._pinned: dict[str, Any] = {}
        super().__init__(**kwargs)

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        # The hub reads what a subclass has in place of the setting, which may be no number.
        mine = {name: self._pinned.get(name) for name in NAMES if not isinstance(getattr(type(self), name), Limit)}
        return env | {name.upper(): str(number) for name, number in mine.items() if number}

    def _limit(self, name: str) -> Any:
        """The number of a limit, also where a subclass has a property or a plain value in place of the setting."""
        return self._pinned[name] if name in self._pinned else getattr(self, name)

    async def _evaluated_limit(self, name: str) -> Any:
        setting = getattr(type(self), name)
        if isinstance(setting, Limit):
            return await setting.evaluate(self)
        value = getattr(self, name)
        if inspect.ismethod(value):
            value = await maybe_future(value())
        elif callable(value):
            value = await maybe_future(value(self))
        trait: Limit = vars(Limits)[name]
        return trait.number(self, value)

    async def _pin_limits(self) -> None:
        """Evaluate the limits; they stay as they are until `_pinned` is cleared."""
        for name in NAMES:
            try:
                with operator_code(f"the setting {name}", self.log):
                    self._pinned[name] = await self._evaluated_limit(name)
            except TraitError as error:
                raise misconfigured(f"Wrong value for the setting {name}: {str(error).rstrip('.')}.") from error
        limit, guarantee = self._pinned["mem_limit"], self._pinned["mem_guarantee"]
        if limit and guarantee and guarantee > limit:
            # As where a profile's limit is smaller than all others'. The engine would refuse it.
            self._pinned["mem_guarantee"] = limit
        if limit and (size := self._pinned["tmp_size"]):
            # Files in /tmp could use up the limit: the kernel would kill the server's processes until they are deleted.
            self._pinned["tmp_size"] = min(size, limit // 2)
