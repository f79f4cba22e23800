"""Requests that are malformed or too large: the hub refuses them, and lives."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
import requests

from support.kit import Kit
from support.repo import ROOT
from support.wire import first_line, mutated, raw, request

LOGIN = "POST /hub/login HTTP/1.1"
FORM = "Content-Type: application/x-www-form-urlencoded"
MALFORMED = {
    "large header": request("GET /hub/login HTTP/1.1", "X: " + "x" * 100_000),
    "large address": request("GET /hub/login?next=" + "x" * 100_000 + " HTTP/1.1"),
    "many headers": request("GET /hub/login HTTP/1.1", *(f"X-{number}: y" for number in range(5_000))),
    "large cookie": request("GET /hub/home HTTP/1.1", "Cookie: jupyterhub-hub-login=" + "x" * 15_000),
    "two lengths": request(LOGIN, FORM, "Content-Length: 1", "Content-Length: 2", body=b"xx"),
    "length and chunks": request(LOGIN, FORM, "Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "negative length": request(LOGIN, FORM, "Content-Length: -5"),
    "half a body": request(LOGIN, FORM, "Content-Length: 50", body=b"username=x"),
    "half a chunk": request(LOGIN, FORM, "Transfer-Encoding: chunked", body=b"ff\r\nx"),
    "no host": b"GET /hub/login HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": request("GET /hub/login HTTP/1.1", "Host: evil.test"),
    "control character": request("GET /hub/login HTTP/1.1", "X: a\0b"),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no such version": b"GET /hub/login HTTP/9.9\r\nHost: hub.test\r\n\r\n",
    "name not UTF-8": request(LOGIN, FORM, "Content-Length: 25", body=b"username=%ff&password=%fe"),
    "form not a form": request(
        LOGIN, "Content-Type: multipart/form-data; boundary=x", "Content-Length: 3", body=b"--x"
    ),
    "no boundary": request(LOGIN, "Content-Type: multipart/form-data", "Content-Length: 3", body=b"--x"),
    "a form that is JSON": request(LOGIN, "Content-Type: application/json", "Content-Length: 2", body=b"{}"),
    "next not UTF-8": request("GET /hub/login?next=%ff%fe HTTP/1.1"),
    "path not UTF-8": request("GET /hub/%ff%fe HTTP/1.1"),
    "user not UTF-8": request("GET /hub/user/%ff/x HTTP/1.1"),
    "broken escape": request("GET /hub/%zz HTTP/1.1"),
    "NUL in a path": request("GET /hub/api/users/%00 HTTP/1.1"),
    "way out of static files": request("GET /hub/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1"),
    "other way out": request("GET /hub/static/..%2f..%2f..%2f..%2fetc%2fpasswd HTTP/1.1"),
    "broken cookies": request("GET /hub/home HTTP/1.1", "Cookie: jupyterhub-hub-login=\xff\xfe; _xsrf=\xff; =;;"),
    "whom it is for": request("GET /hub/login HTTP/1.1", "X-Forwarded-For: \xff", "X-Forwarded-Proto: nosuch"),
}


# Nobody reads it.
HARMLESS = {"two hosts", "whom it is for"}
# What JupyterHub itself answers with 500, as it comes.
FAULTS = {"broken escape", "path not UTF-8", "user not UTF-8"}
FAULTY_BODY = ("/users/ute/tokens", b'{"note": {"x": 1}}')


@pytest.fixture(scope="module")
def hub_lives(running: Kit) -> Iterator[list[str]]:
    """The hub is the one that it was. What the test appends are faults of JupyterHub's own: told, not failed."""
    before = (
        running.container("hub").attrs["State"]["StartedAt"],
        running.container("proxy").attrs["State"]["StartedAt"],
    )
    told: list[str] = []
    yield told
    assert requests.get(f"{running.url}/hub/health", timeout=30).ok
    running.user("uwe").sign_in()
    after = running.container("hub").attrs["State"]["StartedAt"], running.container("proxy").attrs["State"]["StartedAt"]
    assert after == before
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    (folder / "web.json").write_text(json.dumps(sorted(told), indent=1))
    print(f"\nAnswers of 5xx to what is malformed: {len(told)}, in .artifacts/web.json")


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused(running: Kit, hub_lives: list[str], what: str) -> None:
    said = raw(running.port, MALFORMED[what], hang_up=what.startswith("half"))
    assert b"root:x:0:0" not in said
    status = int(said.split(b" ", 2)[1])
    if status >= 500:
        hub_lives.append(f"{what}: {status}")
        assert what in FAULTS
    elif what not in HARMLESS:
        assert 300 <= status < 500


