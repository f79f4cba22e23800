"""Which hub a server belongs to: the default of `instance`, and the owners that earlier starts wrote into labels."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from traitlets import Unicode
from traitlets.config import LoggingConfigurable

from dockerspawner.ownership import Owner

# Owners that a state keeps: the first, whose labels volumes carry, and the latest.
_MOST_OWNERS = 16


def default_instance(prefix: str, cookie_secret: bytes | None) -> str:
    """The `instance` of a hub: derived from its cookie secret, which differs between hubs and outlives restarts.

    Without a hub the prefix alone.
    """
    if not cookie_secret:
        return prefix
    return f"{prefix}-{hmac.new(cookie_secret, b'dockyard.instance', 'sha256').hexdigest()[:12]}"


def address_instance(prefix: str, hub_url: str) -> str:
    """The former default of `instance`, which depended on the hub's address."""
    return f"{prefix}-{hashlib.sha256(hub_url.encode()).hexdigest()[:8]}"


class Instance(LoggingConfigurable):
    """The owner that labels name, and the owners that they named before `instance` or a name changed."""

    instance = Unicode(
        config=True,
        help="""Name of this hub in the labels of its containers, volumes and networks. Two hubs on one engine need
        different names. Default: the prefix and a hash of the hub's cookie secret. If the cookie secret does not
        survive a new hub container, set a name here.""",
    )

    # The owners of this server's starts, oldest first. Kept in the state.
    _owners_on_record: tuple[Owner, ...] = ()

    def _instance_default(self) -> str:
        settings = getattr(self.user, "settings", None) or {}
        return default_instance(self.prefix, settings.get("cookie_secret"))

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._owners_on_record = owners_of(state)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        # They tell whose a container or a volume is, and go with the last of these. A container alone that was made for
        # the names of today is known by its id and its labels: its state stays that of dockerspawner 14.
        several = self._owners_on_record not in ((), (self._owner,))
        if (several and self.object_id) or (self._owners_on_record and self._used_volumes):
            state["owners"] = [[owner.instance, owner.user, owner.server] for owner in self._owners_on_record]
        return state

    def _record_owner(self, owner: Owner) -> None:
        """Keep an owner in the state; the last one recorded is the current one."""
        others = [other for other in self._owners_on_record if other != owner]
        self._owners_on_record = (*others[:1], *others[1:][2 - _MOST_OWNERS :], owner)

    @property
    def _owner(self) -> Owner:
        return Owner(self.instance, self.user.name, self.name)

    @property
    def _instances(self) -> tuple[str, ...]:
        """`instance`, and the values that it had when earlier containers and volumes of this server were made."""
        former = address_instance(self.prefix, self.hub_connect_url or getattr(self.hub, "api_url", ""))
        return tuple(dict.fromkeys([self.instance, former, *(owner.instance for owner in self._owners_on_record)]))

    @property
    def _owners(self) -> tuple[Owner, ...]:
        """The owners whose labels make a container this server's: the names are those of today."""
        return tuple(Owner(instance, self.user.name, self.name) for instance in self._instances)

    @property
    def _former_users(self) -> set[str]:
        """The names that the user had at earlier starts of this server: another user may have them by now."""
        return {owner.user for owner in self._owners_on_record} - {self.user.name}

    @property
    def _is_renamed(self) -> bool:
        """Did the user, or the server, have another name at the last start?"""
        last = self._owners_on_record[-1] if self._owners_on_record else self._owner
        return (last.user, last.server) != (self.user.name, self.name)


def owners_of(state: Mapping[str, Any]) -> tuple[Owner, ...]:
    """The owners of a server's starts, as its state has them, oldest first."""
    entries = state.get("owners")
    whole = [entry for entry in entries if isinstance(entry, list)] if isinstance(entries, list) else []
    return tuple(Owner(*map(str, entry)) for entry in whole if len(entry) == 3)
