from __future__ import annotations

from typing import Any

import pytest

from dockerspawner import SwarmSpawner
from dockerspawner._errors.translation import Gone
from dockerspawner._networks.networking import internal_address, is_own, published_address
from support.fake_engine import FakeClient, fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner


def container(**settings: Any) -> dict[str, Any]:
    return {"NetworkSettings": {"Networks": {}, "Ports": {}, **settings}}


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ({"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}, "172.18.0.2"),
        ({"IPAddress": "", "GlobalIPv6Address": "fd00::2"}, "fd00::2"),
    ],
)
def test_internal_addresses(entry: dict[str, str], address: str) -> None:
    assert internal_address(container(Networks={"users": entry}), "users") == address


def test_internal_address_with_ipv6_wanted_is_that_where_there_is_one() -> None:
    entry = {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}
    assert internal_address(container(Networks={"users": entry}), "users", ipv6=True) == "fd00::2"
    entry["GlobalIPv6Address"] = ""
    assert internal_address(container(Networks={"users": entry}), "users", ipv6=True) == "172.18.0.2"


def test_a_network_that_the_container_is_not_on_is_named() -> None:
    with pytest.raises(Gone, match=r"not on network users \(it is on: bridge\)"):
        internal_address(container(Networks={"bridge": {}}), "users")
    with pytest.raises(Gone, match="no address on network users"):
        internal_address(container(Networks={"users": {"IPAddress": ""}}), "users")


@pytest.mark.parametrize(
    ("bound", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.0.0.1"), ("::", "10.0.0.1")]
)
def test_published_addresses(bound: str, address: str) -> None:
    ports = {"8888/tcp": [{"HostIp": bound, "HostPort": "32768"}]}
    assert published_address(container(Ports=ports), 8888, "10.0.0.1") == (address, 32768)


def test_a_port_that_is_not_published_is_named() -> None:
    with pytest.raises(Gone, match="port 8888"):
        published_address(container(), 8888, "127.0.0.1")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST.", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"]
)
def test_is_own_loopback_and_unspecified_addresses(host: str) -> None:
    assert is_own(host)


@pytest.mark.parametrize("host", ["hub", "10.0.0.1", "host.docker.internal", "localhost.example.org", "fd00::2", ""])
def test_is_own_nothing_else(host: str) -> None:
    assert not is_own(host)


async def started(client: Any, **settings: Any) -> str:
    """Return the message of a failed start, empty if the start reaches the readiness check."""
    plain = {"image": "tiny", "network_name": "users", "ready_check": "jupyterhub", "start_timeout": 1}
    spawner = make_spawner(engine=fake_engine(client), **{**plain, **settings})
    with pytest.raises(Exception) as failed:  # noqa: PT011  # HTTPError in JupyterHub 5, SpawnException in 6
        await spawner.start()
    error: Any = failed.value
    return str(error.jupyterhub_message) if error.reason == "settings" else ""


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({}, "JupyterHub.hub_ip and hub_connect_ip must be addresses that servers reach."),
        ({"hub_connect_url": "http://localhost:8081"}, "Spawner.hub_connect_url must be an address of the hub"),
        (
            {"environment": {"JUPYTERHUB_API_URL": "http://[::1]:8081/hub/api"}},
            "JUPYTERHUB_API_URL in the setting environment must be a URL that servers reach.",
        ),
        (
            {"extra_create_kwargs": {"environment": {"JUPYTERHUB_API_URL": "http://0.0.0.0:8081/hub/api"}}},
            "JUPYTERHUB_API_URL in the setting environment must be a URL that servers reach.",
        ),
    ],
)
async def test_start_with_a_hub_on_loopback_fails_at_once_and_names_the_setting(settings: Any, change: str) -> None:
    client = FakeClient()
    message = await started(client, **settings)
    assert message.startswith("Servers can't reach the hub at http://")
    assert f"is that container. {change}" in message
    assert message.endswith("Please contact an administrator.")
    assert "create_container" not in client.calls


async def test_start_of_a_service_with_a_hub_on_loopback_fails_at_once() -> None:
    swarm = FakeSwarm()
    assert "Servers can't reach the hub at http://127.0.0.1:8081" in await started(swarm, cls=SwarmSpawner)
    assert swarm.asked == []


@pytest.mark.parametrize(
    "settings",
    [
        {"ready_check": "http"},
        {"network_name": "host"},
        {"extra_host_config": {"network_mode": "host"}},
        {"hub_connect_url": "http://hub:8081"},
        {"hub_connect_url": "http://host.docker.internal:8081"},
        {"environment": {"JUPYTERHUB_API_URL": "http://10.0.0.1:8081/hub/api"}},
        {"hub_connect_url": "http://localhost:8081", "extra_host_config": {"extra_hosts": {"localhost": "10.0.0.1"}}},
        {"cmd": ["sh", "-c", "JUPYTERHUB_API_URL=http://hub:8081/hub/api exec jupyterhub-singleuser"]},
    ],
)
async def test_start_where_servers_may_reach_the_hub_is_tried(settings: Any) -> None:
    client = FakeClient()
    assert await started(client, **settings) == ""
    assert "create_container" in client.calls


@pytest.mark.parametrize(
    ("bound", "host", "address"),
    [
        (["::"], "127.0.0.1", "::1"),
        (["0.0.0.0"], "127.0.0.1", "127.0.0.1"),
        (["::1"], "127.0.0.1", "::1"),
        (["::", "0.0.0.0"], "127.0.0.1", "127.0.0.1"),
        (["::"], "docker.example.org", "docker.example.org"),
    ],
)
def test_published_address_on_every_ipv6_address_is_called_by_ipv6(bound: list[str], host: str, address: str) -> None:
    ports = {"8888/tcp": [{"HostIp": one, "HostPort": "32768"} for one in bound]}
    assert published_address(container(Ports=ports), 8888, host) == (address, 32768)


@pytest.mark.parametrize("host_ip", ["::", "0:0:0:0:0:0:0:0"])
def test_certificate_names_the_address_at_which_a_published_port_is_called(host_ip: str) -> None:
    published = make_spawner(host_ip=host_ip, use_internal_ip=False, use_internal_hostname=False)
    assert "IP:::1" in published.ssl_alt_names
    # There the server itself listens, by default to IPv4 alone.
    on_host = make_spawner(host_ip=host_ip, network_name="host", use_internal_hostname=False)
    assert "IP:127.0.0.1" in on_host.ssl_alt_names


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_internal_ip": False}, "check host_ip"),
        ({"use_internal_ip": True, "network_name": "users"}, "can't reach network users"),
        ({"use_internal_ip": False, "ip": "127.0.0.1"}, "The setting ip is '127.0.0.1'"),
    ],
)
def test_a_silent_server_names_the_setting_of_the_address_that_is_called(settings: Any, named: str) -> None:
    assert named in make_spawner(**settings)._why_silent("127.0.0.1")
