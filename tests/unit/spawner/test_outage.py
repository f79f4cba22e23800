"""A call that was not sent to an engine is retried; a call that may have been sent is not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from dockerspawner._engine import client as engines
from dockerspawner._engine.client import EngineAccess, Outage, impatient, perform
from dockerspawner._errors.translation import Unavailable, meaning, never_sent
from support.fake_engine import FakeClient, fake_engine
from support.ports import free_port
from support.spawners import make_spawner
from support.wait import wait_until


def not_sent() -> requests.ConnectionError:
    cause = ConnectionRefusedError(111, "Connection refused")
    return requests.ConnectionError(requests.packages.urllib3.exceptions.ProtocolError("Connection aborted.", cause))  # type: ignore[attr-defined]


def raised_by(url: str, timeout: float = 5) -> Exception:
    """Return the SDK's exception for an engine at `url`."""
    with (
        contextlib.closing(docker.APIClient(base_url=url, version="1.45", timeout=timeout)) as client,  # type: ignore[arg-type]
        pytest.raises(requests.RequestException) as raised,
    ):
        client.start("x")
    return raised.value


def refusing(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(folder / "closed.sock"))
    return f"unix://{folder}/closed.sock"


@contextlib.contextmanager
def crowded(folder: Path) -> Iterator[str]:
    """A socket whose queue is full."""
    path = str(folder / "full.sock")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(path)
        yield f"unix://{path}"


def test_engine_that_can_not_be_reached_has_got_nothing(tmp_path: Path) -> None:
    with crowded(tmp_path) as full:
        for url in (
            f"tcp://127.0.0.1:{free_port()}",
            "tcp://no-such-host.invalid:2375",
            f"unix://{tmp_path}/missing.sock",
            refusing(tmp_path),
            full,
        ):
            # The SDK leaves a socket that it could not connect to the garbage collector.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                assert understood_of(url) == (True, Unavailable, False), url
                gc.collect()


def understood_of(url: str) -> tuple[bool, type[Exception], bool]:
    error = raised_by(url)
    meant = meaning("start", error)
    return never_sent(error), type(meant), getattr(meant, "timed_out", True)


def test_connecting_that_takes_too_long_has_sent_nothing() -> None:
    # Like an address that does not answer.
    error = requests.ConnectTimeout("timed out")
    assert never_sent(error)
    meant = meaning("create_container", error)
    assert isinstance(meant, Unavailable)
    assert not meant.timed_out


def served_by(answer: Callable[[socket.socket], None]) -> Exception:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        error = raised_by(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout=0.2)
        thread.join(10)
    return error


@pytest.mark.parametrize(
    "answer",
    [lambda connection: None, lambda connection: connection.recv(1), lambda connection: connection.sendall(b"HTTP/1")],
    ids=["closed", "silent", "torn"],
)
def test_engine_that_may_have_got_a_call_is_not_asked_again(answer: Callable[[socket.socket], None]) -> None:
    assert not never_sent(served_by(answer))


def test_errors_that_stay_are_not_tried_again() -> None:
    lasting = [
        requests.exceptions.SSLError(not_sent()),
        docker.errors.DockerException("Install paramiko package to enable ssh:// support"),
        TypeError("unexpected keyword argument"),
        PermissionError(13, "denied"),
    ]
    assert not any(never_sent(error) for error in lasting)


def test_outage_is_one_for_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    outage, error = Outage(), not_sent()
    assert outage.left() == engines.RETRY_FOR
    outage.note(error)
    now += 4
    outage.note(error)
    assert outage.left() == engines.RETRY_FOR - 4
    now += 8
    outage.note(error)
    assert outage.left() < 0
    outage.note(None)
    outage.note(error)
    assert outage.left() == engines.RETRY_FOR
    # An old outage, without calls since.
    now += 1000
    outage.note(error)
    assert outage.left() == engines.RETRY_FOR


@pytest.mark.parametrize("method", ["start", "stop", "remove_container", "inspect_container", "pause"])
async def test_call_that_was_not_sent_is_sent_again(method: str) -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    client.images.add("tiny")
    client.create_container(image="tiny", name="one", labels={}, environment={}, host_config={})
    client.calls.clear()
    client.fail[method] = [not_sent(), not_sent()]
    more = {"stop": {"timeout": 0}, "remove_container": {"v": True, "force": True}}.get(method, {})
    await spawner.docker(method, "one", **more)
    assert client.calls == [method] * 3


async def test_call_that_may_have_been_sent_is_not_sent_again() -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    client.fail["start"] = [requests.ConnectionError("Remote end closed connection without response")]
    with pytest.raises(Unavailable):
        await perform(spawner.docker, "start", "x")
    assert client.calls == ["start"]


async def test_client_that_can_not_be_made_yet_is_made_when_the_engine_is_back() -> None:
    client, answers = FakeClient(), [not_sent(), docker.errors.DockerException("Error while fetching")]
    answers[1].__cause__ = requests.ConnectionError("reset")

    def connect(timeout: float, pool_size: int) -> Any:
        if answers:
            raise answers.pop()
        return client

    spawner = make_spawner(engine=engines.Engine(connect))
    assert (await spawner.docker("inspect_image", "tiny"))["Id"]
    assert answers == []


async def test_calls_of_a_long_outage_wait_together_and_then_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "RETRY_FOR", 0.5)
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    client.fail["start"] = [not_sent() for _ in range(1000)]
    began = time.monotonic()
    outcomes = await asyncio.gather(*(spawner.docker("start", "x") for _ in range(5)), return_exceptions=True)
    together = time.monotonic() - began
    assert all(never_sent(outcome) for outcome in outcomes)  # type: ignore[arg-type]
    assert together >= 0.5
    client.calls.clear()
    for _ in range(5):
        with pytest.raises(requests.ConnectionError):
            await spawner.docker("start", "x")
    assert client.calls == ["start"] * 5


async def test_poll_and_address_do_not_wait_for_an_engine_that_is_away() -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    spawner.object_id = "x"
    assert await spawner.poll() == 0
    client.fail["inspect_container"] = [not_sent() for _ in range(1000)]
    client.calls.clear()
    assert await spawner.poll() is None
    spawner._engine_silent = False
    assert await spawner.get_url() == spawner.server.url
    # Read calls are tried three times within a second, as before.
    assert len(client.calls) <= 6


async def test_impatient_call_is_made_once() -> None:
    client = FakeClient()
    spawner = make_spawner(engine=fake_engine(client))
    client.fail["start"] = [not_sent()]
    with impatient(), pytest.raises(requests.ConnectionError):
        await spawner.docker("start", "x")
    assert client.calls == ["start"]


async def test_call_that_is_cancelled_while_the_engine_is_away_is_not_sent() -> None:
    client = FakeClient()
    spawner: EngineAccess = make_spawner(engine=fake_engine(client))
    client.fail["start"] = [not_sent() for _ in range(1000)]
    call = spawner.docker("start", "x")
    await asyncio.to_thread(wait_until, lambda: client.calls, 10, 0.001)
    call.cancel()
    await asyncio.wait({call})
    made = len(client.calls)
    client.fail.clear()
    assert (await spawner.docker("inspect_image", "tiny"))["Id"]
    assert client.calls[made:] == ["inspect_image"]
