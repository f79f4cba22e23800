"""What happens to one user's server, by the user's own doing or behind the hub's back: nobody else notices."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import requests

from support.atwork import AtWork
from support.kit import Kit
from support.tiny import tiny_image
from support.user import User
from support.wait import wait_until

# Eight processes, none of which has so much that Linux would end it before a process that is preferred.
FILL = """
import subprocess, sys
fill = [sys.executable, "-c", "import time; kept = b'x' * 2**27; time.sleep(300)"]
processes = [subprocess.Popen(fill) for _ in range(8)]
[process.wait() for process in processes]
"""


def served(user: User) -> bool:
    with suppress(requests.ConnectionError):
        return user.server("GET", "/api/status").ok
    return False


def test_a_kernel_out_of_memory_ends_alone(running: Kit, at_work: AtWork, guest: User) -> None:
    kernel_id = guest.new_kernel()
    with guest.kernel(kernel_id) as kernel:
        kernel.begin("b'x' * 2**30")
        says = f"A process of {running.project}-guest was killed: the server has used up its memory"
        wait_until(lambda: says in running.container("hub").logs().decode(), timeout=60, what="the hub says why")
        assert "this server has used up its memory (512 MiB)" in kernel.wait_for_restart()
    assert guest.model()["servers"][""]["ready"]
    with guest.kernel(kernel_id) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"


def test_a_server_out_of_memory_ends_alone(running: Kit, at_work: AtWork, guest: User) -> None:
    """Of several processes that use up the memory, Linux ends the server first."""
    with guest.kernel() as kernel:
        kernel.run("import os; open(f'/proc/{os.getppid()}/oom_score_adj', 'w').write('1000')")
        kernel.begin(FILL)
        wait_until(lambda: not guest.model()["servers"], timeout=60, what="it is known to be stopped")
    ran_out = "ran out of memory (512 MiB, exit code 137)"
    assert f"The server in {running.project}-guest {ran_out}" in running.container("hub").logs().decode()
    assert ran_out in guest.session.get(f"{running.url}/user/guest/lab", timeout=30).text
    assert at_work.known() == at_work.names
    guest.started()


def test_a_container_that_is_removed(running: Kit, at_work: AtWork, guest: User) -> None:
    with guest.kernel() as kernel:
        kernel.run("open('kept', 'w').write('before')")
    running.server_of("guest").remove(force=True)
    wait_until(lambda: not guest.model()["servers"], timeout=30, what="it is known to be stopped")
    assert at_work.known() == at_work.names
    guest.started()
    with guest.kernel() as kernel:
        assert kernel.run("print(open('kept').read())") == "before\n"


def test_a_container_that_is_renamed(running: Kit, at_work: AtWork, guest: User) -> None:
    with guest.kernel() as kernel:
        kernel.run("x = 41")
        running.server_of("guest").rename(f"{running.project}-elsewhere")
        assert kernel.run("print(x + 1)") == "42\n"
    guest.stop()
    assert f"{running.project}-elsewhere" not in running.leftovers()["containers"]
    guest.started()


def test_a_container_that_gets_another_address(running: Kit, at_work: AtWork, guest: User) -> None:
    kernel_id = guest.new_kernel()
    with guest.kernel(kernel_id) as kernel:
        kernel.run("x = 41")
    server, users = running.server_of("guest"), running.client.networks.get(f"{running.project}_users")
    users.disconnect(server)
    # It has the address that was the server's.
    other: Any = running.client.containers.run(
        tiny_image(), detach=True, network=users.name, name=f"{running.project}-in-its-place"
    )
    try:
        users.connect(server)
        wait_until(lambda: served(guest), timeout=60, what="the server is routed to where it is now")
        with guest.kernel(kernel_id) as kernel:
            assert kernel.run("print(x + 1)") == "42\n"
        assert at_work.known() == {*at_work.names, "guest"}
    finally:
        other.remove(force=True)


def test_a_name_that_is_somebody_elses(running: Kit, at_work: AtWork) -> None:
    name = f"{running.project}-newcomer"
    foreign: Any = running.client.containers.run(tiny_image(), name=name, detach=True)
    try:
        newcomer = running.user("newcomer").sign_in()
        last = newcomer.start()[-1]
        assert (last.get("failed"), name in last["message"]) == (True, True), last
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)
    assert newcomer.start()[-1].get("ready")
    newcomer.stop()
