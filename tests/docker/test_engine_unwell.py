"""An engine that fails, hangs or says nothing, under the servers of a real hub: none is stopped, none forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockerspawner._engine import watch
from support.crowd import USERS, fails_to_start, filled, serves, starts_meanwhile
from support.engine_server import Control, EngineServer
from support.jupyterhub import Hub
from support.wait import wait_until

OFTEN = """
from dockerspawner._engine import watch
watch.RESYNC = 5.0
"""
SETTINGS = """
c.Spawner.poll_interval = 1
c.DockerSpawner.client_kwargs = {{"base_url": "{url}"}}
c.DockerSpawner.quick_timeout = 10
c.DockerSpawner.image = "tiny:latest"
c.DockerSpawner.port = {port}
c.DockerSpawner.network_name = "users"
c.DockerSpawner.remove = True
c.DockerSpawner.start_timeout = 20
"""

ASKING = ("GET /containers/json", "GET /containers/*/json", "GET /events")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(tmp_path_factory.mktemp("engine"), network="users") as engine:
        yield engine


@pytest.fixture(scope="module")
def one_hub(engine: EngineServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"), SETTINGS.format(url=engine.url, port=engine.port) + OFTEN)
    with hub:
        yield hub


@pytest.fixture
def control(engine: EngineServer) -> Iterator[Control]:
    yield engine.control
    engine.control.away(False)
    engine.control.clear()


@pytest.fixture
def hub(one_hub: Hub, control: Control) -> Hub:
    """The hub, with a running server for each of USERS."""
    return filled(one_hub)


LONG = pytest.param(500, 120, marks=pytest.mark.long)


@pytest.mark.parametrize(("status", "seconds"), [(500, 0), (503, 0), LONG])
def test_errors(hub: Hub, control: Control, status: int, seconds: int) -> None:
    """Whatever is asked or ordered, and at least for some seconds."""
    control.fail("*", status=status)
    control.cut_events()
    control.calls(reset=True)
    fails_to_start(hub, seconds)
    wait_until(lambda: control.calls().get("GET /containers/json", 0) >= 3, timeout=20, what="the hub has asked")
    serves(hub)
    control.end("jupyter-user3", code=1)
    control.clear()
    wait_until(lambda: hub.running() == USERS - {"user3"}, timeout=20, what="what happened meanwhile is known")


def test_silence(hub: Hub, control: Control) -> None:
    """All connections are accepted, and nothing is answered: no word is given on anybody, and spawns fail with one."""
    control.cut_events()
    control.deaf()
    fails_to_start(hub)
    control.deaf(False)
    assert hub.spawn("newcomer")[-1].get("ready")
    hub.halt("newcomer")
    serves(hub)


@pytest.mark.parametrize("torn", [False, True])
def test_streams_that_are_cut(hub: Hub, control: Control, torn: bool) -> None:
    control.cut_events(torn=torn)
    control.end("jupyter-user4", code=1, quiet=True)
    wait_until(lambda: hub.running() == USERS - {"user4"}, timeout=20)
    wait_until(lambda: control.streams() == 1, timeout=20)


def test_streams_that_say_nothing(hub: Hub, control: Control) -> None:
    """All is listed again, here every five seconds; by default once in a minute."""
    assert 0 < watch.RESYNC <= 60
    converges(hub, control, within=20)


def converges(hub: Hub, control: Control, within: float) -> None:
    control.silence_events()
    control.end("jupyter-user5", code=1)
    wait_until(lambda: hub.running() == USERS - {"user5"}, timeout=within, what="the end of a server is known")


@pytest.mark.parametrize(
    ("how", "seconds"),
    [("errors", 0), ("silence", 0), ("away", 0), pytest.param("errors", 120, marks=pytest.mark.long)],
)
def test_a_hub_that_starts_meanwhile_forgets_nobody(hub: Hub, control: Control, how: str, seconds: int) -> None:
    starts_meanwhile(hub, control, how, ASKING, control.end, seconds)


def test_no_question_is_asked_while_nothing_happens(hub: Hub, control: Control) -> None:
    wait_until(lambda: control.streams() == 1, timeout=20)
    control.calls(reset=True)
    wait_until(lambda: control.calls().get("GET /containers/json", 0) >= 2, timeout=30, what="the watch has resynced")
    calls = control.calls()
    assert set(calls) <= {"GET /containers/json", "GET /events"}


def test_a_hub_that_starts_asks_once_for_all(hub: Hub, control: Control) -> None:
    """From here on, the hub lists as seldom as by default, however long a start takes."""
    control.calls(reset=True)
    lists_seldom(hub)
    calls = control.calls()
    assert calls["GET /containers/json"] == 1
    assert calls.get("GET /containers/{id}/json", 0) == 0


@pytest.mark.long
def test_streams_that_say_nothing_converge_within_a_minute(hub: Hub, control: Control) -> None:
    lists_seldom(hub)
    converges(hub, control, within=watch.RESYNC + 15)


def lists_seldom(hub: Hub) -> None:
    """Have the hub start anew, with the watch's own pauses."""
    config = hub.folder / "jupyterhub_config.py"
    hub.kill()
    config.write_text(config.read_text().replace(OFTEN, ""))
    hub.start()
    wait_until(lambda: hub.running() == USERS, timeout=40)
