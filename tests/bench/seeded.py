"""A hub that finds many running servers: its database and the fake engine, or swarm, are filled beforehand."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import requests
from jupyterhub import orm

from bench.sides import python, settings
from dockerspawner._records.ownership import INSTANCE, SERVER, SPEC, USER
from support.engine_server import Control, EngineServer
from support.jupyterhub import Hub
from support.wait import wait_until

PREFIX, NETWORK, IMAGE = "seeded", "users", "tiny:latest"

MORE = """
c.DockerSpawner.client_kwargs = {{"base_url": "{url}"}}
c.DockerSpawner.port = {port}
c.Spawner.poll_interval = {poll}
c.JupyterHub.spawner_class = "dockerspawner.{spawner}"
"""


class Seeded:
    """`hub` is not started yet."""

    def __init__(self, hub: Hub, control: Control, count: int) -> None:
        self.hub = hub
        self.control = control
        self.count = count

    def start(self) -> float:
        """Start the hub; returns the seconds that it took to check its servers, as its log has them."""
        self.hub.start(timeout=300)
        found = wait_until(self._checked, timeout=300, interval=0.2, what="the servers checked")
        assert int(found[1]) == self.count, found[0]
        return float(found[2])

    def _checked(self) -> re.Match[str] | None:
        return re.search(r"Initialized (\d+) spawners in ([\d.]+) seconds", self.hub.log)

    def settle(self) -> None:
        """Return when the hub has given the proxy its routes, and so has nothing to do but to watch its servers."""
        url = f"{self.hub.url}/user/u{self.count - 1}/api"

        def routed() -> bool:
            return requests.get(url, timeout=10, allow_redirects=False).status_code == 200

        wait_until(routed, timeout=300, interval=0.5, what="the routes of all users")


@contextmanager
def seeded(side: str, count: int, poll: int = 30, swarm: bool = False) -> Iterator[Seeded]:
    """Servers are containers, or services of a `swarm`."""
    with tempfile.TemporaryDirectory(prefix="dockyard-bench-") as name:
        folder = Path(name)
        with EngineServer(folder, images=[IMAGE], manager=swarm) as engine:
            labels = {INSTANCE: PREFIX, USER: "u{n}", SERVER: "", SPEC: "0" * 16}
            servers = engine.control.preload(
                count,
                services=swarm,
                name=f"{PREFIX}-u{{n}}",
                image=IMAGE,
                labels=labels,
                environment={"JUPYTERHUB_USER": "u{n}", "JUPYTERHUB_API_TOKEN": "token-of-u{n}"},
                network=NETWORK,
            )
            fill(folder / "jupyterhub.sqlite", servers, engine.port)
            text = settings(side, PREFIX, image=IMAGE, network=NETWORK)
            spawner = "SwarmSpawner" if swarm else "DockerSpawner"
            more = MORE.format(url=engine.url, port=engine.port, poll=poll, spawner=spawner)
            hub = Hub(folder, text + more, python=python(side))
            try:
                yield Seeded(hub, engine.control, count)
            finally:
                hub.stop()


def fill(database: Path, servers: list[dict[str, str]], port: int) -> None:
    """What a hub has on record of users whose servers run."""
    # Whatever the logger's level: the schema's migration sets it.
    logging.disable(logging.INFO)
    session = orm.new_session_factory(f"sqlite:///{database}")()
    logging.disable(logging.NOTSET)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    for number, one in enumerate(servers):
        user = orm.User(name=f"u{number}", last_activity=now)
        server = orm.Server(proto="http", ip="127.0.0.1", port=port, base_url=f"/user/u{number}/")
        state = {"object_id": one["id"], "object_name": one["name"]}
        spawner = orm.Spawner(name="", user=user, server=server, state=state, started=now, last_activity=now)
        session.add_all([user, server, spawner])
    session.commit()
    session.get_bind().dispose()
    session.close()
