"""Limits of password guessing."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from dockyard.signin import throttle
from dockyard.signin.throttle import PATIENCE, Throttle

PASSWORD, ADMIN = "the-right-one", "a" * 32


class Clocked(Throttle):
    """With a clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0
        super().__init__(lambda: self.at)

    def wrong(self, account: str, address: str, times: int = 1) -> list[float]:
        return [self.admit(account, address) for _ in range(times)]


@pytest.fixture
def limits() -> Clocked:
    return Clocked()


def test_throttle_an_account_at_an_address_has_five_guesses_then_one_in_ten_seconds(limits: Clocked) -> None:
    assert limits.wrong("ann", "192.0.2.1", 5) == [0.0] * 5
    assert limits.wrong("ann", "192.0.2.1", 3) == [10.0, 20.0, 30.0]
    # Refused ones do not make it longer.
    assert limits.wrong("ann", "192.0.2.1", 1000) == [40.0] * 1000
    limits.at += 40
    assert limits.wrong("ann", "192.0.2.1") == [0.0]


def test_throttle_guesses_in_an_hour_are_few(limits: Clocked) -> None:
    checked = 0
    for _ in range(3600):
        limits.at += 1
        checked += sum(limits.admit("ann", "192.0.2.1") <= PATIENCE for _ in range(5))
    assert checked < 360 + 10


def test_throttle_another_name_for_each_guess_does_not_help(limits: Clocked) -> None:
    """All users have one password."""
    waits = [limits.admit(f"user{number}", "192.0.2.1") for number in range(1000)]
    assert waits[:100] == [0.0] * 100
    assert len([wait for wait in waits if wait <= PATIENCE]) == 110
    assert limits.admit("ann", "192.0.2.2") == 0.0


def test_throttle_an_attacker_elsewhere_locks_nobody_out(limits: Clocked) -> None:
    """However many addresses there are, the user and the administrator wait a few seconds, and are not refused."""
    for number in range(1000):
        limits.wrong("admin", f"198.51.{number // 250}.{number % 250}", 5)
    assert 0 < limits.admit("admin", "192.0.2.1") <= throttle.SLOWER
    limits.succeeded("admin", "192.0.2.1")
    assert limits.admit("admin", "192.0.2.1") == 0.0


def test_throttle_who_has_signed_in_from_an_address_does_not_wait_for_others_there(limits: Clocked) -> None:
    limits.admit("ann", "192.0.2.1")
    limits.succeeded("ann", "192.0.2.1")
    for number in range(1000):
        limits.admit(f"user{number}", "192.0.2.1")
    assert limits.admit("ben", "192.0.2.1") > PATIENCE
    assert limits.admit("ann", "192.0.2.1") == 0.0
    # That was wrong: the account is as all others.
    assert limits.admit("ann", "192.0.2.1") > PATIENCE


def test_throttle_a_class_behind_one_address_does_not_wait(limits: Clocked) -> None:
    for number in range(300):
        assert limits.wrong(f"user{number}", "192.0.2.1", 2 if number % 10 == 0 else 1)[-1] == 0.0
        limits.succeeded(f"user{number}", "192.0.2.1")


def test_throttle_a_right_password_clears_the_wrong_ones(limits: Clocked) -> None:
    limits.wrong("ann", "192.0.2.1", 5)
    limits.succeeded("ann", "192.0.2.1")
    assert limits.wrong("ann", "192.0.2.1", 5) == [0.0] * 5


