"""A start ends within start_timeout, with a reason and a cleanup; on a fake engine that can be slow."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dockerspawner._start.clock import StartClock
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner
from support.wait import until


class SlowClient(FakeClient):
    """A client whose calls of the methods in `slow` wait for a release."""

    def __init__(self, *slow: str) -> None:
        super().__init__()
        self.slow = set(slow)
        self.may_go_on = threading.Event()

    def _call(self, method: str) -> None:
        if method in self.slow:
            assert self.may_go_on.wait(60)
        super()._call(method)


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "remove": True, "port": port, "start_timeout": 3}
    return make_spawner(**{"engine": fake_engine(client), **settings, **traits})


async def message_of(starting: Any) -> str:
    with pytest.raises(Exception) as failed:  # noqa: PT011  # HTTPError in JupyterHub 5, SpawnException in 6
        await starting
    return str(failed.value.jupyterhub_message)  # type: ignore[attr-defined]


async def as_the_hub(spawner: Any) -> str:
    """Return the message of a start that the hub would cancel at start_timeout."""
    return await message_of(asyncio.wait_for(spawner.start(), spawner.start_timeout))


class Dying(FakeClient):
    def start(self, key: str) -> None:
        super().start(key)
        self.die(self._find(key)[0], 3)


@pytest.mark.parametrize("timeout", [1, 2, 10, 60, 600])
def test_clock_leaves_time_for_each_part(timeout: float) -> None:
    clock = StartClock(0, timeout)
    assert clock.queue_end < clock.ready_end < clock.ready_end + clock.least_tries <= clock.end < clock.over == timeout


async def test_start_an_explanation_that_raises_hides_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    client = Dying()
    spawner = spawner_on(client, volumes={"home-{username}": "/home/jovyan"})

    async def words() -> str:
        raise TypeError("not this time")

    spawner._failures.log_tail = spawner._not_writable = words
    spawner.log.propagate = True
    message = await as_the_hub(spawner)
    assert message.startswith("The server ended with exit code 3.")
    assert "not this time" not in message
    assert "TypeError: not this time" in caplog.text
    assert client.existing == {}


async def test_start_an_explain_that_raises_hides_no_reason() -> None:
    client = Dying()
    spawner = spawner_on(client)

    async def explain(error: Exception) -> Exception:
        raise TypeError("not this time")

    spawner._failures.explain = explain
    assert await as_the_hub(spawner) == "The server ended with exit code 3."
    assert client.existing == {}


async def test_start_a_log_that_never_comes_is_given_up() -> None:
    client = Dying()
    spawner = spawner_on(client)
    spawner._failures.log_tail = asyncio.Event().wait
    assert (await as_the_hub(spawner)).startswith("The server ended with exit code 3.")
    assert client.existing == {}


async def test_start_cancelled_while_its_failure_is_explained_leaves_nothing() -> None:
    client = Dying()
    spawner = spawner_on(client, start_timeout=60)
    explaining = asyncio.Event()

    async def explain(error: Exception) -> Exception:
        explaining.set()
        await asyncio.Event().wait()
        return error

    spawner._failures.explain = explain
    starting = asyncio.create_task(spawner.start())
    await explaining.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert client.existing == {}


async def test_start_an_undo_that_takes_long_goes_on_beside_it(port: int) -> None:
    client = SlowClient("remove_container")
    client.fail["start"] = [api_error(500, "no start today")]
    spawner = spawner_on(client, port)
    assert "no start today" in await as_the_hub(spawner)
    # For the hub, which stops a server that did not start, the server does not exist.
    assert await spawner.poll() == 0
    await spawner.run_post_stop_hook()
    spawner.clear_state()
    assert "jupyter-ann" in client.existing

    # The next start waits for the cleanup, and reports that.
    assert "Cleaning up after the previous start" in await as_the_hub(spawner)
    again = asyncio.create_task(spawner.start())
    client.may_go_on.set()
    await again
    assert client.calls.count("create_container") == 2
    assert await spawner.poll() is None


async def test_start_an_undo_in_the_background_ends_without_another_start() -> None:
    client = SlowClient("remove_container")
    client.fail["start"] = [api_error(500, "no start today")]
    spawner = spawner_on(client)
    await as_the_hub(spawner)
    client.may_go_on.set()

    async def undone() -> bool:
        return not client.existing and not spawner.object_id

    await until(undone, timeout=10)


@pytest.mark.parametrize(
    ("method", "step"),
    [
        ("inspect_image", "Looking for image tiny"),
        ("create_container", "Creating the server's container"),
        ("start", "Starting the server"),
    ],
)
async def test_start_a_step_that_takes_too_long_is_named(method: str, step: str) -> None:
    client = SlowClient(method)
    assert f"The last step was: {step}." in await as_the_hub(spawner_on(client, quick_timeout=60))
    client.may_go_on.set()


async def test_start_a_turn_that_comes_too_late_is_named(port: int, caplog: pytest.LogCaptureFixture) -> None:
    client = SlowClient("start")
    engine = fake_engine(client, starts_at_once=1)
    first, second = (spawner_on(client, port, username=name, engine=engine) for name in ("ann", "bob"))
    first.start_timeout = 60
    second.log.propagate = True
    starting = asyncio.create_task(first.start())

    async def has_turn() -> bool:
        return engine.admission().locked()

    await until(has_turn, timeout=10)
    message = await as_the_hub(second)
    assert message.startswith("Too many servers start at once: yours waited ")
    assert message.endswith(" for its turn. Please try again later.")
    assert "starts_at_once" in caplog.text
    # The spawner created no container, and no slot is lost.
    assert list(client.existing) == ["jupyter-ann"]
    client.may_go_on.set()
    await starting
    await second.start()


async def test_start_whose_clock_is_late_still_has_a_reason() -> None:
    """On a busy machine, the hub's timeout can come before the spawner's."""
    client = SlowClient("create_container")
    spawner = spawner_on(client, start_timeout=1, quick_timeout=2)
    spawner._start_in_time = spawner._start_after_undoing
    starting = asyncio.create_task(spawner.start())

    async def over() -> bool:
        return asyncio.get_running_loop().time() > spawner._attempt.clock.over > 0

    await until(over, timeout=10)
    starting.cancel()
    client.may_go_on.set()
    assert "The last step was: Creating the server's container." in await message_of(starting)
    assert client.existing == {}
