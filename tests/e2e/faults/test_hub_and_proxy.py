"""A hub that is killed or replaced, and a proxy that is killed, while users work."""

from __future__ import annotations

from support.atwork import AtWork
from support.kit import Kit
from support.user import User
from support.wait import wait_until

# Seconds from the start of a hub's container, most of which a hub takes that has nobody to know again.
AGAIN = 30


def test_a_killed_hub(running: Kit, at_work: AtWork) -> None:
    servers = {server.id for server in running.servers()}
    running.crash("hub")
    wait_until(lambda: at_work.known() == at_work.names, timeout=AGAIN, what="all are known again")
    assert {server.id for server in running.servers()} == servers
    assert at_work.served() == at_work.names


def test_a_recreated_hub(running: Kit, at_work: AtWork) -> None:
    before = running.container("hub").id
    running.compose("up", "--detach", "--force-recreate", "--no-deps", "hub")
    assert running.container("hub").id != before
    wait_until(lambda: at_work.known() == at_work.names, timeout=AGAIN, what="all are known again")
    assert at_work.served() == at_work.names


def test_a_server_that_dies_while_the_hub_is_down(running: Kit, at_work: AtWork, guest: User) -> None:
    running.container("hub").stop()
    running.server_of("guest").kill()
    running.container("hub").start()
    running.wait_for("hub")
    wait_until(lambda: not guest.model()["servers"], timeout=30, what="the one that died is known to be stopped")
    wait_until(lambda: at_work.known() == at_work.names, timeout=30, what="and nobody else")
    assert guest.start()[-1].get("ready")


def test_a_killed_proxy(running: Kit, at_work: AtWork) -> None:
    running.crash("proxy")
    wait_until(lambda: at_work.served() == at_work.names, timeout=15, what="all routes are back")
    # Sockets have ended with the proxy; kernels have counted on.
    at_work.counters.connect()
