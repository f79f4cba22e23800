"""An engine that is stopped, started and killed under the servers of a real hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.jupyterhub import Hub
from support.nested import Node
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

USERS = {f"user{number}" for number in range(20)}
BURST = {f"burst{number}" for number in range(20)}
AWAY = "The Docker engine does not answer."


def spawn_all(hub: Hub, names: Iterable[str]) -> None:
    """Start a server for each, all at once; they must all become ready."""
    with ThreadPoolExecutor(20) as pool:
        last = [events[-1] for events in pool.map(hub.spawn, names)]
    assert all(event.get("ready") for event in last), last


@pytest.fixture
def hub(node_hub: Hub, node: Node) -> Hub:
    """The hub, with a running server for each of USERS."""
    if not node.is_up():
        # A test that failed has left it so.
        node.start()
    spawn_all(node_hub, USERS - node_hub.running())
    return node_hub


def users_with_containers(node: Node) -> set[str]:
    return {name.removeprefix("jupyter-") for name in node.containers()}


def processes(node: Node) -> dict[str, int]:
    """Process number of each user's server."""
    inspect = node.client.api.inspect_container
    return {name: inspect(f"jupyter-{name}")["State"]["Pid"] for name in users_with_containers(node)}


def wait_until_polled(hub: Hub, names: set[str]) -> None:
    """Return when the hub has asked twice how each of these servers is, from now on."""

    def count() -> Counter[str]:
        return Counter((hub.folder / "polls").read_text().split())

    before = count()
    # Twice, because the first may have been under way already.
    wait_until(lambda: all(count()[name] >= before[name] + 2 for name in names), timeout=30, what="all are polled")


def assert_each_is_served(hub: Hub) -> None:
    for name in USERS:
        assert hub.get(name, page="whose").text.strip() == name


def test_servers_end_with_their_engine_and_start_again_with_their_files(hub: Hub, node: Node) -> None:
    node.configure(live_restore=False)
    authors = ["user0", "user7", "user19"]
    for name in authors:
        node.client.containers.get(f"jupyter-{name}").exec_run(["sh", "-c", f"echo notes of {name} >notes"])
    node.stop()
    wait_until_polled(hub, USERS)
    assert hub.running() == USERS
    node.start()
    wait_until(lambda: not hub.running(), timeout=20, what="all are shown as stopped")
    wait_until(lambda: not node.containers(), timeout=20, what="the ended containers are removed")
    spawn_all(hub, authors)
    for name in authors:
        found = node.client.containers.get(f"jupyter-{name}").exec_run(["cat", "notes"])
        assert found.output.decode() == f"notes of {name}\n"


def test_servers_go_on_without_their_engine_where_it_has_live_restore(hub: Hub, node: Node) -> None:
    node.configure(live_restore=True)
    before = processes(node)
    node.stop()
    wait_until_polled(hub, USERS)
    assert hub.running() == USERS
    assert_each_is_served(hub)
    node.start()
    wait_until_polled(hub, USERS)
    assert hub.running() == USERS
    assert processes(node) == before
    assert_each_is_served(hub)


def test_a_hub_that_starts_while_the_engine_is_away_forgets_nobody(hub: Hub, node: Node) -> None:
    node.configure(live_restore=True)
    before = processes(node)
    node.stop()
    hub.kill()
    hub.start()
    wait_until_polled(hub, USERS)
    assert hub.running() == USERS
    wait_until(lambda: hub.visit("user0") == 404, timeout=30, what="the new hub's proxy has the routes")
    assert_each_is_served(hub)
    node.run(f"kill -9 {before.pop('user7')}")
    node.start()
    wait_until(lambda: hub.running() == before.keys(), timeout=20, what="the one that died is shown as stopped")
    wait_until_polled(hub, set(before))
    assert hub.running() == before.keys()
    assert processes(node) == before


def test_an_engine_killed_in_a_burst_of_starts_leaves_only_what_the_hub_knows(hub: Hub, node: Node) -> None:
    node.configure(live_restore=True)
    before = processes(node)
    with ThreadPoolExecutor(len(BURST)) as pool:
        starting = {name: pool.submit(hub.spawn, name) for name in BURST}
        wait_until(lambda: len(hub.running() & BURST) >= 3, timeout=30, what="some of the burst are ready")
        node.kill()
        last = {name: events.result()[-1] for name, events in starting.items()}
    ready = {name for name, event in last.items() if event.get("ready")}
    failed = {name: event["message"] for name, event in last.items() if event.get("failed")}
    assert ready | failed.keys() == BURST, last
    assert failed, "the engine was killed too late"
    assert all(AWAY in message for message in failed.values()), failed
    node.start()
    wait_until(lambda: users_with_containers(node) == USERS | ready, timeout=20, what="failed starts leave nothing")
    assert hub.running() == USERS | ready
    assert before.items() <= processes(node).items()
    spawn_all(hub, failed)
    assert users_with_containers(node) == hub.running() == USERS | BURST
