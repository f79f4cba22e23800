"""Who a process in a container is: uids and gids, by the files that an image has for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Maximum number of digits of a uid.
_LONGEST_ID = 10
ROOT_NAMES = ("", "0", "root")

# The highest uid or gid that the engine takes.
_HIGHEST = 2**31 - 1
_DECIMAL = re.compile(r"[1-9][0-9]{0,9}")


def account_number(value: Any) -> int | None:
    """Convert an integer or decimal text to the uid or gid of an ordinary account.

    Returns None for any other value, including root's 0.
    """
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value <= _HIGHEST else None


class Account(NamedTuple):
    """A line of passwd(5), as far as it matters here."""

    uid: int
    gid: int
    home: str


class Identity(NamedTuple):
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


def account_in(passwd: str, name: str) -> Account | None:
    """The account of `name` in a text of the form of /etc/passwd; None where it has none that is whole."""
    return next((account for found, account in _accounts(passwd) if found == name), None)


def home_in(passwd: str, user: str) -> str:
    """Find the home of a user, given by name or uid, in a text like /etc/passwd; empty if the text lacks the user."""
    homes = (account.home for name, account in _accounts(passwd) if user in (name, str(account.uid)))
    return next(homes, "")


def _accounts(passwd: str) -> Iterator[tuple[str, Account]]:
    for line in passwd.splitlines():
        match line.split(":"):
            case [name, _, uid, gid, _, home, *_] if _is_id(uid) and _is_id(gid):
                yield name, Account(int(uid), int(gid), home)


def groups_in(group: str, name: str) -> list[int]:
    """Find the gids of the groups with the member `name` in a text like /etc/group, except root's group."""
    found = set()
    for line in group.splitlines():
        match line.split(":"):
            case [_, _, gid, members, *_] if _is_id(gid) and name in members.strip().split(","):
                found.add(int(gid))
    return sorted(found - {0})


def _is_id(text: str) -> bool:
    # A container's user controls the text. A long number makes int() slow, or makes it fail.
    return text.isdecimal() and len(text) <= _LONGEST_ID


def identity(user: str, passwd: str = "", group: str = "") -> Identity | None:
    """What the engine makes of a container's `user`, by the /etc/passwd and /etc/group of its image.

    None where they don't have it.
    """
    name, _, group_name = user.partition(":")
    if _is_id(name) or not name:
        uid = int(name or 0)
        gid = next((account.gid for _, account in _accounts(passwd) if account.uid == uid), 0)
    elif account := account_in(passwd, name):
        uid, gid = account.uid, account.gid
    elif name == "root":
        uid, gid = 0, 0
    else:
        return None
    if not group_name:
        return Identity(uid, gid)
    if _is_id(group_name):
        return Identity(uid, int(group_name))
    for line in group.splitlines():
        match line.split(":"):
            case [found, _, number, *_] if found == group_name and _is_id(number):
                return Identity(uid, int(number))
    return None


def notebook_user(environment: Mapping[str, str]) -> Identity | None:
    """Who a server becomes that is started as root, in images that follow Jupyter's: NB_UID and NB_GID."""
    uid, gid = environment.get("NB_UID", ""), environment.get("NB_GID", "")
    return Identity(int(uid), int(gid) if _is_id(gid) else 0) if _is_id(uid) else None
