"""A hub whose twenty users have servers on an engine that does not feel well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.engine_server import Control
from support.jupyterhub import Hub
from support.prompt import prompt
from support.wait import wait_until

USERS = {f"user{number}" for number in range(20)}


def filled(hub: Hub) -> Hub:
    """Have a running server for each of USERS."""
    wait_until(lambda: is_settled(hub), timeout=40, what="servers that have ended are removed")
    with ThreadPoolExecutor(10) as pool:
        last = [events[-1] for events in pool.map(hub.spawn, sorted(USERS - hub.running()))]
    assert all(event.get("ready") for event in last), last
    return hub


def is_settled(hub: Hub) -> bool:
    """No server starts or stops."""
    users = hub.http.get(f"{hub.api}/users", params={"limit": "200"}, timeout=10).json()
    return not any(server["pending"] for user in users for server in user["servers"].values())


def knows_all(hub: Hub) -> bool:
    assert hub.running() == USERS
    return True


def serves(hub: Hub) -> bool:
    """The hub answers, and so do the servers."""
    assert knows_all(hub)
    assert {hub.visit(name) for name in USERS} == {200}
    return True


def fails_to_start(hub: Hub, seconds: int = 0) -> None:
    """A newcomer is told why, and the hub answers at once all the while, and at least for some seconds."""
    until = time.monotonic() + seconds
    with prompt(hub.http), ThreadPoolExecutor(1) as pool:
        start = pool.submit(hub.spawn, "newcomer")
        wait_until(
            lambda: serves(hub) and start.done() and time.monotonic() > until,
            timeout=seconds + 60,
            what="the start has ended",
        )
    assert "The Docker engine does not answer" in start.result()[-1]["message"]


def starts_meanwhile(
    hub: Hub,
    control: Control,
    how: str,
    asking: Iterable[str],
    end: Callable[..., None],
    seconds: int = 0,
    **failing: Any,
) -> None:
    """A hub that starts while the engine has `errors` for what is asked, `silence`, or is `away` forgets nobody.

    That lasts at least for some seconds. `end` ends the server of a user by the name of what it is in; `failing` is
    what the errors are like.
    """
    hub.kill()
    if how == "errors":
        for route in asking:
            control.fail(route, **failing)
    elif how == "silence":
        control.deaf()
    else:
        control.away()
    hub.start()
    until = time.monotonic() + seconds
    with prompt(hub.http):
        wait_until(lambda: hub.running() == USERS, timeout=40, what="all are known")
        wait_until(lambda: knows_all(hub) and time.monotonic() > until, timeout=seconds + 40)
    end("jupyter-user7", code=1)
    control.away(False)
    control.clear()
    wait_until(lambda: hub.running() == USERS - {"user7"}, timeout=40, what="the one that ended is known")
    wait_until(lambda: hub.visit("user0") == 200, timeout=20)
    assert {hub.visit(name) for name in USERS - {"user7"}} == {200}
