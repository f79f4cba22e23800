"""What is left of isolated servers that have ended, were deleted, or could not be."""

from __future__ import annotations

import asyncio
import threading

import pytest

from support.fake_engine import api_error
from support.fake_networks import FakeNetworks, isolated
from support.wait import until


@pytest.mark.parametrize("files", ["on a volume", "inside"])
async def test_a_deleted_sleeper_has_no_network_or_nobody_on_it(port: int, files: str) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port, remove=False, stop_action="pause")
    await spawner.start()
    if files == "on a volume":
        mount = {"Type": "volume", "Name": "home", "Destination": "/"}
        client.existing[spawner.object_name]["Mounts"] = [mount]
    await spawner.stop()
    await spawner.delete_forever()
    assert client.on("hub") == client.on("proxy") == set()
    assert (spawner.object_name in client.made) is (files == "inside")
    assert spawner._sleep.sleepers.asleep == {}


async def test_a_sleeper_that_was_removed_by_hand_holds_nothing_for_a_start_that_fails(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port, remove=False, stop_action="pause", gpus=1, gpu_pool=["0"])
    await spawner.start()
    await spawner.stop()
    client.remove_container(spawner.object_id, v=True, force=True)
    client.fail["start"] = [api_error(500, "the engine is unwell")]
    with pytest.raises(Exception, match="unwell"):
        await spawner.start()
    assert list(client.made) == [spawner._networks.egress]
    assert client.on("hub") == set()
    assert spawner._gpus.pool.holders == {}
    assert spawner.get_state() == {"last_gpus": ["0"]}


async def test_whose_network_a_sleeper_was_on_says_the_sleeper(port: int) -> None:
    """Whether the one that looks is isolated says nothing, nor what the container is called."""
    client = FakeNetworks()
    sleeps = {"remove": False, "stop_action": "pause", "max_sleeping": 1}
    first = isolated(client, port, **sleeps)
    client.existing["hub"]["NetworkSettings"]["Networks"]["users"] = {"Aliases": None}
    shared = {"network_isolation": "shared", "network_name": "users"}
    others = [isolated(client, port, name, first.engine, **shared, **sleeps) for name in ("users", "bob")]
    others[0].object_name = "users"
    for spawner in (first, *others):
        await spawner.start()
        await spawner.stop()

    async def ended() -> bool:
        return not any(client.existing[one.object_name]["State"]["Running"] for one in (first, others[0]))

    await until(ended, timeout=10, interval=0.01)

    async def detached() -> bool:
        return client.on("hub") == {"users"}

    await until(detached, timeout=10, interval=0.01)


async def test_a_server_that_could_not_be_stopped_keeps_what_it_has(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port, remove=False, gpus=1, gpu_pool=["0"])
    await spawner.start()
    client.fail["stop"] = [api_error(500, "the engine is unwell")]
    with pytest.raises(Exception, match="unwell"):
        await spawner.stop()
    await spawner.run_post_stop_hook()
    assert spawner.get_state()["gpus"] == ["0"]
    assert spawner._gpus.pool.holders == {"0": ("ann", "")}
    assert client.on("hub") == {spawner.object_name}
    client.die(spawner.object_name, 1)

    async def heard() -> bool:
        word = spawner._watch.last(spawner.object_id)
        return word is not None and not word.running

    await until(heard, timeout=10, interval=0.01)
    await spawner.run_post_stop_hook()
    assert spawner._gpus.pool.holders == {}
    assert client.on("hub") == set()


async def test_a_resumed_server_that_can_not_be_stopped_again_keeps_its_gpus(port: int) -> None:
    client = FakeNetworks()
    first = isolated(client, port, remove=False, gpus=1, gpu_pool=["0"])
    await first.start()
    await first.stop()
    assert first._gpus.pool.holders == {}
    client.fail = {name: [api_error(500, "the engine is unwell")] for name in ("start", "stop")}
    with pytest.raises(Exception, match="unwell"):
        await first.start()
    assert first._gpus.pool.holders == {"0": ("ann", "")}


async def test_a_network_that_can_not_be_made_again_is_held_still(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port)
    await spawner.start()
    networks = spawner._networks
    held = dict(networks._held)
    client.fail["create_network"] = [api_error(500, "the engine is unwell")]
    with pytest.raises(Exception, match="unwell"):
        await networks.make(spawner.object_name, spawner._owner)
    assert networks._held == held
    await spawner.stop()


@pytest.mark.parametrize("order", ["create_network", "remove_network"])
async def test_a_cancel_leaves_no_subnet_taken(port: int, order: str) -> None:
    class Held(FakeNetworks):
        sent, answer = threading.Event(), threading.Event()

        def _order(self, *args: str) -> None:
            super()._order(*args)
            if args[0] == order:
                self.sent.set()
                assert self.answer.wait(10)

    client = Held()
    spawner = isolated(client, port, user_subnet_pool="10.9.0.0/29", allow_internet=False)
    networks = spawner._networks
    working = asyncio.create_task(networks.make("ann", spawner._owner))
    if order == "remove_network":
        await working
        working = asyncio.create_task(networks.remove("ann"))
    assert await asyncio.to_thread(client.sent.wait, 10)
    for _ in range(2):
        working.cancel()
        await asyncio.wait({working}, timeout=0.05)
    with pytest.raises(asyncio.CancelledError):
        await working
    client.answer.set()
    assert networks._subnets.take() is not None
