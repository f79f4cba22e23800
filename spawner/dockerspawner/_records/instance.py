"""The hub that a server belongs to: the default of `instance`, and the owners in labels of earlier starts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from traitlets import Unicode

from dockerspawner._core import Core
from dockerspawner._records.ownership import Owner

# Maximum number of owners in a state: the first, whose labels are on volumes, and the latest.
_MOST_OWNERS = 16


def default_instance(prefix: str, cookie_secret: bytes | None) -> str:
    """Derive the `instance` of a hub from its cookie secret, which differs between hubs and survives restarts.

    Without a hub, it is the prefix.
    """
    if not cookie_secret:
        return prefix
    return f"{prefix}-{hmac.new(cookie_secret, b'dockyard.instance', 'sha256').hexdigest()[:12]}"


def address_instance(prefix: str, hub_url: str) -> str:
    """Compute the former default of `instance`, which depended on the hub's address."""
    return f"{prefix}-{hashlib.sha256(hub_url.encode()).hexdigest()[:8]}"


class Instance(Core):
    """The owner in ownership labels, and former owners from before a change of `instance` or of a name."""

    instance = Unicode(
        config=True,
        help="""Name of this hub in the labels of its containers, volumes and networks. Two hubs on one engine need
        different names. Default: the prefix and a hash of the hub's cookie secret. If the cookie secret does not
        survive a new hub container, set a name here.""",
    )

    # The configured value: an operator's code may change `prefix` later. None if a subclass replaces the setting.
    _configured_prefix: str | None = None
    # The owners at this server's starts, oldest first. Saved in the state.
    _owners_on_record: tuple[Owner, ...] = ()
    # Did the loaded state have owners? States of older versions do not.
    _knows_owners = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.has_trait("prefix"):
            self._configured_prefix = self.prefix

    @property
    def _prefix_of_instance(self) -> str:
        return str(self.prefix if self._configured_prefix is None else self._configured_prefix)

    def _instance_default(self) -> str:
        settings = getattr(self.user, "settings", None) or {}
        return default_instance(self._prefix_of_instance, settings.get("cookie_secret"))

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._owners_on_record = owners_of(state)
        self._knows_owners = "owners" in state

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        # They identify the owner of containers and volumes, and are saved while one of these exists. A single container
        # with current names is identified by id and labels: its state is the same as in dockerspawner 14.
        several = self._owners_on_record not in ((), (self._owner,))
        if (several and self.object_id) or (self._owners_on_record and self._history.names):
            state["owners"] = [[owner.instance, owner.user, owner.server] for owner in self._owners_on_record]
        return state

    def _record_owner(self, owner: Owner) -> None:
        """Add an owner to the state; the last one is the current owner."""
        others = [other for other in self._owners_on_record if other != owner]
        self._owners_on_record = (*others[:1], *others[1:][2 - _MOST_OWNERS :], owner)

    @property
    def _owner(self) -> Owner:
        return Owner(self.instance, self.user.name, self.name)

    @property
    def _instances(self) -> tuple[str, ...]:
        """Return `instance`, and its former values from earlier starts of this server."""
        recorded = [owner.instance for owner in self._owners_on_record]
        if self.instance == self.prefix or self.instance != self._instance_default():
            # It is configured. The former default was another one.
            return tuple(dict.fromkeys([self.instance, *recorded]))
        api_url: str = getattr(self.hub, "api_url", "")
        former = address_instance(self._prefix_of_instance, self.hub_connect_url or api_url)
        return tuple(dict.fromkeys([self.instance, former, *recorded]))

    @property
    def _owners(self) -> tuple[Owner, ...]:
        """Return the owners whose labels identify this server's containers, with current names."""
        return tuple(Owner(instance, self.user.name, self.name) for instance in self._instances)

    @property
    def _former_users(self) -> set[str]:
        """Return the user's names at earlier starts of this server; another user may have such a name now."""
        return {owner.user for owner in self._owners_on_record} - {self.user.name}

    @property
    def _is_renamed(self) -> bool:
        """Did the user or the server have another name at the last start?"""
        last = self._owners_on_record[-1] if self._owners_on_record else self._owner
        return (last.user, last.server) != (self.user.name, self.name)


def owners_of(state: Mapping[str, Any]) -> tuple[Owner, ...]:
    """Read the owners at a server's starts from its state, oldest first."""
    entries = state.get("owners")
    whole = [entry for entry in entries if isinstance(entry, list)] if isinstance(entries, list) else []
    return tuple(Owner(*map(str, entry)) for entry in whole if len(entry) == 3)
