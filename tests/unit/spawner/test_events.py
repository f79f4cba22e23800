"""Reading the engine's events, and the thread of each stream."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerspawner._engine.events import Event, Stream
from dockerspawner._errors.translation import Refused, Unavailable
from support.fake_engine import FakeClient, FakeStream, api_error, fake_engine
from support.wait import until, wait_until

LABELS = {"dockyard.user": "ann"}
START = Event("container", "start", "1", LABELS, 7)


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        ({"Type": "container", "Action": "start", "Actor": {"ID": "1", "Attributes": LABELS}, "timeNano": 7}, START),
        ({"Type": "Container", "Action": "Start", "Actor": {"ID": "1", "Attributes": LABELS}, "timeNano": "7"}, START),
        ({"Action": "start", "Actor": {"ID": "1", "Attributes": LABELS | {"x": None}}, "timeNano": 7}, START),
        # Podman.
        (
            {"Type": "container", "Action": "died", "Actor": {"ID": "1", "Attributes": None}, "time": 2},
            Event("container", "die", "1", {}, 2_000_000_000),
        ),
        ({"Type": "container", "Action": "remove", "Actor": {"ID": "1"}}, Event("container", "destroy", "1", {})),
        ({"Type": "service", "Action": "remove", "Actor": {"ID": "1"}}, Event("service", "remove", "1", {})),
        # Engines before API 1.22.
        ({"status": "die", "id": "1", "from": "tiny", "time": 2}, Event("container", "die", "1", {}, 2_000_000_000)),
        ({"Action": "exec_create: sh -c true", "Actor": {"ID": "1"}}, Event("container", "exec_create", "1", {})),
        ({"Action": "oom: x", "Actor": {"ID": "1"}, "timeNano": "?"}, Event("container", "oom", "1", {})),
    ],
)  # fmt: skip
def test_event_of_another_engine_is_read(raw: dict[str, Any], event: Event) -> None:
    assert Event.of(raw) == event


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Type", "Action", "Actor", "ID", "Attributes", "status", "id", "time", "timeNano"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(ANYTHING)
def test_event_of_any_shape_is_read_or_a_value_error(raw: Any) -> None:
    with contextlib.suppress(ValueError):
        event = Event.of(raw)
        assert isinstance(event.at, int)
        assert all(isinstance(text, str) for text in (event.type, event.action, event.id, *event.attributes.values()))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("docker-events")]


async def test_stream_twenty_times_reopened_leaves_no_thread() -> None:
    client = FakeClient()
    engine, before = fake_engine(client), len(threads())
    for _ in range(20):
        stream = Stream(engine, {}, print)
        assert await stream.opened is None
        stream.close()
        stream.close()
        assert stream.ended.done()
    await asyncio.to_thread(wait_until, lambda: len(threads()) <= before, 10, 0.01)


async def test_stream_closed_before_it_opens_is_closed_as_soon_as_it_opens() -> None:
    class Hanging(FakeClient):
        def events(self, filters: Any, decode: bool) -> FakeStream:
            assert self.may_pull.wait(10)
            return super().events(filters, decode)

    client = Hanging()
    client.may_pull.clear()
    before = len(threads())
    stream = Stream(fake_engine(client), {}, print)
    stream.close()
    assert stream.ended.done()
    client.may_pull.set()
    # The thread ends without an event.
    await asyncio.to_thread(wait_until, lambda: len(threads()) <= before, 10, 0.01)


async def test_stream_that_can_not_be_closed_raises_nothing() -> None:
    class Stubborn(FakeStream):
        def close(self) -> None:
            self.events.put(None)
            raise RuntimeError("not supported")

    class Client(FakeClient):
        def events(self, filters: Any, decode: bool) -> FakeStream:
            return Stubborn()

    stream = Stream(fake_engine(Client()), {}, print)
    assert await stream.opened is None
    stream.close()
    assert stream.ended.done()


@pytest.mark.parametrize(
    ("raised", "kind"), [(api_error(403, "no"), Refused), (KeyError("x"), Unavailable), (OSError(), Unavailable)]
)
async def test_stream_that_can_not_be_opened_reports_why(raised: Exception, kind: type[Exception]) -> None:
    client = FakeClient()
    client.fail["events"] = [raised]
    stream = Stream(fake_engine(client), {}, print)
    assert isinstance(await stream.opened, kind)
    assert stream.ended.done()


async def test_streams_of_one_engine_do_not_wait_for_each_other() -> None:
    client, heard = FakeClient(), []
    engine = fake_engine(client)
    streams = [Stream(engine, {}, lambda event, number=number: heard.append(number)) for number in range(9)]  # type: ignore[misc]
    assert await asyncio.gather(*(stream.opened for stream in streams)) == [None] * 9
    client._emit("container", "start", "1", {})

    async def all_have_heard() -> bool:
        return sorted(heard) == list(range(9))

    await until(all_have_heard, timeout=10, interval=0.01)
    for stream in streams:
        stream.close()
