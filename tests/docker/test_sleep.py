"""Servers that are frozen instead of stopped, on a real engine."""

from __future__ import annotations

import time
from typing import Any

import pytest

from support import nested
from support.relay import Relay
from support.tiny import tiny_image
from support.wait import until

pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def make(make: Any, instance: str) -> Any:
    """As always, and each server sleeps where it is stopped; homes are on volumes."""

    def sleeper(username: str = "ann", **traits: Any) -> Any:
        home = {f"{instance}-home-{{username}}": "/home/jovyan"}
        return make(username, **{"stop_action": "pause", "volumes": home, **traits})

    return sleeper


def status(client: Any, spawner: Any) -> str:
    return str(client.api.inspect_container(spawner.object_name)["State"]["Status"])


async def asleep(make: Any, username: str = "ann", **traits: Any) -> Any:
    spawner = make(username, **traits)
    await spawner.start()
    await spawner.stop()
    return spawner


def again(make: Any, before: Any, **traits: Any) -> Any:
    """The same server as the hub has it after a restart."""
    spawner = make(before.user.name, **traits)
    spawner.load_state(before.get_state())
    spawner.clear_state()
    return spawner


def process(client: Any, spawner: Any) -> int:
    return int(client.api.inspect_container(spawner.object_id)["State"]["Pid"])


async def test_a_stop_freezes_and_a_start_thaws(make: Any, client: Any) -> None:
    before = make()
    await before.start()
    pid, token = process(client, before), before.api_token
    await before.stop()
    assert status(client, before) == "paused"
    assert await before.poll() == 0
    assert before.get_state()["paused_at"] <= time.time()
    after = again(make, before)
    await after.start()
    assert (process(client, after), after.api_token) == (pid, token)
    assert await after.poll() is None
    assert "paused_at" not in after.get_state()
    await after.stop(now=True)
    assert status(client, after) == "exited"


@pytest.mark.parametrize("volumes", [{}, None], ids=["files inside", "files on a volume"])
async def test_a_fresh_start_is_for_once(make: Any, client: Any, volumes: Any) -> None:
    traits = {} if volumes is None else {"volumes": volumes}
    before = await asleep(make, **traits)
    client.api.unpause(before.object_id)
    client.containers.get(before.object_id).exec_run(["touch", "/home/jovyan/mine"])
    client.api.pause(before.object_id)
    pid = process(client, before)
    after = again(make, before, user_options={"fresh": True}, **traits)
    await after.start()
    assert process(client, after) != pid
    assert b"mine" in client.containers.get(after.object_id).exec_run(["ls", "/home/jovyan"]).output
    assert after.user_options == {}
    await after.stop()
    assert status(client, after) == "paused"


async def test_other_settings_mean_another_container(make: Any, client: Any) -> None:
    before = await asleep(make)
    after = again(make, before, environment={"NEW": "1"})
    await after.start()
    assert after.object_id != before.object_id
    await after.stop()


async def test_the_oldest_are_ended_where_there_are_too_many(make: Any, client: Any) -> None:
    sleepers = [await asleep(make, name, max_sleeping=2) for name in ("ann", "bob", "cyd", "dan")]

    async def ended() -> bool:
        return [status(client, one) for one in sleepers] == ["exited", "exited", "paused", "paused"]

    await until(ended, timeout=30)
    woken = again(make, sleepers[0])
    await woken.start()
    assert await woken.poll() is None
    await woken.stop()


async def test_who_sleeps_too_long_is_ended(make: Any, client: Any) -> None:
    sleeper = await asleep(make, pause_max_age=0.5)

    async def ended() -> bool:
        return status(client, sleeper) == "exited"

    await until(ended, timeout=20)


async def test_a_sleeper_that_somebody_has_removed(make: Any, client: Any) -> None:
    before = await asleep(make)
    client.api.remove_container(before.object_id, force=True)
    after = again(make, before)
    await after.start()
    assert after.object_id != before.object_id
    await after.stop()


async def test_an_engine_that_is_away_wakes_nobody_and_costs_no_session(make: Any, client: Any, relay: Relay) -> None:
    away = {"client_kwargs": {"base_url": relay.url}}
    before = await asleep(make, **away)
    pid = process(client, before)
    relay.take_away()
    after = again(make, before, **away)
    with pytest.raises(Exception, match="The Docker engine does not answer"):
        await after.start()
    assert after.get_state() == before.get_state()
    relay.put_back()
    await after.start()
    assert process(client, after) == pid
    await after.stop(now=True)


async def test_a_restarted_engine_has_ended_the_sleepers_and_kept_their_files(make: Any) -> None:
    with nested.node() as node:
        node.load(tiny_image())
        there = {"client_kwargs": {"base_url": node.url}, "network_name": "bridge"}
        there |= {"use_internal_ip": False, "host_ip": node.address}
        before = make(**there)
        await before.start()
        node.client.containers.get(before.object_id).exec_run(["touch", "/home/jovyan/mine"])
        await before.stop()
        node.stop()
        node.start()
        after = again(make, before, **there)
        await after.start()
        assert after.object_id == before.object_id
        assert b"mine" in node.client.containers.get(after.object_id).exec_run(["ls", "/home/jovyan"]).output


async def test_sleep_needs_a_container_that_is_kept(make: Any) -> None:
    with pytest.raises(Exception, match="stop_action is 'pause', which needs remove = False"):
        await make(remove=True).start()
