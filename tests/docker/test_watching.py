"""Following a real engine: many instances at once, broken streams, and an engine behind SSH."""

from __future__ import annotations

import threading
from typing import Any

import docker
import pytest
from docker.utils import kwargs_from_env

from dockerspawner import DockerSpawner
from dockerspawner._engine import watch as watching
from dockerspawner._engine.watch import shared_watch
from dockerspawner._swarm.watch import SwarmWatch
from support.relay import Relay
from support.wait import until

pytestmark = pytest.mark.needs("engine")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("docker-events")]


async def seen(check: Any, what: str) -> None:
    async def checked() -> Any:
        return check()

    await until(checked, timeout=20, interval=0.02, what=what)


async def test_five_instances_of_one_engine_hear_of_every_end(
    make: Any, client: Any, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RESYNC", 0.2)
    names = [f"{instance}-{number}" for number in range(5)]
    spawners = [make(prefix=name, instance=name, remove=True) for name in names]
    assert len({spawner.engine for spawner in spawners}) == 1
    before = set(threads())
    for spawner in spawners:
        await spawner.start()
    # In addition to a swarm's watch, even if the engine is not a swarm manager.
    swarm = shared_watch(SwarmWatch, spawners[0].engine, instance, spawners[0].log)
    await seen(lambda: swarm._stream and swarm._stream.is_open, "the swarm's events are followed")
    await seen(lambda: all(spawner._watch.following for spawner in spawners), "all are followed")
    streams = [spawner._watch._stream for spawner in spawners]
    lists = [spawner._watch._syncing for spawner in spawners]
    for _ in range(5):
        await seen(
            lambda: all(
                spawner._watch._syncing is not old
                for spawner, old in zip(spawners, lists, strict=True)  # noqa: B023
            ),
            "each has listed again",
        )
        lists = [spawner._watch._syncing for spawner in spawners]
    assert [spawner._watch._stream for spawner in spawners] == streams
    assert len(set(threads()) - before) == 6
    monkeypatch.setattr(watching, "RESYNC", 3600.0)
    await seen(lambda: all(spawner._watch.following for spawner in spawners), "all are followed")
    for spawner in spawners:
        client.containers.get(spawner.object_id).kill()
    for spawner in spawners:
        await seen(lambda: not spawner._watch.last(spawner.object_id).running, "the end is heard")  # noqa: B023
        assert await spawner.poll() == 137
        await spawner.stop()
    for spawner in spawners:
        spawner._watch._follower.cancel()
    swarm._follower.cancel()
    await seen(lambda: not set(threads()) - before, "the streams have ended")


async def test_subclass_that_makes_a_client_at_each_access_has_one_engine_and_one_stream(
    make: Any, containers: Any
) -> None:
    class Own(DockerSpawner):
        @property
        def client(self) -> docker.APIClient:
            return docker.APIClient(**kwargs_from_env())

    before = set(threading.enumerate())
    one = make("u0", remove=True, cls=Own)
    await one.start()
    await seen(lambda: one._watch.following, "it is followed")
    others = [make(f"u{number}", remove=True, cls=Own) for number in range(1, 4)]
    for spawner in others:
        await spawner.start()
    assert {spawner.engine for spawner in others} == {one.engine}
    new = {thread for thread in threading.enumerate() if thread.name.startswith("docker-")} - before
    assert sum(thread.name.startswith("docker-events") for thread in new) == 1
    # Threads of the engine's pools: quick calls, slow calls and pulls.
    assert len(new) <= 1 + 3 * 8
    for spawner in (one, *others):
        assert await spawner.poll() is None
        await spawner.stop()
    assert containers() == []
    one._watch._follower.cancel()


async def test_streams_broken_twenty_times_leave_no_thread(
    make: Any, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LONGEST_PAUSE", 0.1)
    spawner = make(remove=True, client_kwargs={"base_url": relay.url})
    await spawner.start()
    before = len(threading.enumerate())
    for _ in range(20):
        stream = spawner._watch._stream
        relay.take_away()
        await stream.ended
        relay.put_back()
        await seen(lambda: spawner._watch.following and spawner._watch._stream is not stream, "followed again")  # noqa: B023
        assert await spawner.poll() is None
    await seen(lambda: len(threading.enumerate()) <= before + 4, "threads of the relay and of old streams have ended")
    await spawner.stop()
