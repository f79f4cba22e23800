"""The door to a real engine: when it is away, what it costs, and how the package is installed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.relay import Relay

pytestmark = pytest.mark.needs("engine")

ROOT = Path(__file__).parents[2]


async def test_a_server_goes_on_while_its_engine_is_away(make: Any, containers: Any, relay: Relay) -> None:
    spawner = make(remove=True, client_kwargs={"base_url": relay.url})
    await spawner.start()
    url = await spawner.get_url()
    relay.take_away()
    assert await spawner.poll() is None
    assert await spawner.get_url() == spawner.server.url
    relay.put_back()
    assert await spawner.poll() is None
    assert await spawner.get_url() == url
    await spawner.stop()
    assert containers() == []


async def test_a_hub_that_starts_before_its_engine(make: Any, relay: Relay) -> None:
    settings = {"remove": True, "client_kwargs": {"base_url": relay.url, "timeout": 9}}
    relay.take_away()
    spawner = make(**settings)
    spawner.load_state({"object_id": "0123456789ab"})
    assert await spawner.poll() is None
    with pytest.raises(Exception, match="The Docker engine does not answer"):
        await make("bob", **settings).start()
    relay.put_back()
    assert await spawner.poll() == 0


async def test_quick_calls_pass_servers_that_take_long_to_stop(make: Any, client: Any) -> None:
    # Process 1 of the tiny image disregards SIGTERM.
    stubborn = {"remove": True, "stop_timeout": 60, "extra_create_kwargs": {"stop_signal": "SIGTERM"}}
    spawners = [make(f"u{n}", **stubborn) for n in range(4)]
    await asyncio.gather(*(spawner.start() for spawner in spawners))
    *stopping, other = spawners
    stops = [asyncio.create_task(spawner.stop()) for spawner in stopping]
    for _ in range(20):
        assert await other.poll() is None
    assert not any(stop.done() for stop in stops)
    for spawner in stopping:
        client.containers.get(spawner.object_id).kill()
    await asyncio.gather(*stops, other.stop(now=True))


async def test_a_burst_leaves_nothing_behind(make: Any, containers: Any) -> None:
    spawners = [make(f"u{n}", remove=True) for n in range(12)]
    await asyncio.gather(*(spawner.start() for spawner in spawners))
    assert len(containers()) == 12
    await asyncio.gather(*(spawner.stop() for spawner in spawners))
    assert containers() == []


def test_the_package_installs_and_the_hub_finds_it(tmp_path: Path) -> None:
    source, site = tmp_path / "spawner", tmp_path / "site"
    shutil.copytree(ROOT / "spawner", source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(source)]
    subprocess.run(pip, check=True)
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, sys.argv[1]); from importlib.metadata import distribution\n"
            "for point in distribution('dockyard-spawner').entry_points:\n"
            "    print(point.group, point.name, sys.modules[point.load().__module__].__file__)",
            str(site),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    points = [line.split() for line in found]
    names = ("docker", "docker-swarm", "docker-swarm-system-user", "docker-system-user")
    assert {(group, name) for group, name, _ in points} == {("jupyterhub.spawners", name) for name in names}
    assert all(file.startswith(str(site)) for *_, file in points)