def test_throttle_its_memory_is_bounded(limits: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ENTRIES", 50)
    for number in range(500):
        limits.admit(f"user{number}", f"192.0.2.{number}")
        limits.succeeded(f"user{number}", f"192.0.2.{number}")
        limits.admit(f"user{number}", f"192.0.2.{number}")
    tables = (limits._pairs, limits._addresses, limits._accounts, limits._known)
    assert [len(table) for table in tables] == [50] * 4


# Addresses


@pytest.mark.parametrize(
    ("forwarded", "in_front", "expected"),
    [
        ("192.0.2.1", 0, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 0, "192.0.2.1"),
        ("203.0.113.9,192.0.2.1", 0, "192.0.2.1"),
        ("192.0.2.1, 172.20.0.3", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 172.20.0.3", 1, "192.0.2.1"),
        # The trusted proxy was gone round.
        ("192.0.2.1", 1, "192.0.2.1"),
        ("::ffff:192.0.2.1", 0, "192.0.2.1"),
        ("2001:db8:0:1:aaaa::1", 0, "2001:db8:0:1::/64"),
        ("2001:db8:0:1:bbbb::2", 0, "2001:db8:0:1::/64"),
        ("fe80::1%eth0", 0, "fe80::/64"),
        ("203.0.113.9, 192.0.2.1:50123", 0, "192.0.2.1"),
        ("[2001:db8:0:1::2]:50123, 172.20.0.3", 1, "2001:db8:0:1::/64"),
        ("192.0.2.1:x", 0, "10.0.0.9"),
        ("not an address", 0, "10.0.0.9"),
        ("203.0.113.9, x\ny", 0, "10.0.0.9"),
        ("", 0, "10.0.0.9"),
    ],
)
def test_client_what_a_client_writes_does_not_count(forwarded: str, in_front: int, expected: str) -> None:
    assert throttle.client(forwarded, "10.0.0.9", in_front) == expected


@pytest.mark.parametrize(
    ("forwarded", "in_front", "expected"),
    [
        ("192.0.2.1, 172.18.0.1", 0, True),
        ("8.8.8.8, 172.18.0.1", 1, False),
        ("9.9.9.9, 8.8.8.8", 0, False),
        ("10.1.2.3", 0, False),
        ("x, y", 0, False),
    ],
)
def test_proxy_of_the_operator_that_is_not_counted_is_noticed(forwarded: str, in_front: int, expected: bool) -> None:
    assert throttle.is_of_a_proxy(forwarded, in_front) is expected


async def test_proxies_are_known_by_their_names() -> None:
    assert await throttle.Proxies(("localhost",)).has("127.0.0.1")
    proxies = throttle.Proxies(("no-such-host.invalid",))
    assert not await proxies.has("127.0.0.1")


async def test_proxies_are_remembered_while_names_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = throttle.Proxies(("localhost",))
    assert await proxies.has("127.0.0.1")
    proxies._names, proxies._looked_at = ("no-such-host.invalid",), -1e9
    assert not await proxies.has("10.9.9.9")
    assert await proxies.has("127.0.0.1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ann", "'ann'"),
        ("ann\r\n[I hub] User logged in: admin", r"'ann\r\n[I hub] User logged in: admin'"),
        ("\x1b[2J\u202e", r"'\x1b[2J\u202e'"),
        ("x" * 200, f"'{'x' * 64}'..."),
    ],
)
def test_shown_a_name_is_one_short_line(name: str, expected: str) -> None:
    assert throttle.shown(name) == expected


# Sign-in


def handler(address: str = "192.0.2.1", **headers: str) -> Any:
    context = SimpleNamespace(_orig_remote_ip=address)
    given = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
    connection = SimpleNamespace(context=context)
    cookies: dict[str, bytes] = {}
    return SimpleNamespace(
        request=SimpleNamespace(headers=given, connection=connection, remote_ip="203.0.113.9", path="/hub/login"),
        hub=SimpleNamespace(base_url="/hub/"),
        cookies=cookies,
        get_secure_cookie=lambda name, max_age_days: cookies.get(name),
        _set_cookie=lambda name, value, path, expires_days: cookies.update({name: value.encode()}),
    )


def authenticator(in_front: int = 0, proxies: tuple[str, ...] = ()) -> Any:
    cls = throttle.throttled(SharedPasswordAuthenticator, in_front)
    made = cls(user_password=PASSWORD, admin_password=ADMIN, admin_users={"admin"}, allow_all=True)
    made._proxies = throttle.Proxies(())
    made._proxies._found = set(proxies)
    return made


def form(name: str, password: str) -> dict[str, str]:
    return {"username": name, "password": password}


async def sign_in(made: Any, who: Any, name: str = "ann", password: str = "wrong") -> Any:
    try:
        return await made.get_authenticated_user(who, form(name, password))
    except HTTPError as error:
        return error


async def test_sign_in_a_flood_of_guesses_is_refused_with_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "PATIENCE", 0.0)
    made = authenticator()
    answers = [await sign_in(made, handler()) for _ in range(20)]
    assert answers[:5] == [None] * 5
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.log_message % refused.args == "Too many wrong passwords. Try again in 10 seconds."
    assert refused.headers == {"Retry-After": "10"}
    # Neither does the right password get in before its turn; at another address it does.
    assert (await sign_in(made, handler(), password=PASSWORD)).status_code == 429
    assert (await sign_in(made, handler("192.0.2.2"), password=PASSWORD))["name"] == "ann"


async def test_sign_in_the_right_password_is_taken_when_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    made = authenticator()
    for limit in (made._throttle._pairs,):
        limit._interval, limit._credit = 0.2, 0.8
    began = time.monotonic()
    answers = await asyncio.gather(*(sign_in(made, handler()) for _ in range(6)))
    assert answers == [None] * 6
    assert (await sign_in(made, handler(), password=PASSWORD))["name"] == "ann"
    assert time.monotonic() - began >= 0.3
    assert made._waiting == 0


