from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from dockerspawner._engine.watch import Watch
from dockerspawner._start import paused
from dockerspawner._start.paused import Sleeper, overdue
from dockerspawner._start.sleep import TRIES
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner
from support.wait import until


@pytest.mark.parametrize(
    ("most", "longest", "ended"),
    [(0, 0, []), (2, 0, ["a"]), (5, 0, []), (0, 25, ["a"]), (0, 15, ["a", "b"]), (1, 25, ["a", "b"])],
)
def test_whom_to_end(most: int, longest: float, ended: list[str]) -> None:
    assert overdue({"c": 30, "a": 10, "b": 20}, now=36, most=most, longest=longest) == ended


def test_since_when_it_sleeps_is_in_the_state() -> None:
    spawner = make_spawner(stop_action="pause")
    state: dict[str, Any] = {"object_id": "1", "object_name": "x", "paused_at": 5.0}
    spawner.load_state(state)
    assert spawner.get_state() == state


# On an engine


@pytest.fixture
def make(port: int) -> Callable[..., Any]:
    """Makes servers of one engine that sleep where they are stopped; their homes are on volumes."""

    def make(client: FakeClient, name: str = "ann", before: Any = None, **traits: Any) -> Any:
        engine = traits.pop("engine", None) or (before.engine if before else fake_engine(client))
        settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2}
        spawner: Any = make_spawner(name, engine=engine, **{"stop_action": "pause", **settings, **traits})
        # Its working directory is on no volume otherwise.
        spawner._home = lambda: "/home"
        if before:
            spawner.load_state(before.get_state())
            spawner.clear_state()
        return spawner

    return make


