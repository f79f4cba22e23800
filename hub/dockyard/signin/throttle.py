"""Limits of password guessing: an attempt waits for its turn before the hub checks the password.

- Account and address: after five wrong passwords, one check every ten seconds.
- Address: after a hundred wrong passwords for any accounts, one check every three seconds. All users have the same
  password, so an attacker can easily change the name. If an account has signed in from this address before, and has no
  wrong password to wait for, it does not wait for this limit.
- Account and browser: a browser that has signed in to an account before has five wrong passwords of its own. A signed
  cookie identifies it. So an attacker at the same address does not lock out the user. All such browsers at one address
  share another limit of an address: an attacker may have collected cookies.
- Account: after fifty wrong passwords from any addresses, each attempt takes up to five seconds longer. The hub never
  refuses it: otherwise an attacker could lock out the user.

Only wrong passwords count. If an attempt would wait longer than PATIENCE, the hub refuses it without a check. If
WAITING attempts already wait, which may be an attacker's, the hub also refuses an attempt that would wait. It never
refuses an attempt that need not wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.utils import maybe_future
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

# Maximum seconds that an attempt waits for its turn, and maximum number of attempts that wait at a time.
PATIENCE = 30.0
WAITING = 500
# Seconds by which an attempt takes longer if its account is guessed at from many addresses.
SLOWER = 5.0
# Maximum number of entries of each table. The least recently used entry is evicted first.
ENTRIES = 20_000
# The cookie of a browser that has signed in to an account, and its lifetime in days.
COOKIE = "dockyard-known-browser"
DAYS = 90
# Names with which the hub reaches the kit's proxy.
PROXY = ("proxy-api", "proxy")
_WITH_PORT = re.compile(r"\[([^]]*)\](?::\d+)?|([\d.]+):\d+", re.ASCII)


class Limit:
    """Each key has `burst` attempts at once, then one in `interval` seconds."""

    def __init__(self, burst: int, interval: float) -> None:
        self._interval = interval
        self._credit = (burst - 1) * interval
        # For each key, the time at which it has its whole burst again.
        self._paid: OrderedDict[Hashable, float] = OrderedDict()

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds until the key has its next attempt."""
        return max(0.0, self._paid.get(key, now) - self._credit - now)

    def is_clear(self, key: Hashable, now: float) -> bool:
        return self._paid.get(key, now) <= now

    def take(self, key: Hashable, now: float) -> None:
        paid = max(self._paid.pop(key, now), now) + self._interval
        self._paid[key] = min(paid, now + self._credit + self._interval + PATIENCE)
        if len(self._paid) > ENTRIES:
            self._paid.popitem(last=False)

    def give_back(self, key: Hashable) -> None:
        if key in self._paid:
            self._paid[key] -= self._interval

    def forget(self, key: Hashable) -> None:
        self._paid.pop(key, None)

    def __len__(self) -> int:
        return len(self._paid)


class Throttle:
    """The waiting times of attempts. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pairs = Limit(5, 10.0)
        self._addresses = Limit(100, 3.0)
        self._accounts = Limit(50, 5.0)
        self._lines = Limit(3, 10.0)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def admit(self, account: str, address: str, browser: str = "", is_full: bool = False) -> float:
        """Return the seconds that an attempt waits before its password is checked. Until then, it counts as wrong.

        If the result is above PATIENCE, the attempt is refused and does not count. `browser` is the id of a browser
        that has signed in to the account before. If `is_full`, no more attempts can wait.
        """
        now, pair, place = self._clock(), (account, browser or address), (address, bool(browser))
        wait = self._pairs.wait(pair, now)
        if browser or not (pair in self._known and self._pairs.is_clear(pair, now)):
            wait = max(wait, self._addresses.wait(place, now))
        if wait > PATIENCE or (wait and is_full):
            return max(wait, PATIENCE + 1)
        is_known = browser or pair in self._known
        slower = 0.0 if is_known or is_full else min(SLOWER, self._accounts.wait(account, now))
        self._pairs.take(pair, now)
        self._addresses.take(place, now)
        self._accounts.take(account, now)
        return max(wait, slower)

    def succeeded(self, account: str, address: str, browser: str = "") -> None:
        """Record a right password: this attempt and earlier ones of this account and address no longer count."""
        self._pairs.forget((account, browser or address))
        self._addresses.give_back((address, bool(browser)))
        self._accounts.give_back(account)
        self._known.pop((account, address), None)
        self._known[account, address] = None
        if len(self._known) > ENTRIES:
            self._known.popitem(last=False)

    def logs_refusal(self, address: str) -> bool:
        """Whether to log one more refusal: an attacker must not fill the log."""
        now = self._clock()
        if self._lines.wait(address, now):
            return False
        self._lines.take(address, now)
        return True


class Proxies:
    """Addresses of the kit's proxy. Only its X-Forwarded-For counts: other clients can write any text into it."""

    # Seconds that a look-up may take, and between two of them.
    TIMEOUT = 2.0
    PAUSE = 15.0

    def __init__(self, names: Iterable[str] = PROXY) -> None:
        self._names = tuple(names)
        self._found: set[str] = set()
        self._looked_at = -math.inf

    async def has(self, address: str) -> bool:
        if address not in self._found and time.monotonic() - self._looked_at > self.PAUSE:
            self._looked_at = time.monotonic()
            found = [await self._look_up(name) for name in self._names]
            # While no name is known, the proxy keeps its addresses.
            self._found = set().union(*found) or self._found
        return address in self._found

    async def _look_up(self, name: str) -> set[str]:
        look_up = asyncio.get_running_loop().getaddrinfo(name, None)
        try:
            return {str(where[0]) for *_, where in await asyncio.wait_for(look_up, self.TIMEOUT)}
        except (OSError, asyncio.TimeoutError):
            return set()


