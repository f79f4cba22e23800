"""The web's own attacks: other sites' forms, addresses that lead away, tokens in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from support import browser as do
from support.kit import Kit
from support.user import User
from support.wire import leads_to, raw, request

EVIL = {"Origin": "https://evil.test", "Referer": "https://evil.test/", "Sec-Fetch-Site": "cross-site"}
STAY: dict[str, Any] = {"timeout": 60, "allow_redirects": False}


@pytest.fixture(scope="module")
def wendy(running: Kit) -> Iterator[User]:
    """A user with a running server."""
    wendy = running.user("wendy").sign_in().started()
    yield wendy
    wendy.stop()


def visitor(kit: Kit) -> tuple[requests.Session, str]:
    """A browser that has the sign-in's page open, and the token of its form."""
    session = requests.Session()
    session.get(f"{kit.url}/hub/login", timeout=30).raise_for_status()
    return session, str(session.cookies["_xsrf"])


def sign_in(kit: Kit, session: requests.Session, token: str, headers: dict[str, str], query: str = "") -> Any:
    data = {"username": "mallory", "password": kit.setting("USER_PASSWORD"), "_xsrf": token}
    return session.post(f"{kit.url}/hub/login{query}", data=data, headers=headers, **STAY)


def is_in(session: requests.Session) -> bool:
    return "jupyterhub-hub-login" in session.cookies


# Forms of other sites


def test_the_hubs_own_form_signs_in(running: Kit) -> None:
    for headers in ({}, {"Origin": running.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}):
        session, token = visitor(running)
        assert sign_in(running, session, token, headers).status_code == 302
        assert is_in(session)


