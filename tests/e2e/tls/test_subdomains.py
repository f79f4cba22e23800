"""SUBDOMAINS=1: each user's server under a host name of its own, so that its pages reach nobody else's things."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from support import browser as do
from support.kit import Kit
from support.pki import Authority
from support.user import User
from support.wait import wait_until

HUB, ANN, BOB = "https://hub.test", "https://ann.hub.test", "https://bob.hub.test"
# What a page's script comes to know of an address, with all the cookies that its browser would send there.
FETCH = """async ([url, options]) => {
    const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1];
    const headers = token ? {"X-XSRFToken": token} : {};
    try {
        const answer = await fetch(url, {credentials: "include", headers, ...options});
        return answer.type == "opaque" ? "sent" : answer.status;
    } catch (error) { return "refused"; }
}"""


def fetched(page: Page, url: str, what: Any, **options: Any) -> None:
    """What comes of a fetch; asked again where this machine's interfaces changed, which Chromium takes for a loss."""
    wait_until(lambda: page.evaluate(FETCH, [url, options]) == what, timeout=60, interval=1, what=f"{url}: {what}")


def opened(page: Page, url: str) -> None:
    def is_there() -> bool:
        try:
            page.goto(url, wait_until="domcontentloaded")
        except Error:
            return False
        return page.url.startswith(url)

    wait_until(is_there, timeout=60, interval=1, what=f"{url} is there")


def as_browsers_have(cookie: Any) -> dict[str, Any]:
    rest = {"secure": bool(cookie.secure), "httpOnly": cookie.has_nonstandard_attr("HttpOnly"), "sameSite": "Lax"}
    return {"name": cookie.name, "value": cookie.value, "domain": cookie.domain, "path": cookie.path} | rest


def belongings(bob: User) -> list[str]:
    """The ids of Bob's kernels and tokens."""
    kernels = bob.session.get(f"{BOB}/user/bob/api/kernels", timeout=30).json()
    tokens = bob.api("GET", "/users/bob/tokens").json()["api_tokens"]
    return sorted(one["id"] for one in [*kernels, *tokens])


@pytest.fixture(scope="module")
def apart(secure: Kit, authority: Authority) -> Kit:
    certificate, key = authority.issue("wildcard", "hub.test", "*.hub.test")
    files = "compose/compose.yaml:compose/compose.tls.yaml:tests/e2e/tls/compose.authority.yaml"
    other = authority.issue("narrow", "hub.test")
    secure.write_env(COMPOSE_FILE=files, ACME_CA=None, ACME_ROOT_FILE=None, SUBDOMAINS="1")
    said = secure.run("scripts/check", check=False).stdout
    assert "SUBDOMAINS needs a certificate for *.hub.test, which ACME gives only to who can change the DNS" in said
    secure.write_env(CERT_FILE=str(other[0]), KEY_FILE=str(other[1]))
    said = secure.run("scripts/check", check=False).stdout
    assert "CERT_FILE is for hub.test, not for *.hub.test, the hosts of SUBDOMAINS." in said
    secure.write_env(CERT_FILE=str(certificate), KEY_FILE=str(key))
    secure.make("up")
    return secure


def test_a_server_has_a_host_of_its_own(apart: Kit, local_browser: Browser) -> None:
    ann, bob = apart.user("ann").sign_in().started(), apart.user("bob").sign_in().started()
    domains = {(cookie.name, cookie.domain) for cookie in bob.session.cookies if cookie.name != "_xsrf"}
    assert domains == {
        ("jupyterhub-hub-login", "hub.test"),
        ("dockyard-known-browser", "hub.test"),
        # Says only which sign-in a server's own cookie is of.
        ("jupyterhub-session-id", ".hub.test"),
        ("jupyterhub-user-bob", "bob.hub.test"),
    }
    here = User(BOB, "bob", "", apart.authority)
    here.session = bob.session
    with here.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    before = belongings(bob)
    with do.page(local_browser, ignore_https_errors=True) as page:
        page.context.add_cookies([as_browsers_have(cookie) for cookie in bob.session.cookies])  # type: ignore[misc]
        opened(page, f"{BOB}/user/bob/lab")
        fetched(page, f"{BOB}/user/bob/api/contents", 200)

        # Bob, on a page of the host of Ann's server, where he is a stranger: else he would be sent on.
        opened(page, f"{ANN}/hub/login")
        assert page.evaluate("document.cookie.replace(/=.*/, '')") in {"", "_xsrf"}
        for url in (f"{HUB}/hub/api/users/bob", f"{HUB}/hub/home", f"{BOB}/user/bob/api/contents"):
            # It goes there, and what comes back is not told.
            fetched(page, url, "sent", mode="no-cors")
            fetched(page, url, "refused")
        for url in (f"{HUB}/hub/api/users/bob/tokens", f"{BOB}/user/bob/api/kernels"):
            fetched(page, url, "sent", method="POST", body="{}", mode="no-cors")
            fetched(page, url, "refused", method="POST", body="{}")
        fetched(page, f"{HUB}/hub/api/users/bob/server", "refused", method="DELETE")
    assert belongings(bob) == before
    assert bob.model()["servers"][""]["ready"]
    ann.stop()


def test_a_recreated_proxy_gets_its_routes_back(apart: Kit) -> None:
    bob = apart.user("bob").sign_in()
    apart.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "proxy")

    def answers(url: str) -> bool:
        return bob.session.get(url, timeout=60).status_code == 200

    wait_until(lambda: answers(f"{HUB}/user/bob/lab"), timeout=15, what="the hub's route is back")
    wait_until(lambda: answers(f"{BOB}/user/bob/api/status"), timeout=15, what="bob's route is back")
    bob.stop()
