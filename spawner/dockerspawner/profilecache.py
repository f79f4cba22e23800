"""Lists of profiles that were read before: a hub has many spawners, and one list."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dockerspawner.profilechoice import Profile, copied

# Lists that are kept: of each class of spawners one, and of callables those that they gave last.
_KEPT = 64


class ProfileCache:
    """Profiles by the class of spawners and the list that they were read from.

    Lists are compared by value, and what is kept is a copy: each spawner has a list of its own, and may change it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[type, str], tuple[Any, tuple[Profile, ...]]] = OrderedDict()

    def profiles(self, cls: type, listed: Any, read: Callable[[Any], tuple[Profile, ...]]) -> tuple[Profile, ...]:
        """What `read` makes of `listed`, or has made of an equal list. What it raises is raised, and not kept."""
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
    """Are they equal, of the same types? 1, 1.0 and True are not the same setting."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        # In the same order: it is the order of the form.
        return len(one) == len(other) and all(map(_same, one.items(), other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, partial):
        # Each spawner has a copy, which is never equal.
        return _same((one.func, one.args, one.keywords), (other.func, other.args, other.keywords))
    return bool(one == other)