class Volumes(FakeClient):
    """Containers with a volume at /home; `held` stops wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        self.timeouts: dict[str, int | None] = {}
        self.go_on = threading.Event()

    def create_container(self, **spec: Any) -> dict[str, Any]:
        created = super().create_container(**spec)
        self.existing[spec["name"]]["Mounts"] = [{"Type": "volume", "Name": "home", "Destination": "/home"}]
        return created

    def stop(self, key: str, timeout: int | None) -> None:
        self.timeouts[key] = timeout
        if key in self.held:
            self.calls.append("stop")
            assert self.go_on.wait(10)
        super().stop(key, timeout)

    def state(self, name: str) -> str:
        state = self.existing[f"jupyter-{name}"]["State"]
        return "paused" if state.get("Paused") else "running" if state["Running"] else "exited"


async def states(client: Volumes, **expected: str) -> None:
    async def reached() -> bool:
        return {name: client.state(name) for name in expected} == expected

    await until(reached, timeout=10, interval=0.01, what=str(expected))


async def asleep(make: Any, client: Volumes, *names: str, **traits: Any) -> list[Any]:
    engine, found = fake_engine(client), []
    for name in names:
        found.append(make(client, name, engine=engine, **traits))
        await found[-1].start()
        await found[-1].stop()
    return found


async def test_who_has_just_fallen_asleep_is_not_forgotten_for_a_late_event(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def frozen(watch: Watch) -> set[str]:
        return late.pop() if late else await heard(watch)

    client, late, heard = Volumes(), [set[str]()], Watch.frozen
    monkeypatch.setattr(Watch, "frozen", frozen)
    monkeypatch.setattr(paused, "_LOOK_AGAIN", 0.01)
    await asleep(make, client, "ann", "bob", max_sleeping=1)
    await states(client, ann="exited", bob="paused")
    assert late == []


async def test_without_a_paused_server_the_engine_is_not_asked_for_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> Any:
        raise AssertionError("the engine is asked")

    monkeypatch.setattr(paused, "watch_of", ask)
    monkeypatch.setattr(paused, "servers_on_record", lambda session: [])
    none = paused.Sleepers(fake_engine(Volumes()), "hub", None, logging.getLogger())
    assert not await none._end_overdue()


async def test_who_is_woken_while_another_is_ended_goes_on(make: Any) -> None:
    client = Volumes()
    ann, bob, _ = await asleep(make, client, "ann", "bob", "cyd")
    client.held.add(ann.object_id)
    last = make(client, "dan", engine=ann.engine, max_sleeping=1)
    await last.start()
    # The stop of the last one doesn't wait for the ends of others.
    await last.stop()

    async def ending() -> bool:
        return "stop" in client.calls

    await until(ending, timeout=10, interval=0.01)
    woken = make(client, "bob", before=bob)
    await woken.start()
    client.go_on.set()
    await states(client, ann="exited", bob="running", cyd="exited", dan="paused")

    async def forgotten() -> bool:
        return set(ann._sleep.sleepers.asleep) == {last.object_id}

    # The container ends before the spawner forgets that it was paused.
    await until(forgotten, timeout=10, interval=0.01)


async def test_expire_sleepers_have_their_own_stop_timeouts(make: Any) -> None:
    client = Volumes()
    ann, bob, cyd = await asleep(make, client, "ann", "bob", "cyd")
    short = {"display_name": "Short", "docker_override": {"stop_timeout": 7}}
    long = make(client, "dan", engine=ann.engine, stop_timeout=3, profile_list=[{"display_name": "Plain"}, short])
    long.user_options = {"profile": "short"}
    await long.start()
    await long.stop()
    # Like the hub after a stop, and at its start: the profile's settings no longer apply.
    long.clear_state()
    assert long.stop_timeout == 3
    assert long.get_state()["paused_stop_timeout"] == 7
    loaded = make(client, "dan", before=long)
    assert loaded.get_state()["paused_stop_timeout"] == 7
    assert Sleeper.of(loaded.get_state()).stop_timeout == 7
    eve = make(client, "eve", engine=ann.engine, max_sleeping=1, stop_timeout=9)
    await eve.start()
    await eve.stop()
    await states(client, ann="exited", bob="exited", cyd="exited", dan="exited", eve="paused")
    assert client.timeouts == {ann.object_id: None, bob.object_id: None, cyd.object_id: None, long.object_id: 7}


async def test_a_start_waits_for_the_end_of_its_sleeper(make: Any) -> None:
    client = Volumes()
    ann, bob = await asleep(make, client, "ann", "bob")
    client.held.add(ann.object_id)
    ann._sleep.sleepers.keep(1, 0)
    ann._sleep.sleepers._news.set_result(None)

    async def ending() -> bool:
        return "stop" in client.calls

    await until(ending, timeout=10, interval=0.01)
    threading.Timer(0.2, client.go_on.set).start()
    woken = make(client, "ann", before=ann)
    await woken.start()
    assert client.state("ann") == "running"
    assert "unpause" not in client.calls
    assert bob._sleep.sleepers.asleep.keys() == {bob.object_id}


async def test_news_do_not_swallow_the_end_of_the_loop(make: Any) -> None:
    client = Volumes()
    (ann,) = await asleep(make, client, "ann", max_sleeping=1)
    keeper = ann._sleep.sleepers._keeper

    async def waits() -> bool:
        # A future has callbacks while somebody waits for it.
        return bool(ann._sleep.sleepers._news._callbacks)

    await until(waits, timeout=10, interval=0.01)
    ann._sleep.sleepers.add(ann.object_id, ann._sleep.sleepers.asleep[ann.object_id])
    keeper.cancel()
    done, _ = await asyncio.wait({keeper}, timeout=5)
    assert done
    assert keeper.cancelled()


async def test_a_thaw_that_fails_leaves_no_sleeper(make: Any) -> None:
    client = Volumes()
    (before,) = await asleep(make, client, "ann")
    after = make(client, before=before)
    client.fail["unpause"] = [api_error(500, "the engine is unwell")]
    with pytest.raises(Exception, match="the engine is unwell"):
        await after.start()
    assert client.state("ann") == "exited"
    assert "paused_at" not in after.get_state()
    assert after._sleep.sleepers.asleep == {}


async def test_a_sleeper_that_is_replaced_is_none(make: Any) -> None:
    client = Volumes()
    (before,) = await asleep(make, client, "ann")
    after = make(client, before=before, environment={"NEW": "1"})
    client.fail["start"] = [api_error(500, "the engine is unwell")]
    with pytest.raises(Exception, match="the engine is unwell"):
        await after.start()
    assert client.existing == {}
    assert after.get_state() == {}
    assert after._sleep.sleepers.asleep == {}


async def test_a_sleeper_that_somebody_has_ended_does_not_count(make: Any) -> None:
    client = Volumes()
    ann, bob, _ = await asleep(make, client, "ann", "bob", "cyd")
    client.die("jupyter-cyd", 137)
    ann._sleep.sleepers.keep(2, 0)
    ann._sleep.sleepers._news.set_result(None)

    async def seen() -> bool:
        return ann._sleep.sleepers.asleep.keys() == {ann.object_id, bob.object_id}

    await until(seen, timeout=10, interval=0.01)
    assert client.state("ann") == "paused"


@pytest.mark.parametrize("status", [500, 400, 404])
async def test_who_can_not_be_frozen_is_stopped(make: Any, status: int) -> None:
    client = Volumes()
    spawner = make(client)
    await spawner.start()
    client.fail["pause"] = [api_error(status, "cgroup can't be frozen")] * TRIES
    await spawner.stop()
    assert client.state("ann") == "exited"


async def test_who_is_too_busy_to_be_frozen_at_once_is_frozen_all_the_same(make: Any) -> None:
    client = Volumes()
    spawner = make(client)
    await spawner.start()
    client.fail["pause"] = [api_error(500, "OCI runtime pause failed: unable to freeze")] * (TRIES - 1)
    await spawner.stop()
    assert client.state("ann") == "paused"


async def test_a_renamed_sleeper_leaves_nothing(make: Any) -> None:
    client = Volumes()
    (spawner,) = await asleep(make, client, "ann", gpus=1, gpu_pool=["0"])
    spawner.orm_spawner = orm.Spawner(name="", state={})
    left: list[str] = []

    async def leave_network() -> None:
        left.append(spawner.object_id)

    spawner._leave_network = leave_network
    await spawner.rename("", "lab")
    assert (spawner._sleep.sleepers.asleep, spawner._gpus.pool.holders, left) == ({}, {}, [""])
    assert spawner.orm_spawner.state == {"last_gpus": ["0"]}


async def test_a_thawed_server_has_no_event_of_a_start_to_come(make: Any) -> None:
    client = Volumes()
    (before,) = await asleep(make, client, "ann")
    after = make(client, before=before)
    await after.start()
    assert after._attempt.start_event_due is False


# After a restart of the hub


@pytest.fixture
def db() -> Any:
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


async def test_a_hub_that_was_restarted_ends_who_has_slept_too_long(
    make: Any, db: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever starts first sees to it; what fails is tried again; the record is told, and others have the GPUs."""
    monkeypatch.setattr(paused, "_LOOK_EVERY", 0.01)
    client = Volumes()
    limits = {"pause_max_age": 1000.0, "gpu_pool": ["0"]}
    (ann,) = await asleep(make, client, "ann", gpus=1, **limits)
    user = orm.User(name="ann")
    state = {**ann.get_state(), "paused_at": 1.0}
    user._orm_spawners.append(orm.Spawner(name="", state=state))
    db.add(user)
    db.commit()
    bob = make(client, "bob", instance=ann.instance, **limits)
    bob.user.db = db
    bob.log.propagate = True
    assert bob._gpus.pool.holders == {"0": (user.id, "")}
    monkeypatch.setattr(paused, "overdue", fails_once(paused.overdue))
    await bob.start()
    await states(client, ann="exited", bob="running")

    async def told() -> bool:
        return "paused_at" not in user.orm_spawners[""].state

    await until(told, timeout=10, interval=0.01)
    assert user.orm_spawners[""].state == {name: value for name, value in state.items() if name != "paused_at"}
    assert bob._gpus.pool.holders == {}
    assert "can't be ended now" in caplog.text


def fails_once(function: Any) -> Any:
    failures = [RuntimeError("for once")]

    def wrapped(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return function(*args)

    return wrapped
