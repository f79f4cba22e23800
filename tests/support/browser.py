"""A real Chromium, and what people do with it in JupyterHub and JupyterLab."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from playwright.sync_api import Browser, BrowserType, Page, TimeoutError, expect, sync_playwright

from support.repo import ROOT
from support.user import User
from support.wait import wait_until

# Chromium's own calls home are refused on a closed network, many at a time.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


def launch(browser_type: BrowserType, *arguments: str) -> Browser:
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    return browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=[*QUIET, *sandbox, "--disable-gpu", "--disable-quic", *arguments],
    )


@contextmanager
def page(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page with cookies of its own; waits up to a minute for what is expected. `options` are its context's."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page = context.new_page()
    try:
        yield page
    except BaseException:
        screenshot(page, "failed")
        raise
    finally:
        context.close()


def screenshot(page: Page, name: str) -> None:
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def fill_in_login(page: Page, user: User) -> None:
    page.goto(user.hub)
    page.get_by_label("Username").fill(user.name)
    page.get_by_label("Password", exact=False).first.fill(user.password)
    page.get_by_role("button", name="Sign in").click()


def wait_for_lab(page: Page, user: User) -> None:
    page.wait_for_url(re.compile(rf"/user/{re.escape(user.path)}/lab"))
    page.locator(".jp-Launcher").or_(page.locator(".jp-Notebook")).first.wait_for()


def new_notebook(page: Page) -> None:
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.locator(".jp-Notebook .cm-content").first.wait_for()
    # The notebook's own sign, or the status bar: on a busy machine, the first has missed it.
    idle = ['.jp-Notebook-ExecutionIndicator[data-status="idle"]', '.jp-StatusBar-TextItem:has-text("| Idle")']
    expect(page.locator(", ".join(idle)).first).to_be_visible()


def run_cell(page: Page, code: str, below: bool = False) -> str:
    """Type `code` into the active cell, or into a new one `below` it, run it, and return what it printed."""
    cell = page.locator(".jp-Notebook .jp-CodeCell.jp-mod-active")
    if below:
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        for key in ("Escape", "b", "Enter"):
            page.keyboard.press(key)
    else:
        cell.locator(".cm-content").click()
    page.keyboard.insert_text(code)
    _press_until(
        # While the kernel's connection is being made, JupyterLab drops the key.
        lambda: page.keyboard.press("Control+Enter"),
        lambda: expect(cell.locator(".jp-InputArea-prompt")).to_have_text(re.compile(r"\[[\d*]+\]:"), timeout=3_000),
        what="the cell runs",
    )
    output = cell.locator(".jp-OutputArea-output").first
    output.wait_for()
    return output.inner_text().strip()


def stop_server(page: Page, user: User) -> None:
    page.goto(f"{user.hub}/hub/home")
    _press_until(
        lambda: _stop_if_visible(page),
        lambda: expect(page.locator("#start")).to_contain_text("Start My Server", timeout=5_000),
        what="the server is stopped",
    )


def _stop_if_visible(page: Page) -> None:
    # Before the page's script has come, the button does nothing. It disappears when an earlier press has its effect.
    if page.locator("#stop").is_visible():
        with suppress(TimeoutError):
            page.locator("#stop").click(timeout=2_000)


def _press_until(press: Callable[[], object], seen: Callable[[], object], what: str) -> None:
    """Press until it has an effect, as a user does where the page was not ready; `seen` is an expectation."""

    def has_effect() -> bool:
        press()
        try:
            seen()
        except AssertionError:
            return False
        return True

    wait_until(has_effect, timeout=60, what=what)


def authorize(page: Page, hub: str, account: str) -> None:
    """Sign in at `hub` by its button, as `account` of the service that it leads to (tests/support/oauth_server.py)."""
    page.goto(hub)
    page.get_by_role("button", name="Sign in with").click()
    page.get_by_label("Account").select_option(account)
    page.get_by_role("button", name="Authorize").click()
