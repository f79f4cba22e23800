"""Limits that may be callables, evaluated anew at each start."""

from __future__ import annotations

import inspect
from typing import Any

from jupyterhub.traitlets import ByteSpecification
from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.utils import maybe_future
from traitlets import Bool, Float, TraitError, TraitType, Union

from dockerspawner._core import Core
from dockerspawner._errors.failures import misconfigured
from dockerspawner._settings.effective import validated
from dockerspawner._settings.operator_code import operator_code

NAMES = ("mem_limit", "cpu_limit", "mem_guarantee", "cpu_guarantee", "tmp_size")


class Limit(Union):
    """A number, or a callable(spawner) that gives one; None is no limit.

    During a start, and until clear_state(), the setting is the number that the callable gave.
    """

    def __init__(self, number: TraitType[Any, Any], help: str) -> None:
        super().__init__([CallableTrait(), number], allow_none=True, default_value=None, config=True, help=help)


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

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        for name in NAMES:
            # The hub reads the setting, which before a start may be a callable, and may be anything in a subclass.
            value, key = getattr(self, name), name.upper()
            if name not in self._attempt.settings and callable(value) and env.get(key) == str(value):
                del env[key]
            if not isinstance(getattr(type(self), name), Limit) and (number := self._attempt.settings.get(name)):
                env[key] = str(number)
        return env

    def _limit(self, name: str) -> Any:
        """The number of a limit, also where a subclass has a property or a plain value in place of the setting."""
        effective = self._attempt.settings
        return effective[name] if name in effective else getattr(self, name)

    async def _evaluated_limit(self, name: str) -> Any:
        """The number that counts now; TraitError where it is none."""
        value = getattr(self, name)
        if inspect.ismethod(value) and not isinstance(getattr(type(self), name), Limit):
            # A method in a subclass.
            value = await maybe_future(value())
        elif callable(value):
            value = await maybe_future(value(self))
        setting: Limit = vars(Limits)[name]
        if callable(value) or isinstance(value, bool):
            setting.error(self, value)
        try:
            return validated(Limits, name, value)
        except TraitError:
            # Its message names the class of the spawner.
            setting.error(self, value)

    async def _pin_limits(self) -> None:
        """Evaluate the limits; they stay as they are until the settings are restored."""
        numbers: dict[str, Any] = {}
        for name in NAMES:
            try:
                with operator_code(f"the setting {name}", self.log):
                    numbers[name] = await self._evaluated_limit(name)
            except TraitError as error:
                raise misconfigured(f"Wrong value for the setting {name}: {str(error).rstrip('.')}.") from error
        limit, guarantee = numbers["mem_limit"], numbers["mem_guarantee"]
        if limit and guarantee and guarantee > limit:
            # As where a profile's limit is smaller than all others'. The engine would refuse it.
            numbers["mem_guarantee"] = limit
        if limit and (size := numbers["tmp_size"]):
            # Files in /tmp could use up the limit: the kernel would kill the server's processes until they are deleted.
            numbers["tmp_size"] = min(size, limit // 2)
        for name, number in numbers.items():
            if isinstance(getattr(type(self), name), Limit) and getattr(self, name) != number:
                self._effective.set(name, number)
        self._attempt.settings = {**self._effective.values, **numbers}
