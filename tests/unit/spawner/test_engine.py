from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import DockerException, InvalidArgument

from dockerspawner import DockerSpawner
from dockerspawner._engine.client import Lane, perform
from dockerspawner._errors.translation import (
    BeingRemoved,
    Conflict,
    EngineError,
    Failed,
    Gone,
    NameTaken,
    NoLeader,
    NoSuchImage,
    NoSuchNetwork,
    Refused,
    Unavailable,
    meaning,
)
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner
from support.wait import wait_until


@pytest.mark.parametrize(
    ("method", "error", "kind"),
    [
        ("start", api_error(404, "No such container: x"), Gone),
        ("create_container", api_error(404, "No such image: x"), NoSuchImage),
        ("start", api_error(404, "network x not found"), NoSuchNetwork),
        ("create_container", api_error(409, 'name "/x" is already in use by container "y"'), NameTaken),
        ("remove_container", api_error(409, "removal of container x is already in progress"), BeingRemoved),
        ("exec_create", api_error(409, "container x is not running"), Conflict),
        ("start", api_error(400, "no such file"), Refused),
        ("create_container", api_error(403, "forbidden"), Refused),
        ("start", api_error(500, "port is already allocated"), Failed),
        # A daemon beside the engine may say what a swarm says.
        ("start", api_error(500, "rpc error: code = Unavailable desc = context deadline exceeded"), Failed),
        ("start", api_error(500, "network x not found"), Failed),
        ("start", api_error(500, "rpc error: code = NotFound desc = network x not found"), NoSuchNetwork),
        ("create_service", api_error(500, "network x not found"), NoSuchNetwork),
        ("create_service", api_error(500, "rpc error: code = Unknown desc = node lost leader status"), NoLeader),
        ("tasks", api_error(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"), NoLeader),
        ("tasks", api_error(503, "This node is not a swarm manager."), Unavailable),
        ("create_service", api_error(503, "This node is not a swarm manager."), Failed),
        ("inspect_container", api_error(500, "oops"), Unavailable),
        ("get_archive", api_error(500, "mkdir /srv/ann: file exists"), Failed),
        ("get_archive", api_error(503, "oops"), Unavailable),
        ("containers", api_error(503, "oops"), Unavailable),
        ("inspect_container", requests.ConnectionError("refused"), Unavailable),
        ("create_container", requests.ReadTimeout("slow"), Unavailable),
        ("inspect_container", DockerException("Error while fetching server API version"), Unavailable),
        ("create_container", InvalidArgument("bad"), Refused),
    ],
)
def test_what_an_error_means(method: str, error: Exception, kind: type[EngineError]) -> None:
    assert type(meaning(method, error)) is kind


def test_only_a_time_out_may_have_been_carried_out() -> None:
    timed_out = meaning("create_container", requests.ReadTimeout("slow"))
    refused = meaning("create_container", requests.ConnectionError("refused"))
    assert isinstance(timed_out, Unavailable)
    assert timed_out.timed_out
    assert isinstance(refused, Unavailable)
    assert not refused.timed_out


def test_errors_of_our_own_stay_what_they_are() -> None:
    error = KeyError("typo")
    assert meaning("start", error) is error


async def test_a_question_is_put_again_an_order_is_not() -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    client.fail = {
        "inspect_image": [requests.ConnectionError("down")] * 2,
        "start": [requests.ConnectionError("down")],
    }
    assert (await perform(spawner.docker, "inspect_image", "tiny"))["Id"]
    with pytest.raises(Unavailable):
        await perform(spawner.docker, "start", "x")
    assert client.calls == ["inspect_image"] * 3 + ["start"]


async def test_a_time_out_is_not_waited_for_again() -> None:
    client = FakeClient()
    client.fail = {"inspect_image": [requests.ReadTimeout("slow")]}
    with pytest.raises(Unavailable):
        await perform(make_spawner(engine=fake_engine(client)).docker, "inspect_image", "tiny")
    assert client.calls == ["inspect_image"]


class Gate:
    """Calls that last until they are let through."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, client: Any) -> None:
        self.inside.release()
        assert self.open.wait(10)

    def wait_inside(self, count: int) -> None:
        for _ in range(count):
            assert self.inside.acquire(timeout=10)


def test_waiting_calls_are_served_by_rank_and_then_in_order() -> None:
    lane = Lane("test", 1, object)
    gate, served = Gate(), []
    lane.submit(gate)
    gate.wait_inside(1)
    futures = [
        lane.submit(lambda client, call=call: served.append(call), rank)  # type: ignore[misc]
        for call, rank in [("a", 0), ("b", 2), ("c", 1), ("d", 2)]
    ]
    gate.open.set()
    for future in futures:
        future.result(10)
    assert served == ["b", "d", "c", "a"]


def test_slow_calls_never_delay_quick_ones() -> None:
    engine = fake_engine(FakeClient(), slow_threads=2)
    gate = Gate()
    for _ in range(5):
        engine.slow.submit(gate)
    gate.wait_inside(2)
    assert engine.call("inspect_image", ("tiny",), {}).result(10)["Id"]
    gate.open.set()


def test_a_cancelled_call_that_waits_is_never_made() -> None:
    lane = Lane("test", 1, object)
    gate, served = Gate(), []
    lane.submit(gate)
    gate.wait_inside(1)
    waiting = lane.submit(lambda client: served.append("cancelled"))
    assert waiting.cancel()
    after = lane.submit(lambda client: served.append("after"))
    gate.open.set()
    after.result(10)
    assert served == ["after"]


def test_a_lane_uses_all_its_threads_and_one_client() -> None:
    clients: list[object] = []

    def connect() -> object:
        clients.append(object())
        return clients[-1]

    lane = Lane("test", 3, connect)
    assert lane.client() is lane.client()
    gate = Gate()
    futures = [lane.submit(gate) for _ in range(4)]
    gate.wait_inside(3)
    assert not gate.inside.acquire(blocking=False)
    gate.open.set()
    for future in futures:
        future.result(10)
    assert len(clients) == 1


def test_an_engine_that_was_down_is_connected_to_when_it_is_back() -> None:
    answers: list[Any] = [DockerException("down"), "client"]

    def connect() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    lane = Lane("test", 1, connect)
    with pytest.raises(DockerException):
        lane.submit(lambda client: client).result(10)
    assert lane.submit(lambda client: client).result(10) == "client"


def test_spawners_with_the_same_settings_share_an_engine() -> None:
    one, two = (
        make_spawner("a", client_kwargs={"timeout": 5}),
        make_spawner("b", client_kwargs={"timeout": 5}),
    )
    other = make_spawner("c", client_kwargs={"base_url": "tcp://127.0.0.1:1"})
    assert one.engine is two.engine
    assert one.engine is not other.engine


class Remembered:
    """The part of docker.APIClient that contains the engine's endpoint."""

    def __init__(self, url: str, **more: Any) -> None:
        self.base_url = url
        self.headers = {"User-Agent": "test"}
        vars(self).update(more)


def spawners_with(make_client: Callable[[Any], Any], cls: type[DockerSpawner] = DockerSpawner) -> Any:
    """Create spawners of a subclass whose property `client` returns `make_client(spawner)`."""
    own = type("Own", (cls,), {"client": property(make_client)})
    return lambda name: make_spawner(name, cls=own)


def test_new_client_at_each_access_is_one_engine_for_each_endpoint() -> None:
    made: list[Remembered] = []

    def client(spawner: Any) -> Remembered:
        made.append(
            Remembered("http+docker://localhost", _custom_adapter=SimpleNamespace(socket_path=spawner.user.name[0]))
        )
        return made[-1]

    make = spawners_with(client)
    engines = {make(name).engine for name in ("a1", "a2", "a3", "b1", "b2")}
    assert len(engines) == 2
    assert len(made) == 5
    # Other credentials may have other permissions; another class has other settings.
    certs = spawners_with(lambda spawner: Remembered("https://engine:2376", cert=spawner.user.name))
    assert certs("a").engine is not certs("b").engine
    assert certs("a").engine is certs("a").engine
    assert spawners_with(client)("a1").engine not in engines


def test_client_that_shows_no_endpoint_is_an_engine_where_it_is_kept() -> None:
    kept = object()
    make = spawners_with(lambda spawner: kept)
    assert make("a").engine is make("b").engine
    refused = spawners_with(lambda spawner: object())
    with pytest.raises(Exception, match="The property client of Own returns a new client at each access"):
        refused("a").engine  # noqa: B018


async def test_docker_returns_a_future_that_is_running() -> None:
    client = FakeClient()
    future = make_spawner(engine=fake_engine(client)).docker("inspect_image", "tiny")
    assert isinstance(future, asyncio.Future)
    await asyncio.to_thread(wait_until, lambda: client.calls == ["inspect_image"], 5, 0.01)
    assert (await future)["Id"]
