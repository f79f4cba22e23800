"""Signing in at GitHub, in a real browser: the way in, and the pages of those who may not enter."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from support import browser as do
from support.github_server import GitHub
from support.kit import Kit
from support.user import OAuthUser


def test_a_member_signs_in_and_runs_a_cell(registered: Kit, github: GitHub, browser: Browser) -> None:
    ada = OAuthUser(registered.url, "ada")
    with do.page(browser, ignore_https_errors=True) as page:
        page.goto(registered.url)
        expect(page).to_have_title("The Lab of Acme")
        expect(page.get_by_role("heading", name="The Lab of Acme")).to_be_visible()
        logo = page.locator("#jupyterhub-logo img")
        assert logo.evaluate("image => image.complete && image.naturalWidth") == 60
        do.screenshot(page, "github-login")
        page.get_by_role("button", name="Sign in with GitHub").click()
        expect(page.get_by_text("asks for: read:org")).to_be_visible()
        page.get_by_label("Account").select_option("ada")
        page.get_by_role("button", name="Authorize").click()
        do.wait_for_lab(page, ada)
        do.new_notebook(page)
        assert do.run_cell(page, "import os; print(os.environ['JUPYTERHUB_USER'])") == "ada"
        do.stop_server(page, ada)
    assert set(github.scopes_seen) == {"read:org"}


def test_a_stranger_reads_who_may_enter(registered: Kit, browser: Browser) -> None:
    with do.page(browser, ignore_https_errors=True) as page:
        do.authorize(page, registered.url, "stranger")
        expect(page.get_by_role("heading", name="You may not enter")).to_be_visible()
        expect(page.get_by_text("members of the organization acme")).to_be_visible()
        expect(page.get_by_text("members of the team globex:lab")).to_be_visible()
        do.screenshot(page, "github-refused")
        page.get_by_role("button", name="Back to sign-in").click()
        expect(page.get_by_role("button", name="Sign in with GitHub")).to_be_visible()


def test_a_callback_that_is_not_registered(registered: Kit, github: GitHub, browser: Browser) -> None:
    registered_callback, github.callback = github.callback, "https://elsewhere.example.org/hub/oauth_callback"
    try:
        with do.page(browser, ignore_https_errors=True) as page:
            page.goto(registered.url)
            page.get_by_role("button", name="Sign in with GitHub").click()
            expect(page.get_by_text("The redirect_uri is not associated with this application")).to_be_visible()
    finally:
        github.callback = registered_callback


def test_who_changes_their_mind_comes_back_to_a_page(registered: Kit, browser: Browser) -> None:
    with do.page(browser, ignore_https_errors=True) as page:
        page.goto(registered.url)
        page.get_by_role("button", name="Sign in with GitHub").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("heading", name="The sign-in did not work")).to_be_visible()
        expect(page.get_by_text("The user has denied access")).to_be_visible()
        do.screenshot(page, "github-cancelled")
        expect(page.get_by_role("button", name="Back to sign-in")).to_be_visible()
