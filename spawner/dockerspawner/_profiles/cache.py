"""A cache of profile lists: a hub has many spawners, but one list."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dockerspawner._profiles.choice import Profile, copied

# Maximum number of cached lists: one per spawner class, and the latest results of callables.
_KEPT = 64


class ProfileCache:
    """A cache of profiles, by spawner class and profile list.

    Lists are compared by value. The cache holds copies, because each spawner may change its own list.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[type, str], tuple[Any, tuple[Profile, ...]]] = OrderedDict()

    def profiles(self, cls: type, listed: Any, read: Callable[[Any], tuple[Profile, ...]]) -> tuple[Profile, ...]:
        """Return the cached profiles of `listed`, or read them with `read`. Exceptions are raised and not cached."""
        key = cls, repr(listed)
        if (known := self._known.get(key)) and _same(known[0], listed):
            self._known.move_to_end(key)
            return known[1]
        own = copied(listed)
        profiles = read(own)
        self._known[key] = own, profiles
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return profiles


def _same(one: Any, other: Any) -> bool:
    """Are both equal, including types? 1, 1.0 and True are different settings."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        # Including the order, which the form shows.
        return len(one) == len(other) and all(map(_same, one.items(), other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, partial):
        # Each spawner has a copy, which never compares equal.
        return _same((one.func, one.args, one.keywords), (other.func, other.args, other.keywords))
    return bool(one == other)
