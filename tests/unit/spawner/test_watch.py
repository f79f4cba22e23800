"""The watch against a fake engine: what it knows, when it asks, whom it tells."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner._engine import watch as watching
from dockerspawner._engine.watch import Watch, Word, as_inspected, watch_of
from dockerspawner._errors.translation import Unavailable
from dockerspawner._records.ownership import Owner
from support.fake_engine import FakeClient, api_error, fake_engine
from support.wait import until

ANN = Owner("hub", "ann", "")
LOG = logging.getLogger("test")


def add(client: FakeClient, name: str, running: bool = True, owner: Owner = ANN) -> str:
    """A container of the engine's that nobody has told of."""
    client.images.add("tiny")
    host = {"NetworkMode": "users"}
    client.create_container(image="tiny", name=name, labels=owner.labels("x"), environment={}, host_config=host)
    client.existing[name]["State"]["Running"] = running
    return f"id-of-{name}"


def watch_on(client: FakeClient, **sizes: Any) -> Watch:
    return Watch(fake_engine(client, **sizes), "hub", LOG)


class Listener:
    """Keeps what it is told of containers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool, bool]] = []

    def hear(self, word: Word) -> None:
        self.heard.append((word.name, word.running, word.exists))


async def heard(check: Callable[[], Any]) -> None:
    async def checked() -> Any:
        return check()

    await until(checked, timeout=10, interval=0.005)


async def test_all_is_known_from_one_list() -> None:
    client = FakeClient()
    ids = [add(client, f"server-{number}") for number in range(50)]
    dead = add(client, "dead", running=False)
    watch = watch_on(client)
    words = await asyncio.gather(*(watch.word(one) for one in [*ids, dead, "nobody"]))
    assert [word is not None and word.running for word in words] == [True] * 50 + [False, False]
    assert words[-1] is None
    assert client.followed == ["events", "containers"]


async def test_events_tell_of_starts_ends_and_removals() -> None:
    client = FakeClient()
    watch = watch_on(client)
    assert await watch.word("id-of-one") is None
    one = add(client, "one", running=False)
    client.start(one)
    await heard(lambda: watch.last(one))
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    assert [word.name for word in await watch.of(ANN)] == ["one"]
    client.emit("rename", "one")
    client.die("one", 3)
    await heard(lambda: not watch.last(one).running)  # type: ignore[union-attr]
    assert not (await watch.word(one)).running  # type: ignore[union-attr]
    client.remove_container(one, v=True, force=True)
    await heard(lambda: watch.last(one) is None)
    assert await watch.of(ANN) == []
    assert client.followed == ["events", "containers"]


async def test_watch_of_an_id_from_the_state_covers_any_labels() -> None:
    client, listener = FakeClient(), Listener()
    former = add(client, "former", owner=Owner("former", "ann", ""))
    add(client, "theirs", owner=Owner("former", "bob", ""))
    watch = watch_on(client)
    watch.listen(former, listener.hear)
    watch.listen("id-of-nobody", listener.hear)
    assert (await watch.word(former)).running  # type: ignore[union-attr]
    assert await watch.word("id-of-theirs") is None
    assert await watch.word("id-of-nobody") is None
    assert client.followed == ["events", "containers", "containers"]
    client.die("former", 1)
    await heard(lambda: ("former", False, True) in listener.heard)


async def test_expect_lists_again_for_an_id_that_is_new() -> None:
    client = FakeClient()
    former = add(client, "former", owner=Owner("former", "ann", ""))
    client.pause(former)
    watch = watch_on(client)
    assert await watch.frozen() == set()
    await watch.expect([former])
    assert await watch.frozen() == {former}
    await watch.expect([former])
    assert client.followed.count("containers") == 3


async def test_what_was_stopped_by_order_does_not_run_before_its_event_has_come() -> None:
    client = FakeClient()
    container = add(client, "ann")
    watch = watch_on(client)
    assert (await watch.word(container)).running  # type: ignore[union-attr]
    watch.stopped(container)
    watch.stopped("id-of-nobody")
    assert not (await watch.word(container)).running  # type: ignore[union-attr]


async def test_what_happened_while_the_stream_was_cut_shows_in_the_list_that_follows() -> None:
    client, listener = FakeClient(), Listener()
    names = ["dies", "goes", "stays"]
    ids = [add(client, name) for name in names]
    watch = watch_on(client)
    await watch.word(ids[0])
    for one in ids:
        watch.listen(one, listener.hear)
    client.cut()
    client.silent = True
    client.die("dies", 1)
    client.remove_container("goes", v=True, force=True)
    await heard(lambda: len(listener.heard) == 2)
    assert sorted(listener.heard) == [("dies", False, True), ("goes", False, False)]
    assert (await watch.word(ids[2])).running  # type: ignore[union-attr]


async def test_who_observes_is_told_of_the_starts_of_all_containers() -> None:
    client, starts = FakeClient(), []
    watch = watch_on(client)
    await watch.word("id-of-one")
    watch.observe(lambda event: starts.append(event and event["Actor"]["ID"]))
    for name, owner in (("ours", ANN), ("foreign", Owner("other", "ann", ""))):
        client.start(add(client, name, running=False, owner=owner))
    await heard(lambda: len(starts) == 2)
    assert starts == ["id-of-ours", "id-of-foreign"]
    assert watch.last("id-of-ours")
    assert watch.last("id-of-foreign") is None
    assert client.followed == ["events", "containers"]


async def test_another_address_is_told_of_and_asked_for() -> None:
    client, listener = FakeClient(), Listener()
    ours, foreign = add(client, "ours"), add(client, "foreign", owner=Owner("other", "ann", ""))
    watch = watch_on(client)
    assert (await watch.word(ours)).described  # type: ignore[union-attr]
    watch.listen(ours, listener.hear)
    watch.listen(foreign, listener.hear)
    client.leave("ours")
    await heard(lambda: watch.last(ours).described is None)  # type: ignore[union-attr]
    assert listener.heard == []
    client.join("foreign", "10.0.0.9")
    client.join("ours", "10.0.0.9")
    await heard(lambda: listener.heard)
    assert listener.heard == [("ours", True, True)]
    assert client.followed == ["events", "containers"]


async def test_the_networks_of_what_is_about_to_start_are_no_news() -> None:
    client, listener = FakeClient(), Listener()
    one = add(client, "one", running=False)
    watch = watch_on(client)
    await watch.word(one)
    watch.listen(one, listener.hear)
    client.join("one", "10.0.0.9")
    client.start(one)
    await heard(lambda: listener.heard)
    assert listener.heard == [("one", True, True)]


async def test_silence_is_not_trusted_for_longer_than_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RESYNC", 0.05)
    client, listener = FakeClient(), Listener()
    one = add(client, "one")
    watch = watch_on(client)
    await watch.word(one)
    watch.listen(one, listener.hear)
    client.silent = True
    client.die("one", 1)
    await heard(lambda: listener.heard)
    assert listener.heard[0] == ("one", False, True)


async def test_an_engine_that_is_away_is_asked_once_for_all_who_ask() -> None:
    client = FakeClient()
    watch = watch_on(client)
    await watch.word("x")
    client.fail["events"] = [requests.ConnectionError("refused")] * 1000
    client.cut()
    await heard(lambda: not watch.following)
    client.followed.clear()
    outcomes = await asyncio.gather(*(watch.word("x") for _ in range(100)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert len(client.followed) <= 2
    client.fail["events"].clear()
    assert await watch.word("x") is None
    assert watch.following


async def test_an_engine_that_lists_but_tells_of_no_events_is_asked_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeClient()
    one = add(client, "one")
    client.fail["events"] = [api_error(403, "forbidden")] * 1000
    watch = watch_on(client)
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    client.die("one", 1)
    await heard(lambda: not watch.last(one).running)  # type: ignore[union-attr]
    assert not watch.following
    assert sum("tells of no events" in record.getMessage() for record in caplog.records) == 1


async def test_an_engine_that_hangs_is_given_up_after_the_quick_time_out() -> None:
    class Hanging(FakeClient):
        def events(self, filters: Any, decode: bool) -> Any:
            assert self.may_pull.wait(10)
            return super().events(filters, decode)

        def containers(self, all: bool, filters: Any) -> Any:
            assert self.may_pull.wait(10)
            return super().containers(all, filters)

    client = Hanging()
    client.may_pull.clear()
    watch = watch_on(client, quick_timeout=0.05)
    with pytest.raises(Unavailable):
        await watch.word("x")
    client.may_pull.set()
    await heard(lambda: watch.following)


async def test_a_list_is_older_than_the_events_that_came_after_it_was_asked_for() -> None:
    class Slow(FakeClient):
        def containers(self, all: bool, filters: Any) -> Any:
            listed = super().containers(all, filters)
            if self.streams:
                # What the list has not seen yet happens, and is heard, before the list arrives.
                add(self, "new", running=False)
                self.start("id-of-new")
                self.die("old", 1)
                self.heard_meanwhile()
            return listed

        def heard_meanwhile(self) -> None:
            asyncio.run_coroutine_threadsafe(
                heard(lambda: watch.last("id-of-old") and not watch.last("id-of-old").running),  # type: ignore[union-attr]
                loop,
            ).result(10)

    loop = asyncio.get_running_loop()
    client = Slow()
    add(client, "old")
    watch = watch_on(client)
    assert (await watch.word("id-of-new")).running  # type: ignore[union-attr]
    assert not (await watch.word("id-of-old")).running  # type: ignore[union-attr]


@pytest.mark.parametrize(("order", "true"), [("stopped", "running"), ("paused", "paused")])
async def test_a_list_is_older_than_an_order_that_came_after_it_was_asked_for(order: str, true: str) -> None:
    class Slow(FakeClient):
        def containers(self, all: bool, filters: Any) -> Any:
            listed = super().containers(all, filters)

            async def carried_out() -> None:
                getattr(watch, order)("id-of-old")

            asyncio.run_coroutine_threadsafe(carried_out(), loop).result(10)
            return listed

    loop = asyncio.get_running_loop()
    client = Slow()
    # So that each word is asked for.
    client.fail["events"] = [api_error(403, "forbidden")] * 1000
    add(client, "old")
    watch = watch_on(client)
    # The first list is of what was not known yet.
    before, after = [vars(await watch.word("id-of-old"))[true] for _ in range(2)]
    assert before != after


EVENTS = st.lists(st.sampled_from(["start", "die", "oom", "rename", "destroy"]), max_size=8)


@given(EVENTS, st.randoms(use_true_random=False), st.data())
def test_any_order_and_any_repetition_ends_at_the_last_word(actions: list[str], chance: Any, data: Any) -> None:
    """Of starts and ends the latest counts, in whatever order they come and however often."""
    lived = [action for action in actions if action != "destroy"]
    timed = list(zip(itertools.count(1), lived, strict=False))
    repeated = timed + data.draw(st.lists(st.sampled_from(timed), max_size=4) if timed else st.just([]))
    chance.shuffle(repeated)

    async def play() -> Word | None:
        watch = watch_on(FakeClient())
        for at, action in repeated:
            attributes = {"name": "one", "exitCode": "1", **ANN.labels("x")}
            actor = {"ID": "1", "Attributes": attributes}
            watch._hear({"Type": "container", "Action": action, "Actor": actor, "timeNano": at})
        return watch.last("1")

    word = asyncio.run(play())
    changes = [action for action in lived if action in ("start", "die")]
    assert (word.running if word else False) == (bool(changes) and changes[-1] == "start")


def test_memory_used_up_long_ago_is_not_why_it_ended() -> None:
    second = 1_000_000_000
    word = Word("1", "one", ANN, running=False, at=100 * second)
    assert not word.spared
    word.out_of_memory_at = 99 * second
    assert not word.spared
    word.out_of_memory_at = 10 * second
    assert word.spared


def test_a_listed_container_in_the_shape_of_an_inspected_one() -> None:
    networks = {"users": {"IPAddress": "10.0.0.2"}}
    summary = {
        "Id": "1",
        "State": "paused",
        "HostConfig": {"NetworkMode": "users"},
        "NetworkSettings": {"Networks": networks},
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 8888, "PublicPort": 32768, "Type": "tcp"},
            {"PrivatePort": 9999, "Type": "tcp"},
        ],
    }
    assert as_inspected(summary) == {
        "Id": "1",
        "State": {"Status": "paused", "Running": True},
        "HostConfig": {"NetworkMode": "users"},
        "NetworkSettings": {
            "Networks": networks,
            "Ports": {"8888/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}], "9999/tcp": []},
        },
    }


async def test_one_watch_for_an_instance_and_a_loop() -> None:
    engine = fake_engine(FakeClient())
    watch = watch_of(engine, "hub", LOG)
    assert watch_of(engine, "hub", LOG) is watch
    assert watch_of(engine, "other", LOG) is not watch

    async def elsewhere() -> bool:
        return watch_of(engine, "hub", LOG) is watch

    assert await asyncio.to_thread(asyncio.run, elsewhere()) is False


async def test_watches_of_five_instances_keep_their_streams_at_every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RESYNC", 0.02)
    client, listener = FakeClient(), Listener()
    engine = fake_engine(client)
    owners = [Owner(f"hub{number}", "ann", "") for number in range(5)]
    ids = [add(client, f"of-{owner.instance}", owner=owner) for owner in owners]
    watches = [watch_of(engine, owner.instance, LOG) for owner in owners]
    for watch, one in zip(watches, ids, strict=True):
        assert (await watch.word(one)).running
        watch.listen(one, listener.hear)
    await heard(lambda: client.followed.count("containers") >= 30)
    assert client.followed.count("events") == 5
    assert all(watch.following for watch in watches)
    # From here on, only events report changes.
    monkeypatch.setattr(watching, "RESYNC", 60.0)
    for owner in owners:
        client.die(f"of-{owner.instance}", 1)
    await heard(lambda: len({name for name, _, _ in listener.heard}) == 5)
    assert client.followed.count("events") == 5


async def test_watch_whose_stream_misses_changes_opens_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RESYNC", 0.02)
    client = FakeClient()
    one = add(client, "one")
    watch = watch_on(client)
    await watch.word(one)
    client.silent = True
    client.die("one", 1)
    await heard(lambda: client.followed.count("events") == 2)
    client.silent = False
    lists = client.followed.count("containers")
    await heard(lambda: client.followed.count("containers") > lists + 5)
    assert client.followed.count("events") == 2


ODD_EVENTS: list[Any] = [
    7,
    [],
    "start",
    {},
    {"Type": "container", "Action": "die"},
    {"Type": "container", "Action": None, "Actor": {"ID": None}},
    {"Type": "container", "Action": "start", "Actor": None},
    {"Type": "network", "Action": "connect", "Actor": {"ID": "n", "Attributes": None}},
    {"Type": "container", "Action": "health_status: healthy", "Actor": {"ID": "id-of-one", "Attributes": {}}},
]


async def test_events_of_unexpected_shape_are_logged_once_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    client, listener = FakeClient(), Listener()
    one = add(client, "one")
    watch = watch_on(client)
    await watch.word(one)
    watch.listen(one, listener.hear)
    for event in ODD_EVENTS * 2:
        client.streams[0].events.put(event)  # type: ignore[arg-type]
    client.die("one", 1)
    await heard(lambda: listener.heard)
    assert listener.heard == [("one", False, True)]
    assert watch.following
    assert client.followed == ["events", "containers"]
    assert [record.levelname for record in caplog.records if "unexpected shape" in record.getMessage()] == ["WARNING"]


@pytest.mark.parametrize(
    "event",
    [
        {"Type": "container", "Action": "died", "Actor": {"ID": "id-of-one"}},
        {"Type": "container", "Action": "Die", "Actor": {"ID": "id-of-one", "Attributes": None}, "time": 99},
        {"status": "die", "id": "id-of-one", "from": "tiny"},
    ],
)
async def test_end_without_labels_and_time_is_heard(event: dict[str, Any]) -> None:
    client, listener = FakeClient(), Listener()
    one = add(client, "one")
    watch = watch_on(client)
    await watch.word(one)
    watch.listen(one, listener.hear)
    client.streams[0].events.put(event)
    await heard(lambda: listener.heard)
    assert listener.heard == [("one", False, True)]


async def test_event_without_labels_of_an_unknown_server_is_answered_by_a_list() -> None:
    client, listener = FakeClient(), Listener()
    watch = watch_on(client)
    await watch.word("id-of-one")
    watch.listen("id-of-one", listener.hear)
    client.silent = True
    one = add(client, "one")
    client.streams[0].events.put({"Type": "container", "Action": "start", "Actor": {"ID": one}})
    await heard(lambda: listener.heard)
    assert listener.heard[0] == ("one", True, True)


class Listing(FakeClient):
    """A client whose list is changed by `shaped`."""

    def __init__(self) -> None:
        super().__init__()
        self.shaped: Callable[[list[dict[str, Any]]], Any] = list

    def containers(self, all: bool, filters: Any) -> Any:
        return self.shaped(super().containers(all, filters))


@pytest.mark.parametrize("field", ["Names", "Labels", "State", "HostConfig", "NetworkSettings", "Ports"])
@pytest.mark.parametrize("there", [True, False])
async def test_list_without_a_field_ends_no_server(field: str, there: bool) -> None:
    client, listener = Listing(), Listener()
    one = add(client, "one")
    watch = watch_on(client)
    await watch.word(one)
    watch.listen(one, listener.hear)

    def shaped(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for summary in found:
            summary[field] = None
            if not there:
                del summary[field]
        return found

    client.shaped = shaped
    await watch._sync()
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    assert [word.name for word in await watch.of(ANN)] in (["one"], [""])
    assert not any(not running for _, running, _ in listener.heard)


@pytest.mark.parametrize(
    "entry", [None, 1, "x", {}, {"Id": None}, {"Id": ["x"]}, {"Id": "x", "Names": 3}, {"Id": "x", "Labels": "y"}]
)
async def test_list_with_an_unreadable_entry_ends_no_server(entry: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = Listing()
    one = add(client, "one")
    watch = watch_on(client)
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    client.shaped = lambda found: [entry]
    for _ in range(3):
        await watch._sync()
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    # Networks of users with unknown containers must not be removed.
    with pytest.raises(Unavailable):
        await watch.owners()
    assert [record.levelname for record in caplog.records if "unexpected shape" in record.getMessage()] == ["WARNING"]
    client.shaped = list
    await watch._sync()
    assert await watch.owners() == {ANN}


async def test_unreadable_entry_of_a_list_by_id_ends_no_server() -> None:
    client = Listing()
    one = add(client, "one", owner=Owner("former", "ann", ""))
    watch = watch_on(client)
    await watch.expect([one])
    client.shaped = lambda found: [*found, None, {"Id": ["x"]}]
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    await watch._sync()
    assert (await watch.word(one)).running  # type: ignore[union-attr]


@pytest.mark.parametrize("answer", [{"message": "?"}, "text", 7])
async def test_answer_that_is_not_a_list_is_no_answer(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = Listing()
    one = add(client, "one")
    watch = watch_on(client)
    assert await watch.word(one)
    client.shaped = lambda found: answer
    for _ in range(3):
        with pytest.raises(Unavailable):
            await watch._sync()
    assert [record.levelname for record in caplog.records if "unexpected shape" in record.getMessage()] == ["WARNING"]
    client.shaped = list
    assert (await watch.word(one)).running  # type: ignore[union-attr]


async def test_list_without_any_container_may_be_null() -> None:
    client = Listing()
    client.shaped = lambda found: None
    watch = watch_on(client)
    assert await watch.word("x") is None
    assert watch.following


def test_listed_container_of_an_old_engine_has_a_status_only() -> None:
    listed = [{"Id": "1", "Status": status} for status in ("Up 3 minutes", "Up 2 hours (Paused)", "Exited (0) 1 s ago")]
    words = [watching._listed_word(summary, None) for summary in listed]
    assert [(word.running, word.paused) for word in words] == [(True, False), (True, True), (False, False)]


async def test_engine_that_lists_but_opens_no_stream_is_asked_each_time() -> None:
    class Reticent(FakeClient):
        def events(self, filters: Any, decode: bool) -> Any:
            assert self.may_pull.wait(60)
            return super().events(filters, decode)

    client = Reticent()
    client.may_pull.clear()
    one = add(client, "one")
    watch = watch_on(client, quick_timeout=3)
    assert (await watch.word(one)).running  # type: ignore[union-attr]
    client.die("one", 1)
    assert not (await watch.word(one)).running  # type: ignore[union-attr]
    assert not watch.following
    client.may_pull.set()
    await heard(lambda: watch.following)
    # All waits were for the same stream.
    assert client.followed.count("events") == 1


async def test_watch_whose_follower_was_cancelled_stays_the_same_and_follows_again() -> None:
    client = FakeClient()
    one, engine = add(client, "one"), fake_engine(client)
    watch = watch_of(engine, "hub", LOG)
    assert await watch.word(one)
    for _ in range(20):
        watch._follower.cancel()
        await asyncio.wait({watch._follower})
        assert watch_of(engine, "hub", LOG) is watch
    await heard(lambda: watch.following)
    assert sum(thread.name.startswith("docker-events") for thread in threading.enumerate()) <= 2


async def test_listener_that_raises_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Raising:
        def hear(self, word: Word) -> None:
            raise KeyError("typo")

    client, raising, listener = FakeClient(), Raising(), Listener()
    first, second = add(client, "first"), add(client, "second")
    watch = watch_on(client)
    await watch.word(first)
    watch.listen(first, raising.hear)
    watch.listen(second, listener.hear)
    client.cut()
    client.silent = True
    client.die("first", 1)
    client.die("second", 1)
    await heard(lambda: listener.heard)
    assert "A change of first could not be processed" in caplog.text


class FailsForUnknown(FakeClient):
    """An engine that fails a list by ids, with `error`, if it does not know one of them, or fails all such lists."""

    def __init__(self, error: Exception, always: bool = False) -> None:
        super().__init__()
        self.error, self.always = error, always

    def containers(self, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        known = {container["Id"] for container in self.existing.values()}
        if "id" in filters and (self.always or not known.issuperset(filters["id"])):
            self.followed.append("containers")
            raise self.error
        return super().containers(all, filters)


ANSWERS = [
    api_error(404, "no such container"),
    api_error(500, "no such container"),
    api_error(400, "invalid filter"),
    requests.exceptions.JSONDecodeError("no JSON", "", 0),
    KeyError("Id"),
]


@pytest.mark.parametrize("error", ANSWERS, ids=repr)
@pytest.mark.parametrize("always", [False, True])
async def test_watch_of_an_engine_that_fails_lists_by_id_still_follows_its_own(error: Exception, always: bool) -> None:
    client, listener = FailsForUnknown(error, always), Listener()
    own = add(client, "own")
    watch = watch_on(client)
    watch.listen(own, listener.hear)
    watch.listen("id-of-nobody", listener.hear)
    assert (await watch.word(own)).running  # type: ignore[union-attr]
    assert watch.following
    assert await watch.word("id-of-nobody") is None
    client.die("own", 1)
    await heard(lambda: ("own", False, True) in listener.heard)


@pytest.mark.parametrize("error", ANSWERS[:2], ids=repr)
async def test_watch_of_an_engine_that_fails_lists_of_unknown_ids_knows_the_others(error: Exception) -> None:
    client = FailsForUnknown(error)
    former = add(client, "former", owner=Owner("former", "ann", ""))
    watch = watch_on(client)
    await watch.expect([former, "id-of-nobody"])
    assert (await watch.word(former)).running  # type: ignore[union-attr]


async def test_watch_whose_lists_by_id_fail_keeps_nothing_that_events_may_have_missed() -> None:
    client = FailsForUnknown(api_error(500, "no"))
    former = add(client, "former", owner=Owner("former", "ann", ""))
    watch = watch_on(client)
    await watch.expect([former])
    assert (await watch.word(former)).running  # type: ignore[union-attr]
    client.always = True
    await watch._sync()
    assert (await watch.word(former)).running  # type: ignore[union-attr]
    client.silent = True
    client.die("former", 1)
    client.silent = False
    client.cut()
    await heard(lambda: not watch.following or watch.last(former) is None)
    assert await watch.word(former) is None


async def test_watch_whose_lists_by_id_get_no_answer_does_not_know() -> None:
    client = FailsForUnknown(requests.exceptions.ConnectionError("gone"), always=True)
    watch = watch_on(client)
    await watch.expect(["id-of-one"])
    with pytest.raises(Unavailable):
        await watch.word("id-of-one")
