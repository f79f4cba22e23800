"""The network of link-local addresses: made when it is missed, and what is said where it can't be."""

from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._networks.link_local import NETWORK, api_version, dead_end
from support.fake_engine import api_error, fake_engine
from support.fake_networks import FakeNetworks
from support.spawners import make_spawner

MISSING = api_error(404, f"network {NETWORK} not found")


def blocking(client: FakeNetworks, port: int, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "remove": True, "port": port, "block_link_local": True}
    return make_spawner("ann", engine=fake_engine(client), **{**settings, **traits})


def test_nobody_is_reached_there_the_host_neither() -> None:
    made = dead_end()
    assert made["internal"] is True
    assert made["options"] == {
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.inhibit_ipv4": "true",
    }
    assert made["ipam"]["Config"][0]["Subnet"] == "169.254.0.0/16"


async def test_a_server_is_on_it_besides_its_own(port: int) -> None:
    client = FakeNetworks()
    spawner = blocking(client, port)
    await spawner.start()
    assert set(client.existing[spawner.object_name]["NetworkSettings"]["Networks"]) == {"users", NETWORK}
    # It is looked for by nobody as long as it is there.
    assert client.orders == []
    await spawner.stop()


async def test_it_is_made_when_it_is_missed(port: int) -> None:
    client = FakeNetworks()
    client.fail["start"] = [MISSING]
    spawner = blocking(client, port)
    await spawner.start()
    assert [order[0] for order in client.orders] == ["create_network", "disconnect", "connect"]
    assert client.made.keys() == {NETWORK}
    await spawner.stop()


async def test_another_kit_may_remove_it_as_soon_as_it_is_made(port: int) -> None:
    client = FakeNetworks()
    client.fail["start"] = [MISSING, MISSING]
    client.fail["connect"] = [MISSING]
    spawner = blocking(client, port)
    await spawner.start()
    assert set(client.existing[spawner.object_name]["NetworkSettings"]["Networks"]) == {"users", NETWORK}
    await spawner.stop()


@pytest.mark.parametrize("call", ["start", "connect"])
async def test_no_server_starts_without_it(port: int, call: str) -> None:
    client = FakeNetworks()
    client.fail |= {"start": [MISSING], call: [MISSING] * 9}
    spawner = blocking(client, port)
    with pytest.raises(Exception, match=f"The Docker network {NETWORK} does not exist"):
        await spawner.start()
    assert spawner.object_name not in client.existing


async def test_another_hub_may_have_made_it_meanwhile(port: int) -> None:
    client = FakeNetworks()
    client.fail["start"] = [MISSING]
    client.made[NETWORK] = {}
    spawner = blocking(client, port)
    await spawner.start()
    await spawner.stop()


async def test_addresses_that_another_network_has(port: int) -> None:
    client = FakeNetworks()
    client.fail["start"] = [MISSING]
    client.fail["create_network"] = [api_error(403, "invalid pool request: Pool overlaps with other one")]
    spawner = blocking(client, port)
    with pytest.raises(Exception, match=r"169\.254\.0\.0/16, and another network of this engine has such addresses"):
        await spawner.start()
    assert spawner.object_name not in client.existing


async def test_without_it_a_missing_network_is_what_it_was(port: int) -> None:
    client = FakeNetworks()
    client.fail["start"] = [api_error(404, "network users not found")]
    spawner = blocking(client, port, block_link_local=False)
    with pytest.raises(Exception, match="The Docker network users does not exist"):
        await spawner.start()
    assert client.orders == []


ISOLATED = {"network_isolation": "per-user", "attached_containers": ["hub"]}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "block_link_local"),
        (
            {"block_link_local": False, "network_isolation": "per-user", "attached_containers": ["hub"]},
            "allow_internet",
        ),
        ({"network_isolation": "per-user", "attached_containers": ["hub"]}, "block_link_local and allow_internet"),
    ],
)
@pytest.mark.parametrize("version", ["1.43", "1.9"])
async def test_an_api_version_without_several_networks_fails_the_start_and_names_the_settings(
    port: int, settings: dict[str, Any], named: str, version: str
) -> None:
    client = FakeNetworks()
    client.api_version = version  # type: ignore[attr-defined]
    spawner = blocking(client, port, **settings)
    with pytest.raises(
        Exception, match=f"Version {version} of Docker's API.* too old for {named}: version 1.44"
    ) as found:
        await spawner.start()
    assert found.value.reason == "settings"  # type: ignore[attr-defined]
    assert "jupyter-ann" not in client.existing
    assert not any("ann" in name for name in client.made)


@pytest.mark.parametrize("version", ["1.43", "1.44", "1.100", ""])
async def test_an_api_version_matters_only_where_it_lacks_what_is_needed(port: int, version: str) -> None:
    client = FakeNetworks()
    client.api_version = version  # type: ignore[attr-defined]
    await blocking(client, port, block_link_local=version != "1.43").start()


def test_api_versions_are_compared_by_their_numbers() -> None:
    assert api_version("1.9") < api_version("1.44") < api_version("1.100")