async def test_sign_in_a_browser_that_was_here_before_is_not_locked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an attacker at the same address, who guesses all the time. Its cookie is for its own account."""
    monkeypatch.setattr(throttle, "PATIENCE", 0.0)
    made, browser = authenticator(), handler()
    assert (await sign_in(made, browser, password=PASSWORD))["name"] == "ann"
    for number in range(200):
        await sign_in(made, handler(), "ann")
        await sign_in(made, handler(), f"user{number}")
    assert (await sign_in(made, handler(), password=PASSWORD)).status_code == 429
    assert (await sign_in(made, browser, "ben", PASSWORD)).status_code == 429
    assert (await sign_in(made, browser, password=PASSWORD))["name"] == "ann"
    answers = [await sign_in(made, browser) for _ in range(10)]
    assert [getattr(answer, "status_code", None) for answer in answers] == [None] * 5 + [429] * 5


async def test_sign_in_administrators_are_throttled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "PATIENCE", 0.0)
    made = authenticator()
    answers = [await sign_in(made, handler(), name) for name in ("admin", "ADMIN", " Admin".strip()) for _ in range(3)]
    assert [getattr(answer, "status_code", None) for answer in answers] == [None] * 5 + [429] * 4


async def test_sign_in_headers_of_a_client_do_not_change_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither through the proxy nor past it, as from a user's server, which reaches the hub itself."""
    monkeypatch.setattr(throttle, "PATIENCE", 0.0)
    for near, prefix in (("10.0.0.2", "203.0.113.{}, 192.0.2.1"), ("10.0.0.77", "203.0.113.{}")):
        made = authenticator(proxies=("10.0.0.2",))
        answers = []
        for number in range(10):
            forged = {"X_Forwarded_For": prefix.format(number), "X_Real_Ip": f"203.0.113.{number}"}
            answers.append(await sign_in(made, handler(near, **forged)))
        assert [answer.status_code for answer in answers[5:]] == [429] * 5


async def test_sign_in_failures_are_logged_with_account_and_address(caplog: pytest.LogCaptureFixture) -> None:
    made = authenticator(proxies=("10.0.0.2",))
    made.log = logging.getLogger("test")
    who = handler("10.0.0.2", X_Forwarded_For="192.0.2.1")
    await sign_in(made, who, "mallory\r\n[I] User logged in: admin")
    assert caplog.messages == [r"Sign-in as 'mallory\r\n[i] user logged in: admin' from 192.0.2.1 failed."]
    caplog.clear()
    for _ in range(100):
        made._throttle.admit("mallory", "192.0.2.1")
    for _ in range(100):
        await sign_in(made, who, "mallory")
    assert 1 <= len(caplog.messages) <= 3
    assert "Sign-in as 'mallory' from 192.0.2.1 refused: too many wrong passwords." in caplog.messages[0]


@pytest.mark.parametrize("data", [None, [], "x", {"username": ["a"], "password": "x"}], ids=repr)
async def test_sign_in_data_of_another_form_counts(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token can be asked for with a password, too, in JSON."""
    monkeypatch.setattr(throttle, "PATIENCE", 0.0)
    made = authenticator()
    for _ in range(5):
        with pytest.raises(Exception):  # noqa: B017, PT011
            await made.get_authenticated_user(handler(), data)
    with pytest.raises(HTTPError) as refused:
        await made.get_authenticated_user(handler(), data)
    assert refused.value.status_code == 429


async def test_sign_in_a_password_that_is_not_ascii_is_wrong() -> None:
    assert await sign_in(authenticator(), handler(), password="naïve-password") is None


async def test_sign_in_a_crowd_that_waits_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    made = authenticator()
    made._waiting = throttle.WAITING
    for _ in range(5):
        assert await sign_in(made, handler()) is None
    assert (await sign_in(made, handler(), password=PASSWORD)).status_code == 429


async def test_sign_in_a_crowd_that_waits_keeps_no_user_out() -> None:
    """An attacker with a few addresses makes it. Neither a new user waits, nor one whose account is guessed at."""
    made = authenticator()
    for number in range(100):
        made._throttle.admit("ann", f"198.51.100.{number}")
    made._waiting = throttle.WAITING
    for name in ("ann", "ben"):
        assert (await sign_in(made, handler(), name, PASSWORD))["name"] == name


def test_throttle_cookies_that_were_collected_are_no_way_around_the_address(limits: Clocked) -> None:
    """Each browser has guesses of its own; whoever has known an earlier password may have many cookies."""
    waits = [limits.admit("ann", "192.0.2.1", f"browser {number}") for number in range(1000)]
    assert len([wait for wait in waits if wait <= PATIENCE]) == 110
    # Those guesses do not keep out others at that address.
    assert limits.admit("ben", "192.0.2.1") == 0.0
    assert limits.admit("ann", "192.0.2.2", "browser 1000") == 0.0
