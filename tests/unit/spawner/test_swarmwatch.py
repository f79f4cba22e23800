"""The swarm's watch against a fake manager: what it knows, when it asks, whom it tells."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from dockerspawner._engine.watch import Watch, Word, shared_watch, watch_of
from dockerspawner._errors.translation import Gone, Unavailable
from dockerspawner._records.ownership import Owner
from dockerspawner._swarm import watch as swarm_watch
from dockerspawner._swarm.tasks import Task
from dockerspawner._swarm.watch import SwarmWatch
from support.fake_engine import api_error, fake_engine
from support.fake_swarm import FakeSwarm
from support.wait import until

ANN = Owner("hub", "ann", "")
LOG = logging.getLogger("test")


def add(swarm: FakeSwarm, name: str, owner: Owner = ANN) -> str:
    labels = owner.labels("x")
    task = {"ContainerSpec": {"Labels": labels}, "Placement": {}}
    return str(swarm.create_service(name=name, labels=labels, task_template=task)["ID"])


def watch_on(swarm: FakeSwarm) -> SwarmWatch:
    return SwarmWatch(fake_engine(swarm), "hub", LOG)


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bool, bool]] = []

    def hear(self, word: Word) -> None:
        self.heard.append((word.name, word.running, word.exists))


async def seen(check: Callable[[], Any]) -> None:
    async def checked() -> Any:
        return check()

    await until(checked, timeout=10, interval=0.005)


async def listened(swarm: FakeSwarm) -> tuple[SwarmWatch, str, Listener]:
    """A watch that knows one service and follows the manager's events, and who listens to it."""
    one, listener, watch = add(swarm, "one"), Listener(), watch_on(swarm)
    assert await watch.word(one)
    watch.listen(one, listener.hear)
    await seen(lambda: swarm.streams)
    return watch, one, listener


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is listed again by the clock alone."""
    monkeypatch.setattr(swarm_watch, "RESYNC", 60.0)
    monkeypatch.setattr(swarm_watch, "SOONEST", 0.01)


async def test_all_is_known_from_one_list(slow: None) -> None:
    swarm = FakeSwarm()
    ids = [add(swarm, f"server-{number}") for number in range(50)]
    swarm.calls.clear()
    watch = watch_on(swarm)
    words = [await watch.word(one) for one in ids]
    assert all(word and word.running for word in words)
    assert {word.name for word in words if word} == {f"server-{number}" for number in range(50)}
    assert [method for method, _ in swarm.calls] == ["tasks", "services"]
    assert await watch.word("no-such-id") is None


async def test_others_are_not_ours(slow: None) -> None:
    swarm = FakeSwarm()
    add(swarm, "theirs", Owner("other", "ann", ""))
    mine = add(swarm, "mine")
    watch = watch_on(swarm)
    assert [word.id for word in await watch.of(ANN)] == [mine]


async def test_names_are_asked_for_once(slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    await watch.word(one)
    for _ in range(3):
        await watch._sync()
    assert (swarm.count("tasks"), swarm.count("services")) == (4, 1)


async def test_a_task_that_outlives_its_service_is_asked_about_once(slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    await watch.word(one)
    swarm.lose("n1")
    swarm.remove_service(one)
    watch.stopped(one)
    for _ in range(3):
        await watch._sync()
    assert swarm.tasks_there
    assert swarm.count("services") == 2
    assert await watch.word(one) is None


async def test_an_end_is_told_and_so_is_a_removal(slow: None) -> None:
    swarm = FakeSwarm()
    watch, one, listener = await listened(swarm)
    swarm.end(one, code=3)
    await watch._sync()
    assert listener.heard == [("one", False, True)]
    word = watch.last(one)
    assert word is not None
    assert not word.running
    await watch._sync()
    assert len(listener.heard) == 1
    swarm.remove_service(one)
    await watch._sync()
    assert listener.heard[1:] == [("one", False, False)]
    assert await watch.word(one) is None


async def test_a_lost_node_prompts_a_list(slow: None) -> None:
    swarm = FakeSwarm()
    _, _, listener = await listened(swarm)
    swarm.lose("n1")
    await seen(lambda: listener.heard)
    assert listener.heard == [("one", False, True)]


async def test_a_removal_by_others_prompts_a_list(slow: None) -> None:
    swarm = FakeSwarm()
    _, one, listener = await listened(swarm)
    swarm.remove_service(one)
    swarm.emit("service", "remove", one, name="one")
    await seen(lambda: listener.heard)
    assert listener.heard == [("one", False, False)]


async def test_a_service_without_a_task_does_not_run(slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    swarm.tasks_there.clear()
    word = await watch_on(swarm).word(one)
    assert word is not None
    assert (word.running, word.exists) == (False, True)


async def test_what_was_made_during_a_list_is_not_taken_for_gone(slow: None) -> None:
    swarm = FakeSwarm()
    watch = watch_on(swarm)
    await watch.word("none")
    loop, listed, asked = asyncio.get_running_loop(), swarm.tasks, asyncio.Event()
    may_answer = threading.Event()

    def tasks(filters: dict[str, Any]) -> list[dict[str, Any]]:
        answer = listed(filters)
        loop.call_soon_threadsafe(asked.set)
        assert may_answer.wait(10)
        return answer

    swarm.tasks = tasks  # type: ignore[method-assign]
    listing = asyncio.ensure_future(watch._sync())
    await asked.wait()
    watch.made("new", "new-one", ANN)
    may_answer.set()
    await listing
    word = watch.last("new")
    assert word is not None
    assert word.running


async def test_whoever_looks_shares_calls(slow: None) -> None:
    swarm = FakeSwarm()
    ids = [add(swarm, f"server-{number}") for number in range(30)]
    watch = watch_on(swarm)
    await watch.word(ids[0])
    swarm.calls.clear()
    found = await asyncio.gather(*(watch.look(one) for one in ids))
    assert [task.service for task in found if task] == ids
    assert swarm.count("tasks") <= 2


async def test_one_that_is_gone_hides_no_other(slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    there, gone = await asyncio.gather(watch.look(one), watch.look("gone"), return_exceptions=True)
    assert isinstance(there, Task)
    assert isinstance(gone, Gone)


async def test_a_manager_that_can_not_tell(monkeypatch: pytest.MonkeyPatch, slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    assert await watch.word(one)
    swarm.fail["tasks"] = [api_error(503, "The swarm does not have a leader") for _ in range(9)]
    # The list is young enough.
    assert await watch.word(one)
    monkeypatch.setattr(swarm_watch, "TOO_OLD", 0.0)
    with pytest.raises(Unavailable, match="leader"):
        await watch.word(one)
    with pytest.raises(Unavailable, match="leader"):
        await watch.look(one)
    word = watch.last(one)
    assert word is not None
    assert word.running
    swarm.fail.clear()
    assert await watch.word(one)


async def test_one_watch_of_each_kind() -> None:
    engine = fake_engine(FakeSwarm())
    watch = shared_watch(SwarmWatch, engine, "hub", LOG)
    assert shared_watch(SwarmWatch, engine, "hub", LOG) is watch
    assert isinstance(watch_of(engine, "hub", LOG), Watch)


@pytest.mark.parametrize(
    "broken", [None, 7, {}, {"ID": "t"}, {"ID": "t", "Spec": None}, {"ID": "t", "Spec": {"ContainerSpec": None}}]
)
async def test_task_of_unexpected_shape_is_logged_once_and_ends_no_server(
    slow: None, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    swarm = FakeSwarm()
    one, two = add(swarm, "one"), add(swarm, "two")
    watch = watch_on(swarm)
    assert await watch.word(one)
    task = swarm.task_of(one)["ID"]
    swarm.tasks = lambda filters: [broken, *(task for task in swarm.tasks_there.values() if task["ServiceID"] == two)]  # type: ignore[method-assign]
    for _ in range(3):
        await watch._sync()
    assert (watch.last(one).running, watch.last(two).running) == (True, True)  # type: ignore[union-attr]
    assert isinstance(await asyncio.wait_for(watch.look(two), 10), Task)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(watch.look(one), 10)
    assert task in swarm.tasks_there
    assert [record.levelname for record in caplog.records if "unexpected shape" in record.getMessage()] == ["WARNING"]


async def test_look_that_could_not_be_sent_is_sent_again(slow: None) -> None:
    """As during a restart of a manager: a start waits for the answer."""
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    await watch.word(one)
    cause = ConnectionRefusedError(111, "Connection refused")
    swarm.fail["tasks"] = [requests.ConnectionError(cause), requests.ConnectionError(cause)]
    assert isinstance(await watch.look(one), Task)


@pytest.mark.parametrize("answer", [{"message": "?"}, 7, "text"])
async def test_answer_of_unexpected_shape_leaves_no_look_waiting(slow: None, answer: Any) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    assert await watch.word(one)
    swarm.tasks = lambda filters: answer  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(watch.look(one), 10)
    word = watch.last(one)
    assert word is not None
    assert word.running


async def test_cancelled_looker_leaves_no_look_waiting(slow: None) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    await watch.word(one)
    may_answer, asked = threading.Event(), threading.Event()
    swarm.tasks = lambda filters: asked.set() or may_answer.wait(10) or []  # type: ignore[func-returns-value,method-assign,return-value]
    looks = [asyncio.ensure_future(watch.look(one)) for _ in range(3)]
    await asyncio.to_thread(asked.wait, 10)
    looks.append(asyncio.ensure_future(watch.look(one)))
    await asyncio.sleep(0)
    assert watch._looker is not None
    watch._looker.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*looks, return_exceptions=True), 10)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    may_answer.set()


async def test_service_of_unexpected_shape_ends_no_server(slow: None, caplog: pytest.LogCaptureFixture) -> None:
    swarm = FakeSwarm()
    one = add(swarm, "one")
    watch = watch_on(swarm)
    assert await watch.word(one)
    swarm.tasks = lambda filters: []  # type: ignore[method-assign]
    swarm.services = lambda filters: [{"ID": one}, None]  # type: ignore[method-assign,list-item]
    for _ in range(2):
        await watch._sync()
    word = watch.last(one)
    assert word is not None
    assert word.exists
    assert [record.levelname for record in caplog.records if "unexpected shape" in record.getMessage()] == ["WARNING"]


async def test_events_of_unexpected_shape_are_survived(slow: None) -> None:
    swarm = FakeSwarm()
    _, one, listener = await listened(swarm)
    for event in (7, {}, {"Type": "node"}, {"Type": "service", "Action": "remove", "Actor": None}):
        swarm.streams[0].events.put(event)  # type: ignore[arg-type]
    swarm.remove_service(one)
    swarm.streams[0].events.put({"Type": "service", "Action": "Remove", "Actor": {"ID": one}})
    await seen(lambda: listener.heard)
    assert listener.heard == [("one", False, False)]


async def test_docker_and_swarm_watches_of_one_engine_both_follow() -> None:
    class Both(FakeSwarm):
        def containers(self, all: bool, filters: Any) -> list[Any]:
            return []

    swarm = Both()
    engine = fake_engine(swarm)
    one = add(swarm, "one")
    watches = [shared_watch(kind, engine, "hub", LOG) for kind in (Watch, SwarmWatch)]
    assert await watches[0].word(one) is None
    assert (await watches[1].word(one)).running
    await seen(lambda: len(swarm.streams) == 2)


@pytest.mark.parametrize("steps", range(5))
async def test_follower_cancelled_while_it_is_prompted_ends(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_watch, "SOONEST", 0)
    watch, _, _ = await listened(FakeSwarm())
    # The list is made, and the watch waits to be prompted.
    await seen(lambda: watch._prompted._waiters)
    watch._prompted.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    watch._follower.cancel()
    await asyncio.wait({watch._follower}, timeout=2)
    assert watch._follower.cancelled()