def peer(request: HTTPServerRequest) -> str:
    """Return the address of a request's connection. Tornado's `remote_ip` comes from X-Real-Ip instead."""
    return str(request.connection.context._orig_remote_ip)


def client(forwarded: str, peer: str, in_front: int) -> str:
    """Return the client's address from the X-Forwarded-For of the kit's proxy, which has `in_front` proxies before it.

    Each proxy appends the address that called it. The client may have written everything before that.
    """
    hops = [text.strip() for text in forwarded.split(",")]
    return canonical(hops[-1 - in_front] if len(hops) > in_front else hops[0]) or canonical(peer) or "unknown"


def is_of_a_proxy(forwarded: str, in_front: int) -> bool:
    """Whether the client's address seems to be that of another proxy: it is private, and forwards an address."""
    hops = [text.strip() for text in forwarded.split(",")]
    try:
        return len(hops) > in_front + 1 and not ipaddress.ip_address(hops[-1 - in_front]).is_global
    except ValueError:
        return False


def canonical(text: str) -> str:
    """Return an address in the form that limits count: for IPv6 the client's /64 network; empty if it is none."""
    # Some proxies add the port.
    with_port = _WITH_PORT.fullmatch(text)
    bare = with_port[1] or with_port[2] if with_port else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def shown(account: str) -> str:
    """Return an account's name for the log, in one line of limited length."""
    return ascii(account[:64]) + ("..." if len(account) > 64 else "")


def _digest(account: str) -> str:
    return hashlib.sha256(account.encode(errors="replace")).hexdigest()[:32]


def throttled(authenticator: type[Authenticator], in_front: int) -> type[Authenticator]:
    """Return a subclass of `authenticator` with the limits of this module, and the same name and configuration."""
    return type(authenticator.__name__, (_Throttled, authenticator), {"in_front": in_front})


class _Throttled(Authenticator):
    in_front = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._throttle = Throttle()
        self._proxies = Proxies()
        self._waiting = 0
        self._has_warned = False

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        account, address = self._account(data), await self._address(handler.request)
        browser = self._browser(handler, account)
        wait = self._throttle.admit(account, address, browser, is_full=self._waiting >= WAITING)
        if wait > PATIENCE:
            if self._throttle.logs_refusal(address):
                self.log.warning(
                    "Sign-in as %s from %s refused: too many wrong passwords. The next one is checked in %d s.",
                    shown(account), address, math.ceil(wait),
                )  # fmt: skip
            error = HTTPError(429, "Too many wrong passwords. Try again in %d seconds.", math.ceil(wait))
            error.headers = {"Retry-After": str(math.ceil(wait))}
            raise error
        if wait:
            self._waiting += 1
            try:
                await asyncio.sleep(wait)
            finally:
                self._waiting -= 1
        user = await super().get_authenticated_user(handler, data)
        if user:
            self._throttle.succeeded(account, address, browser)
            self._remember_browser(handler, account)
        else:
            self.log.warning("Sign-in as %s from %s failed.", shown(account), address)
        return user

    def _browser(self, handler: Any, account: str) -> str:
        """Return the id of a browser that has signed in to the account before; empty for all others."""
        found = handler.get_secure_cookie(COOKIE, max_age_days=DAYS) or b""
        whose, _, number = found.decode(errors="replace").partition(":")
        return f"browser {number}" if number and whose == _digest(account) else ""

    def _remember_browser(self, handler: Any, account: str) -> None:
        # A program that asks for a token is not a browser.
        if handler.request.path.endswith("/login"):
            value = f"{_digest(account)}:{secrets.token_hex(16)}"
            handler._set_cookie(COOKIE, value, path=handler.hub.base_url, expires_days=DAYS)

    async def authenticate(self, handler: Any, data: Any) -> Any:
        # JupyterHub's comparison of passwords raises an exception for other characters.
        if isinstance(data.get("password"), str) and not data["password"].isascii():
            return None
        return await maybe_future(super().authenticate(handler, data))

    def _account(self, data: Any) -> str:
        name = data.get("username") if isinstance(data, Mapping) else None
        return str(self.normalize_username(str(name or "")[:256]))

    async def _address(self, request: HTTPServerRequest) -> str:
        near = peer(request)
        forwarded = request.headers.get("X-Forwarded-For", "")
        if forwarded and await self._proxies.has(near):
            found = client(forwarded, near, self.in_front)
            if is_of_a_proxy(forwarded, self.in_front) and not self._has_warned:
                self._has_warned = True
                self.log.warning(
                    "%s forwards a sign-in. If that is a reverse proxy of yours, add 1 to PROXIES_IN_FRONT in .env. "
                    "Otherwise the limits of password guessing count all users as one address.",
                    found,
                )
            return found
        return canonical(near) or "unknown"
