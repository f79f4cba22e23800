from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import Any

import pytest

from dockerspawner import DockerSpawner
from dockerspawner._networks import host as host_network
from dockerspawner._networks.host import candidates, in_use, network_mode, port_of
from support.fake_engine import FakeClient, fake_engine
from support.ports import free_port
from support.spawners import make_spawner


@pytest.mark.parametrize(
    ("create", "host", "mode"),
    [
        ({}, {}, "users"),
        ({}, {"network_mode": "host"}, "host"),
        ({"host_config": {"NetworkMode": "none"}}, {"network_mode": "host"}, "none"),
        ({"host_config": None}, {"network_mode": None}, "users"),
    ],
)
def test_network_mode(create: dict[str, Any], host: dict[str, Any], mode: str) -> None:
    assert network_mode("users", create, host) == mode


def test_candidates() -> None:
    assert list(candidates(65534, [])) == [65534, 65535]
    ports = list(candidates(8888, [8888, 8890]))
    assert ports[:2] == [8889, 8891]
    assert ports[-1] == 9887


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://0.0.0.0:8889/user/ann/", 8889),
        ("http://[::]:9000/", 9000),
        ("http://x/", 0),
        ("", 0),
        ("http://x:y/", 0),
    ],
)
def test_port_of(url: str, port: int) -> None:
    assert port_of({"JUPYTERHUB_SERVICE_URL": url}) == port
    assert port_of({}) == 0


async def test_in_use() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert await in_use("127.0.0.1", port, "0.0.0.0")
    assert not await in_use("127.0.0.1", port, "0.0.0.0")
    # In use on this machine, at an address that the hub does not call: a server could not listen on all addresses.
    with contextlib.closing(socket.create_server(("127.0.0.2", 0))) as server:
        port = server.getsockname()[1]
        assert await in_use("127.0.0.1", port, "0.0.0.0")
        assert not await in_use("127.0.0.1", port, "127.0.0.1")


async def test_starts_at_once_choose_different_ports_and_the_process_keeps_none() -> None:
    engine = fake_engine(FakeClient())
    first = free_port()
    spawners = [make_spawner(f"u{n}", engine=engine, network_name="host", port=first) for n in range(20)]
    await asyncio.gather(*(spawner._settle_port("host") for spawner in spawners))
    assert len({spawner.port for spawner in spawners}) == 20
    for spawner in spawners:
        spawner._release_ports()
    assert not engine.reserved_ports


async def test_no_free_port_is_a_failure_that_names_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(host: str, port: int, address: str) -> bool:
        return True

    monkeypatch.setattr(host_network, "in_use", taken)
    with pytest.raises(Exception, match="No port of the host from 8888 to 9887 is free"):
        await make_spawner(engine=fake_engine(FakeClient()), network_name="host")._settle_port("host")


async def test_a_server_that_leaves_the_host_network_has_the_configured_port_again() -> None:
    spawner = make_spawner(engine=fake_engine(FakeClient()), network_name="host", port=free_port())
    configured = spawner.port
    spawner.load_state({"object_id": "x", "host_port": 1})
    assert (spawner.port, spawner.get_state()["host_port"]) == (1, 1)
    assert await spawner._settle_port("users")
    assert spawner.port == configured
    assert "host_port" not in spawner.get_state()


async def test_a_subclass_that_finds_the_address_itself_may_use_any_network() -> None:
    spawner: Any = make_spawner(engine=fake_engine(FakeClient()))
    with pytest.raises(Exception, match="network mode is container:vpn"):
        await spawner._settle_port("container:vpn")
    spawner.get_ip_and_port = lambda: ("127.0.0.1", 1)
    assert not await spawner._settle_port("container:vpn")


async def test_start_with_the_host_network_by_modify_spec_hook_has_a_port_of_its_own() -> None:
    engine, first = fake_engine(FakeClient()), free_port()

    def hook(spawner: Any, spec: dict[str, Any]) -> None:
        spec["host_config"]["NetworkMode"] = "host"

    ann, bob = (
        make_spawner(name, engine=engine, image="tiny", network_name="users", port=first, modify_spec_hook=hook)
        for name in ("ann", "bob")
    )
    specs = []
    # The second time as for a container that is there already.
    for spawner in (ann, bob, ann):
        specs.append(await spawner._create_kwargs())
    ports = [int(spec["labels"]["dockyard.port"]) for spec in specs]
    assert ports[0] == ports[2] == ann.port != ports[1] == bob.port
    for spec, port in zip(specs, ports, strict=True):
        assert f":{port}/" in spec["environment"]["JUPYTERHUB_SERVICE_URL"]
        assert not spec["host_config"].get("PortBindings")


async def test_start_with_another_network_by_modify_spec_hook_keeps_the_configured_port() -> None:
    port = free_port()

    def hook(spawner: Any, spec: dict[str, Any]) -> None:
        spec["host_config"]["NetworkMode"] = "users"

    spawner: Any = make_spawner(
        engine=fake_engine(FakeClient()), image="tiny", network_name="host", port=port, modify_spec_hook=hook
    )
    spec = await spawner._create_kwargs()
    assert (spawner.port, "dockyard.port" in spec["labels"]) == (port, False)


async def test_start_with_a_network_mode_that_alternates_by_modify_spec_hook_fails() -> None:
    modes = itertools.cycle(["host", "users"])

    def hook(spawner: Any, spec: dict[str, Any]) -> None:
        spec["host_config"]["NetworkMode"] = next(modes)

    spawner: Any = make_spawner(
        engine=fake_engine(FakeClient()), image="tiny", network_name="users", modify_spec_hook=hook, port=free_port()
    )
    with pytest.raises(Exception, match=r"modify_spec_hook gives another network mode .* Set network_name"):
        await spawner._create_kwargs()


async def test_extra_host_config_with_the_host_network_keeps_its_port_when_made_again() -> None:
    spawner: Any = make_spawner(
        engine=fake_engine(FakeClient()),
        image="tiny",
        network_name="users",
        extra_host_config={"network_mode": "host"},
        port=free_port(),
    )
    specs = [await spawner._create_kwargs() for _ in range(2)]
    assert specs[0]["labels"] == specs[1]["labels"]
    assert "dockyard.port" in specs[0]["labels"]


async def test_settle_port_of_a_subclass_with_a_plain_port_chooses_another_one() -> None:
    class Plain(DockerSpawner):
        port = free_port()

    engine = fake_engine(FakeClient())
    ann, bob = (make_spawner(name, cls=Plain, engine=engine, network_name="host") for name in ("ann", "bob"))
    for spawner in (ann, bob):
        await spawner._settle_port("host")
    assert ann.port != bob.port
