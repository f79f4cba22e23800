"""Users of a kit who are at work while something breaks."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import requests

from support.counting import Counter, Counters
from support.kit import Kit
from support.user import User
from support.wait import wait_until


class AtWork:
    """Users with a server, and with a kernel that counts while the context lasts. `admin` sees all."""

    def __init__(self, kit: Kit, names: Iterable[str]) -> None:
        self.kit = kit
        self.names = set(names)
        self.admin = kit.user("admin").sign_in()
        self.users = [kit.user(name) for name in sorted(self.names)]
        with ThreadPoolExecutor(6) as pool:
            self.counters = Counters(pool.map(lambda user: Counter(user.sign_in().started()), self.users))

    def __enter__(self) -> AtWork:
        self.counters.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.counters.__exit__()

    def known(self) -> set[str]:
        """Whose server the hub has on record as ready; empty while it does not answer."""
        with suppress(requests.ConnectionError):
            answer = self.admin.api("GET", "/users", params={"state": "ready", "limit": "200"})
            if answer.ok:
                return {user["name"] for user in answer.json()}
        return set()

    def served(self) -> set[str]:
        """Who gets an answer of the own server by the proxy."""

        def is_served(user: User) -> bool:
            with suppress(requests.ConnectionError):
                return user.server("GET", "/api/status").ok
            return False

        with ThreadPoolExecutor(6) as pool:
            served = pool.map(is_served, self.users)
        return {user.name for user, answered in zip(self.users, served, strict=True) if answered}

    def goes_on(self) -> None:
        """The hub knows them, and each has counted on from now, without a gap, on the socket that it had."""
        wait_until(lambda: self.known() >= self.names, timeout=60, what="the hub knows all")
        self.counters.go_on()
