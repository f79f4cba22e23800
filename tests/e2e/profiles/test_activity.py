"""Whose server the idle culler stops: not one that computes; one with an idle tab."""

from __future__ import annotations

import json

from playwright.sync_api import Browser
from websockets.sync.client import connect

from support import browser as do
from support.kit import Kit
from support.user import User
from support.wait import wait_until

THREAD = """
import threading, time
def work():
    while True:
        sum(range(10**6))
        time.sleep(0.1)
threading.Thread(target=work, daemon=True).start()
"""


def run_in_a_terminal(user: User, command: str) -> None:
    """Begin a command in a new terminal, and leave it."""
    name = user.server("POST", "/api/terminals", json={}).json()["name"]
    where = user.channels("")
    where["uri"] = where["uri"].partition("/api/")[0] + f"/terminals/websocket/{name}"
    with connect(**where) as socket:
        socket.send(json.dumps(["stdin", f"echo $((6 * 7))-begun; {command}\r"]))
        wait_until(lambda: "42-begun" in str(socket.recv(timeout=20)), timeout=60, what="the command runs")


def test_servers_that_compute_go_on_and_an_idle_tab_keeps_none(running: Kit, browser: Browser) -> None:
    kim = running.user("kim").sign_in().started()
    with kim.kernel() as kernel:
        # Says nothing, and uses no processor time.
        kernel.begin("import time; time.sleep(900)")
        wait_until(
            lambda: [one["execution_state"] for one in kim.server("GET", "/api/kernels").json()] == ["busy"], timeout=30
        )
    lou = running.user("lou").sign_in().started()
    with lou.kernel() as kernel:
        kernel.run(THREAD)
    max_ = running.user("max").sign_in().started()
    run_in_a_terminal(max_, "sleep 900")
    ira = running.user("ira")
    with do.page(browser) as page:
        do.fill_in_login(page, ira)
        page.get_by_role("button", name="Start").or_(page.locator(".jp-Launcher")).first.wait_for()
        if page.get_by_role("button", name="Start").is_visible():
            page.get_by_role("button", name="Start").click()
        do.wait_for_lab(page, ira)
        do.new_notebook(page)
        assert do.run_cell(page, "print(6 * 7)") == "42"
        # Its browser's session is another one.
        ira.sign_in()
        wait_until(lambda: "" not in ira.model()["servers"], timeout=150, interval=1, what="the culler stops it")
        assert not page.is_closed()
    for user in (kim, lou, max_):
        assert user.model()["servers"][""]["ready"], user.name
        user.stop()
