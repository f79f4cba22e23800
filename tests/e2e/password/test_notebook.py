"""The main path, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from support import browser as do
from support.kit import Kit


def test_sign_in_start_run_stop_start_again(running: Kit, browser: Browser) -> None:
    alice = running.user("alice")
    with do.page(browser) as page:
        do.fill_in_login(page, alice)
        expect(page.get_by_text("Your server is starting up.")).to_be_visible()
        expect(page.locator("#progress-message")).to_contain_text("answer")
        do.screenshot(page, "starting")
        do.wait_for_lab(page, alice)
        do.new_notebook(page)
        printed = do.run_cell(page, "open('kept.txt', 'w').write('hello'); print(6 * 7, 'from a kernel')")
        do.screenshot(page, "running-cell")
        assert printed == "42 from a kernel"

        do.stop_server(page, alice)
        assert running.servers() == []
        page.locator("#start").click()
        do.wait_for_lab(page, alice)
        expect(page.get_by_role("listitem", name="kept.txt").or_(page.get_by_title("kept.txt")).first).to_be_visible()
        do.screenshot(page, "file-kept")

    bob = running.user("bob")
    with do.page(browser) as page:
        do.fill_in_login(page, bob)
        do.wait_for_lab(page, bob)
        do.new_notebook(page)
        assert do.run_cell(page, "import os; print(os.path.exists('kept.txt'))") == "False"


def test_a_wrong_password_is_refused_and_the_page_says_so(running: Kit, browser: Browser) -> None:
    mallory = running.user("mallory")
    mallory.password = "not-the-password"
    with do.page(browser) as page:
        do.fill_in_login(page, mallory)
        expect(page.locator(".login_error")).to_have_text("Invalid username or password")
        do.screenshot(page, "wrong-password")
