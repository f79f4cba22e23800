"""Two hundred people press start in the same moment: all are served, or told when to press again, and none is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import docker
import pytest
import requests

from support.engine_server import EngineServer
from support.jupyterhub import Hub
from support.wait import wait_until

USERS = {f"user{number}" for number in range(200)}

# The engine is held up until all have pressed, however long this machine takes for it.
SETTINGS = """
c.JupyterHub.spawn_throttle_retry_range = (1, 3)
c.DockerSpawner.client_kwargs = {{"base_url": "{url}"}}
c.DockerSpawner.quick_timeout = 300
c.DockerSpawner.start_timeout = 600
c.DockerSpawner.image = "tiny:latest"
c.DockerSpawner.port = {port}
c.DockerSpawner.network_name = "users"
c.DockerSpawner.remove = True
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(tmp_path_factory.mktemp("engine"), network="users") as engine:
        yield engine


@pytest.fixture(scope="module")
def hub(engine: EngineServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub"), SETTINGS.format(url=engine.url, port=engine.port)) as hub:
        hub.http.post(f"{hub.api}/users", json={"usernames": sorted(USERS)}).raise_for_status()
        yield hub


def owners(engine: EngineServer) -> Counter[str]:
    """How many containers each user has."""
    with closing(docker.APIClient(base_url=engine.url)) as client:
        return Counter(container["Labels"]["dockyard.user"] for container in client.containers(all=True))


def test_two_hundred_starts(hub: Hub, engine: EngineServer) -> None:
    due: dict[str, float] = {}

    def press(name: str) -> None:
        answer: requests.Response = hub.http.post(f"{hub.api}/users/{name}/server")
        assert answer.status_code in (201, 202, 429), answer.text
        due.pop(name, None)
        if answer.status_code == 429:
            assert "Too many users" in answer.json()["message"]
            due[name] = time.monotonic() + int(answer.headers["Retry-After"])

    def all_run() -> bool:
        """Press again for those whose time has come."""
        for name in [name for name, at in due.items() if time.monotonic() >= at]:
            press(name)
        return not due and hub.running() == USERS

    engine.control.hang("POST /containers/create")
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(press, USERS))
        told = set(due)
        assert 0 < len(told) < len(USERS)
        engine.control.clear()
        wait_until(all_run, timeout=300, interval=0.5, what="all have a server")
        assert set(pool.map(hub.visit, USERS)) == {200}
    assert owners(engine) == Counter(USERS)