def test_bodies_that_are_too_large(running: Kit, hub_lives: list[str]) -> None:
    """Refused before they are in memory; the proxy, still sending, may know no more than that it was cut off."""
    session = requests.Session()
    session.get(f"{running.url}/hub/login", timeout=30)
    data = {"username": "mallory", "_xsrf": str(session.cookies["_xsrf"])}
    for megabytes in (11, 30):
        large = {**data, "password": "x" * megabytes * 2**20}
        try:
            status = session.post(f"{running.url}/hub/login", data=large, timeout=120).status_code
        except requests.ConnectionError:
            continue
        assert status in {400, 413, 503}


def test_names_that_are_too_long(running: Kit, hub_lives: list[str]) -> None:
    session = requests.Session()
    for length in (256, 2_000_000):
        session.get(f"{running.url}/hub/login", timeout=30)
        data = {"username": "a" * length, "password": running.setting("USER_PASSWORD")}
        data["_xsrf"] = str(session.cookies["_xsrf"])
        assert session.post(f"{running.url}/hub/login", data=data, timeout=60).status_code == 403
    assert "jupyterhub-hub-login" not in session.cookies


def test_bodies_of_the_wrong_kind(running: Kit, hub_lives: list[str]) -> None:
    ute = running.user("ute").sign_in()
    broken = [b"{", b"[1]", b'"x"', b"\xff\xfe", b"[" * 100_000]
    strange = [b"null", b'{"note": {"x": 1}}', b'{"expires_in": "x"}', b'{"roles": 1}', b'{"scopes": {"x": 1}}']
    calls = [("/users/ute/server", broken), ("/users/ute/tokens", [*broken, *strange]), ("/users", [*broken, *strange])]
    for path, bodies in calls:
        for body in bodies:
            for kind in ("application/json", "application/json; charset=utf-16", "text/xml"):
                headers = {"Content-Type": kind, "X-XSRFToken": ute._xsrf("/hub/")}
                answer = ute.session.post(f"{ute.hub}/hub/api{path}", data=body, headers=headers, timeout=60)
                if answer.status_code >= 500:
                    hub_lives.append(f"POST /hub/api{path} {body[:30]!r} {kind}: {answer.status_code}")
                    assert (path, body) == FAULTY_BODY
                elif path != "/users/ute/tokens":
                    assert 400 <= answer.status_code < 500
    model = ute.model()
    assert (model["admin"], model["servers"]) == (False, {})


def test_random_requests(running: Kit, hub_lives: list[str]) -> None:
    """Mutations of right requests, the same at each run."""
    chance = random.Random(6)
    without_body = [sent for sent in MALFORMED.values() if sent.startswith(b"GET") and len(sent) < 4_000]
    right = [*without_body, request("GET /hub/login HTTP/1.1"), request("GET /user/x/lab HTTP/1.1")]
    faults = 0
    for number in range(300):
        sent = mutated(chance, chance.choice(right), changes=8, length=20)
        said = first_line(running.port, sent + b"\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 "), number
        if said.startswith(b"HTTP/1.1 5"):
            hub_lives.append(f"random request {number}: {said[9:12].decode()}: {bytes(sent[:60])!r}")
            faults += 1
    # Those that are near FAULTS.
    assert faults <= 30
