"""Effective settings: what a start has in place of configured settings, until they are restored."""

from __future__ import annotations

import copy
from typing import Any

from traitlets import HasTraits, TraitError

from dockerspawner._core import Core

# Names and labels: all spawners of the hub use them to identify owners.
IDENTITY = ("instance", "prefix", "name_template", "escape")

# Defaults may follow from other defaults, in chains of at most this length.
_LONGEST_CHAIN = 5


def validated(cls: type[HasTraits], name: str, value: Any) -> Any:
    """What the setting `name` of a `cls` makes of `value`; TraitError if the setting rejects it.

    No spawner changes: the value is set on a blank object, whose observers are off.
    """
    probe = cls.__new__(cls)
    probe.unobserve_all()
    probe.set_trait(name, value)
    return getattr(probe, name)


def check(cls: type[HasTraits], name: str, value: Any) -> None:
    """Raise TraitError if the setting `name` of a `cls` rejects `value`."""
    try:
        validated(cls, name, value)
    except TraitError:
        raise
    except Exception:
        # A subclass's validator may need the user, which a blank object lacks. It runs again when the value is set.
        return


class EffectiveSettings:
    """The settings of one server that a profile, a choice or a callable replaces, from begin() until restore().

    - Read as attributes, all settings have their effective values: hooks and subclasses see those.
    - Defaults that depend on replaced settings follow them, and follow back.
    - restore() gives each setting the value that it had when begin() was called.
    """

    def __init__(self, server: Core) -> None:
        self._server = server
        # The effective values, by name.
        self.values: dict[str, Any] = {}
        # What was set when the first setting was replaced; None while nothing is replaced.
        self._configured: dict[str, Any] | None = None
        # Defaults as they were read: nobody has set these settings, unless they have other values by now.
        self._defaults: dict[str, Any] = {}

    def note_default(self, name: str) -> None:
        """A setting that was not set was read, so that it has its default from now on."""
        self._defaults[name] = copy.copy(getattr(self._server, name))

    def note_change(self, name: str) -> None:
        """A setting was set: it no longer has its default."""
        self._defaults.pop(name, None)

    def begin(self) -> None:
        """Keep what is set, unless begin() was called before."""
        for name in IDENTITY:
            # Its default may depend on an overridden setting, such as hub_connect_url, but must not change.
            getattr(self._server, name)
        if self._configured is None:
            self._forget_changed_defaults()
            self._configured = {
                name: getattr(self._server, name)
                for name in self._server.traits(config=True)
                if self._server.trait_has_value(name) and name not in self._defaults
            }

    def set(self, name: str, value: Any) -> None:
        """Replace one setting; TraitError if it rejects the value."""
        self.begin()
        self._server.set_trait(name, value)
        # Also if it equals the default, which is no change.
        self.note_change(name)
        self.values[name] = getattr(self._server, name)
        self.follow()

    def restore(self) -> None:
        """Give each setting its configured value, or its default."""
        configured, self._configured = self._configured, None
        self.values = {}
        if configured is None:
            return
        # Validators see the settings only after all are restored.
        with self._server.hold_trait_notifications():
            for name, value in configured.items():
                if getattr(self._server, name) is not value:
                    self._server.set_trait(name, value)
        for name in self._server.traits(config=True):
            if name not in configured and name not in IDENTITY and self._server.trait_has_value(name):
                self.note_default(name)
        self.follow()

    def follow_if_replaced(self) -> None:
        """Follow what hooks have set, while settings are replaced."""
        if self._configured is not None:
            self.follow()

    def follow(self) -> None:
        """Compute the defaults again that nobody has changed since they were read."""
        self._forget_changed_defaults()
        for _ in range(_LONGEST_CHAIN):
            renewed = [self._renew(name) for name in list(self._defaults) if name not in IDENTITY]
            if not any(renewed):
                return

    def _renew(self, name: str) -> bool:
        """Set one default as it is now; return whether it has changed."""
        try:
            default = self._server.trait_defaults(name)
            if default == self._defaults[name]:
                return False
            self._server.set_trait(name, default)
        except Exception:
            self._server.log.exception("The default of %s could not be computed: the setting does not change", name)
            return False
        self.note_default(name)
        return True

    def _forget_changed_defaults(self) -> None:
        # Changed in place, such as by a hook that appends to a list.
        for name, default in list(self._defaults.items()):
            if getattr(self._server, name) != default:
                del self._defaults[name]
