"""Passwords that are guessed: the guesser waits, others do not, and the log says who it was."""

from __future__ import annotations

import re
import time
from typing import Any

import requests

from support.kit import Kit


def attempt(kit: Kit, name: str, password: str, **headers: str) -> tuple[int, float]:
    """Fill in the form; the status, and the seconds until the answer."""
    session = requests.Session()
    session.headers.update(headers)
    session.get(f"{kit.url}/hub/login", timeout=30).raise_for_status()
    form = {"username": name, "password": password, "_xsrf": session.cookies["_xsrf"]}
    options: dict[str, Any] = {"data": form, "timeout": 60, "allow_redirects": False}
    began = time.monotonic()
    return session.post(f"{kit.url}/hub/login", **options).status_code, time.monotonic() - began


def test_wrong_passwords_make_an_account_wait_and_no_other(running: Kit) -> None:
    password = running.setting("USER_PASSWORD")
    forged = [f"203.0.113.{number}" for number in range(5)]
    wrong = [
        attempt(running, "victor", "wrong", **{"X-Forwarded-For": one, "X-Real-Ip": one, "Forwarded": f"for={one}"})
        for one in forged
    ]
    assert [status for status, _ in wrong] == [403] * 5
    others = [attempt(running, f"honest{number}", password) for number in range(20)]
    assert [status for status, _ in others] == [302] * 20
    # It waits for its turn, and is right then.
    status, seconds = attempt(running, "victor", password)
    assert status == 302
    assert seconds > max(seconds for _, seconds in wrong + others)
    assert attempt(running, "victor", password)[0] == 302
    lines = re.findall(r"Sign-in as 'victor' from (\S+) failed", running.container("hub").logs().decode())
    assert len(lines) == 5
    assert len(set(lines)) == 1
    assert not set(lines) & set(forged)


def test_a_name_can_not_forge_a_line_of_the_log(running: Kit) -> None:
    assert attempt(running, "eve\r\n[I hub] User logged in: admin\x1b[2J" + "x" * 300, "wrong")[0] == 403
    log = running.container("hub").logs().decode()
    (line,) = [line for line in log.splitlines() if "Sign-in as 'eve" in line]
    assert r"eve\r\n[i hub] user logged in: admin" in line
    assert "\x1b[2j" not in line
    assert len(line) < 250
    assert not [line for line in log.splitlines() if line.startswith("[I hub]")]