@pytest.mark.parametrize(
    "headers",
    [
        EVIL,
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_sites_form_signs_nobody_in(running: Kit, headers: dict[str, str]) -> None:
    """Neither in a browser that has the form open, nor with a form's token of the attacker's own, made just before."""
    session, token = visitor(running)
    assert sign_in(running, session, token, headers).status_code == 403
    victim = requests.Session()
    assert sign_in(running, victim, visitor(running)[1], headers).status_code == 403
    assert not is_in(session)
    assert not is_in(victim)


def test_a_form_without_its_token_signs_nobody_in(running: Kit) -> None:
    for token in ("", "x", "MnwxOjB8"):
        session, _ = visitor(running)
        assert sign_in(running, session, token, {}).status_code == 403
        assert not is_in(session)


def test_another_sites_request_changes_nothing(running: Kit) -> None:
    """Whatever token it has: none, another user's, the sign-in page's. The browser is one that sends cookies along."""
    ursula, other = running.user("ursula").sign_in(), running.user("other").sign_in()
    before = ursula.api("GET", "/users/ursula/tokens").json()
    orders = [
        ("POST", "/hub/spawn"),
        ("POST", "/hub/spawn/ursula"),
        ("POST", "/hub/api/users/ursula/server"),
        ("POST", "/hub/api/users/ursula/tokens"),
        ("DELETE", "/hub/api/users/ursula/server"),
        ("PATCH", "/hub/api/users/ursula"),
    ]
    kinds = ("text/plain", "application/x-www-form-urlencoded", "application/json")
    for method, path in orders:
        for token in ("", other._xsrf("/hub/"), visitor(running)[1]):
            for kind in kinds:
                sent = {**EVIL, "Sec-Fetch-Mode": "cors", "Content-Type": kind, "X-XSRFToken": token}
                answer = ursula.session.request(method, ursula.hub + path, data="{}", headers=sent, **STAY)
                assert answer.status_code == 403, (method, path, kind)
    assert ursula.model()["servers"] == {}
    assert not [server for server in running.servers() if "ursula" in server.name]
    assert ursula.api("GET", "/users/ursula/tokens").json() == before


PAGE = """<!doctype html><title>evil</title>
<img src="{hub}/hub/spawn" onerror="document.title = 'seen'">
<iframe src="{hub}/hub/spawn"></iframe>
<form method="post" action="{hub}/hub/login">
  <input name="username" value="mallory"><input name="password" value="{password}"><input name="_xsrf" value="{token}">
</form>"""


@contextmanager
def serving(body: str) -> Iterator[int]:
    """A site of this one page, at the port of the name localhost, which is another site than 127.0.0.1 is."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def test_another_sites_page_in_a_browser(running: Kit, browser: Browser) -> None:
    """What it loads from the hub, it loads as a stranger; its form leaves who is signed in as they are."""
    vera = running.user("vera").sign_in()
    with do.page(browser) as page:
        page.context.add_cookies(
            [
                {"name": cookie.name, "value": cookie.value or "", "domain": cookie.domain, "path": cookie.path}
                | {"httpOnly": cookie.name != "_xsrf", "sameSite": "Lax"}  # type: ignore[list-item]
                for cookie in vera.session.cookies
            ]
        )
        page.goto(f"{running.url}/hub/home")
        expect(page.locator("#start")).to_be_visible()
        body = PAGE.format(hub=running.url, password=vera.password, token=visitor(running)[1])
        # Not a made-up answer: from those, browsers let nothing go to addresses of this machine.
        with serving(body) as port, page.expect_response(f"{running.url}/hub/spawn") as spawn:
            page.goto(f"http://localhost:{port}/")
            expect(page).to_have_title("seen")
        assert "/hub/login" in spawn.value.headers["location"]
        page.evaluate("document.querySelector('form').submit()")
        expect(page.locator(".login_error")).to_be_visible()
        page.goto(f"{running.url}/hub/home")
        expect(page.get_by_text("vera")).to_be_visible()
    assert vera.model()["servers"] == {}


def test_another_sites_page_gets_no_answer_of_a_server(wendy: User) -> None:
    evil = {**EVIL, "Sec-Fetch-Mode": "cors"}
    assert wendy.session.get(f"{wendy.hub}/user/wendy/api/contents", headers=evil, **STAY).status_code in {403, 404}
    kernel = wendy.session.post(f"{wendy.hub}/user/wendy/api/kernels", data="{}", headers=evil, **STAY)
    assert kernel.status_code in {403, 404}
    assert wendy.server("GET", "/api/kernels").json() == []
    socket_of_another = {**evil, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    socket_of_another |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Fetch-Mode": "websocket"}
    answer = wendy.session.get(f"{wendy.hub}/user/wendy/terminals/websocket/1", headers=socket_of_another, **STAY)
    assert answer.status_code in {403, 404}


# Addresses that lead away

AWAY = [
    "//evil.test",
    "///evil.test",
    "////evil.test/x",
    "https://evil.test",
    "HTTPS:evil.test",
    "https:/evil.test",
    "http:evil.test",
    "/\\evil.test",
    "\\\\evil.test",
    "\\/evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    " //evil.test",
    "\x01//evil.test",
    "/%09/evil.test",
    "/%5cevil.test",
    "/%2f/evil.test",
    "%2f%2fevil.test",
    "//evil.test%2f@{host}",
    "//{host}@evil.test",
    "http://{host}@evil.test/",
    "http://{host}.evil.test/",
    "http://{host}\\@evil.test",
    "http://{host}//evil.test",
    "//{host}//evil.test",
    "http://{host}/\\evil.test",
    "/hub/..//evil.test",
    "/hub/logout?next=//evil.test",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil。test",
    "evil.test",
]


def test_a_browsers_reading_of_an_address() -> None:
    for away in ("/\\evil.test", "///evil.test", "\t//evil.test", "/\n/evil.test", "https:evil.test"):
        assert leads_to("https://hub.test/hub/login", away) == "https://evil.test"
    assert leads_to("https://hub.test/hub/login", "/%5cevil.test") == "https://hub.test"


@pytest.mark.parametrize("next_", AWAY, ids=repr)
def test_nobody_is_sent_to_another_site(running: Kit, next_: str) -> None:
    there = quote(next_.format(host=urlsplit(running.url).netloc), safe="")
    session, token = visitor(running)
    answers = [sign_in(running, session, token, {}, f"?next={there}")]
    assert is_in(session)
    for path in ("/hub/login?next=", "/hub/home?next=", "/hub/?next="):
        answers.append(session.get(f"{running.url}{path}{there}", **STAY))
    for answer in answers:
        if "Location" in answer.headers:
            assert leads_to(answer.url, answer.headers["Location"]) == running.url
    assert answers[0].status_code == answers[1].status_code == 302


def test_nobody_is_sent_to_another_site_by_a_path(running: Kit, wendy: User) -> None:
    paths = ["//evil.test/", "//evil.test", "/%5cevil.test/", "/hub//evil.test/", "/hub/user-redirect//evil.test"]
    paths += ["/user/wendy//evil.test/", "/user/wendy/%5cevil.test/", "/user/wendy/login?next=//evil.test"]
    paths += ["/user/wendy/logout?next=//evil.test", "/user/wendy/tree//evil.test/", "/user/wendy/lab//evil.test/"]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in wendy.session.cookies)
    for path in paths:
        for headers in ([], [f"Cookie: {cookies}"]):
            said = raw(running.port, request(f"GET {path} HTTP/1.1", *headers)).decode("latin-1")
            assert said.startswith("HTTP/1.1 "), path
            location = re.search(r"(?im)^location: *(.*?)\r$", said)
            assert not location or leads_to(running.url + path, location[1]) == running.url, path


# Tokens in addresses


def test_a_token_in_an_address_opens_nothing_and_is_in_no_log(running: Kit, wendy: User) -> None:
    token = wendy.api("POST", "/users/wendy/tokens", json={"note": "test"}).json()["token"]
    for path in ("/hub/api/user", "/user/wendy/api/status"):
        assert requests.get(running.url + path, headers={"Authorization": f"token {token}"}, timeout=30).ok
    for path in ("/hub/api/user", "/hub/home", "/hub/login", "/hub/nosuch", "/user/wendy/api/status"):
        answer = requests.get(f"{running.url}{path}?token={token}", **STAY)
        assert answer.status_code != 200 or path == "/hub/login"
        assert not is_in(answer)
    lab = requests.get(f"{running.url}/user/wendy/lab?token={token}", timeout=30)
    assert urlsplit(lab.url).path == "/hub/login"
    containers = [*map(running.container, ("hub", "proxy", "gate")), running.server_of("wendy")]
    logs = {container.name: container.logs().decode() for container in containers}
    assert "token=[secret]" in "".join(logs.values())
    assert [name for name, log in logs.items() if token in log] == []


# Cookies and headers


def test_cookies_are_for_the_hub_alone_and_narrow(wendy: User) -> None:
    about = {(cookie.name, cookie.path): cookie for cookie in wendy.session.cookies}
    assert set(about) == {
        ("jupyterhub-hub-login", "/hub/"),
        # By which its user is not locked out by others' guesses.
        ("dockyard-known-browser", "/hub/"),
        ("jupyterhub-session-id", "/"),
        ("jupyterhub-user-wendy", "/user/wendy/"),
        ("_xsrf", "/hub/"),
        # Which its pages read.
        ("_xsrf", "/user/wendy/"),
    }
    for (name, _), cookie in about.items():
        assert not cookie.domain_specified
        assert cookie.has_nonstandard_attr("HttpOnly") == (name != "_xsrf")
        assert cookie.get_nonstandard_attr("SameSite") == "Lax"


@pytest.mark.parametrize("path", ["/hub/login", "/hub/home", "/hub/nosuch", "/hub/api/user", "/user/wendy/lab"])
def test_headers(wendy: User, path: str) -> None:
    headers = wendy.session.get(wendy.hub + path, **STAY).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    if path.startswith("/hub"):
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert headers["Server"] == "JupyterHub"
