"""Settings that a start replaces for its server alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import TraitError
from traitlets.config import LoggingConfigurable

from dockerspawner.deprecations import RENAMED
from dockerspawner.profilechoice import merged
from dockerspawner.profilelist import suggestion


class Overrides(LoggingConfigurable):
    """Until clear_state(), some settings are other than they are configured.

    - A mapping is merged into a configured mapping; in it, None takes an entry away.
    - A callable(spawner), or coroutine function, gives the value, unless the setting takes a callable itself.
    - A text becomes what the setting takes, as on a command line: "2" a number.
    - Afterwards each setting is what it was, and what follows from others follows from them again.
    """

    # As they are configured; None while nothing is overridden.
    _configured: dict[str, Any] | None = None

    def clear_state(self) -> None:
        super().clear_state()
        self._end_overrides()

    def _begin_overrides(self) -> None:
        if self._configured is None:
            settings = self.traits(config=True)
            self._configured = {name: value for name, value in self._trait_values.items() if name in settings}

    def _end_overrides(self) -> None:
        configured, self._configured = self._configured, None
        if configured is None:
            return
        # Past the observers: a container that is kept keeps the name that the override gave it.
        for name in self.traits(config=True):
            if name in configured:
                self._trait_values[name] = configured[name]
            else:
                self._trait_values.pop(name, None)

    async def _override(self, name: str, value: Any) -> None:
        """Set one setting; TraitError where it can't have that value."""
        self._begin_overrides()
        if callable(value) and not self._takes(name, value):
            value = await maybe_future(value(self))
        if isinstance(value, Mapping):
            below = getattr(self, name)
            value = merged(below if isinstance(below, Mapping) else {}, value)
        self.set_trait(name, self._fitting(name, value))

    def _fitting(self, name: str, value: Any) -> Any:
        trait = getattr(type(self), name)
        try:
            return trait._validate(self, value)
        except TraitError as error:
            if not isinstance(value, str):
                raise
            try:
                return trait._validate(self, trait.from_string(value))
            except (TraitError, ValueError):
                raise error from None

    def _takes(self, name: str, value: Any) -> bool:
        try:
            self._fitting(name, value)
        except TraitError:
            return False
        return True

    def _complaint(self, name: str, value: Any) -> str:
        """What is wrong with overriding a setting, by a value that is known unless it is None."""
        if name in RENAMED:
            return f"is called {RENAMED[name][0]} now"
        if not self.has_trait(name):
            return f"is no setting of {type(self).__name__}{suggestion(name, self.traits(config=True))}"
        if value is None or callable(value):
            return ""
        try:
            self._fitting(name, merged({}, value) if isinstance(value, Mapping) else value)
        except TraitError as error:
            return str(error)
        return ""
