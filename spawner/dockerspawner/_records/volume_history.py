"""The volumes that a server has used, as its state keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Limits of a state: names in addition to those of each profile's last start, and profiles.
_MOST_EARLIER = 200
_MOST_PROFILES = 50

Names = Mapping[str, str]


@dataclass(frozen=True)
class VolumeHistory:
    """Volumes by target, of the last start and of the last start with each other profile, and earlier names.

    A part of a volume is `volume/subpath`; a volume's name has no slash.
    """

    last: Names = field(default_factory=dict)
    profile: str = ""
    by_profile: Mapping[str, Names] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> VolumeHistory:
        """Read the history in a state; a state of an older version has only the last start, or nothing."""
        by_profile = _as_mapping(state.get("volumes_by_profile"))
        earlier = state.get("earlier_volumes")
        return cls(
            last=_names(state.get("volumes")),
            profile=str(state.get("volumes_profile") or ""),
            by_profile={str(slug): _names(used) for slug, used in by_profile.items()},
            earlier=tuple(map(str, earlier)) if isinstance(earlier, list) else (),
        )

    def as_state(self) -> dict[str, Any]:
        """Return the keys for the state; none for a server that has never used a volume."""
        state: dict[str, Any] = {}
        if self.last:
            state["volumes"] = dict(self.last)
        if self.profile and self.last:
            state["volumes_profile"] = self.profile
        if self.by_profile:
            state["volumes_by_profile"] = {slug: dict(used) for slug, used in self.by_profile.items()}
        if self.earlier:
            state["earlier_volumes"] = list(self.earlier)
        return state

    def after(self, used: Names, profile: str) -> VolumeHistory:
        """Return the history after another start with `profile`."""
        others = {slug: names for slug, names in self.by_profile.items() if slug != profile}
        if self.last and self.profile != profile:
            others = {slug: names for slug, names in others.items() if slug != self.profile}
            others[self.profile] = self.last
        kept = dict(list(others.items())[-_MOST_PROFILES:])
        current = {*used.values(), *(name for names in kept.values() for name in names.values())}
        before = [*self.earlier, *(name for names in (*self.by_profile.values(), self.last) for name in names.values())]
        # The last use of a name counts.
        dropped = [name for name in dict.fromkeys(reversed(before)) if name not in current]
        return VolumeHistory(dict(used), profile, kept, tuple(reversed(dropped[:_MOST_EARLIER])))

    def at(self, target: str, profile: str) -> str:
        """Return what the last start with `profile` had at `target`; empty if that is unknown."""
        names = self.last if profile == self.profile else self.by_profile.get(profile, {})
        return names.get(target, "")

    @property
    def names(self) -> frozenset[str]:
        """All names on record, including parts of volumes."""
        listed = (self.last, *self.by_profile.values())
        return frozenset([*self.earlier, *(name for names in listed for name in names.values())])

    @property
    def volumes(self) -> frozenset[str]:
        """The names of all volumes on record."""
        return frozenset(map(volume_of, self.names))


def volume_of(name: str) -> str:
    """Return the volume of a name on record, which may be a part of a volume."""
    return name.partition("/")[0]


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _names(value: Any) -> dict[str, str]:
    return {str(target): str(name) for target, name in _as_mapping(value).items()}
