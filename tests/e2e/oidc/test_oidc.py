"""Any other OAuth service, by its own variables and AUTH_<TRAIT>; the provider here refuses what real ones refuse."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from support import browser as do
from support.kit import Kit
from support.oidc_server import OpenIdProvider
from support.user import OAuthUser, Refused


def test_a_user_of_an_allowed_group_signs_in_and_runs_a_cell(registered: Kit, browser: Browser) -> None:
    ada = OAuthUser(registered.url, "ada.lovelace")
    with do.page(browser) as page:
        page.goto(registered.url)
        expect(page.get_by_role("button", name="Sign in with Campus ID")).to_be_visible()
        do.authorize(page, registered.url, "Ada.Lovelace")
        do.wait_for_lab(page, ada)
        do.new_notebook(page)
        assert do.run_cell(page, "import os; print(os.environ['JUPYTERHUB_USER'])") == "ada.lovelace"
        do.stop_server(page, ada)


def test_groups_come_from_the_claim(registered: Kit) -> None:
    ada = OAuthUser(registered.url, "Ada.Lovelace").sign_in()
    ada.name = "ada.lovelace"
    assert sorted(ada.model()["groups"]) == ["maths", "staff"]


def test_a_listed_administrator_enters_and_others_do_not(registered: Kit) -> None:
    assert OAuthUser(registered.url, "grace").sign_in().model()["admin"] is True
    with pytest.raises(Refused, match="signed in at Campus ID as charles, who may not enter this hub"):
        OAuthUser(registered.url, "charles").sign_in()


def test_a_wrong_client_secret_is_said(registered: Kit, provider: OpenIdProvider) -> None:
    right, provider.client_secret = provider.client_secret, "another"
    try:
        with pytest.raises(Refused, match=r"Campus ID refused to say who you are"):
            OAuthUser(registered.url, "grace").sign_in()
    finally:
        provider.client_secret = right


def test_a_code_works_once(registered: Kit) -> None:
    grace = OAuthUser(registered.url, "grace")
    form = grace.session.get(f"{registered.url}/hub/oauth_login", timeout=30)
    back = grace.session.post(form.url, data={"login": "grace"}, allow_redirects=False, timeout=30).headers["Location"]
    kept = grace.session.cookies.copy()
    assert grace.session.get(back, timeout=30).ok
    thief = OAuthUser(registered.url, "grace")
    thief.session.cookies.update(kept)
    assert thief.session.get(back, timeout=30).status_code == 403
