from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError

from dockerspawner._networks.attachments import attached, is_own, matches, own_names
from dockerspawner._networks.subnets import Subnets, egress_candidates, parse_pool
from dockerspawner._networks.user_networks import egress_network, orphans, subnets_of, user_network
from dockerspawner._records.ownership import Owner
from support.fake_engine import api_error
from support.fake_networks import FakeNetworks, isolated
from support.spawners import make_spawner
from support.wait import until

POOL = [IPv4Network("10.9.0.0/27"), IPv4Network("10.9.1.0/28")]
SMALL = [subnet for network in POOL for subnet in network.subnets(new_prefix=29)]
ID = "0123456789ab" + "c" * 52

# Subnets


def networks(prefixes: tuple[int, int]) -> st.SearchStrategy[IPv4Network]:
    """Subnets of any size in and around the pool."""
    addresses = st.integers(int(IPv4Network("10.8.255.0/24")[0]), int(IPv4Network("10.9.2.0/24")[-1]))
    return st.builds(lambda at, prefix: IPv4Network((at, prefix), strict=False), addresses, st.integers(*prefixes))


@given(st.lists(networks((24, 32))), st.lists(st.sampled_from(["take", "give back", "block"]), max_size=20))
def test_no_two_have_the_same_and_none_has_what_others_have(others: list[IPv4Network], actions: list[str]) -> None:
    subnets = Subnets(POOL)
    subnets.know(others)
    taken: list[IPv4Network] = []
    blocked: list[IPv4Network] = []
    for action in actions:
        if action != "take" and taken:
            subnet = taken.pop(0)
            (subnets.give_back if action == "give back" else blocked.append)(subnet)
            if action == "block":
                subnets.block(subnet)
            continue
        in_use = [*others, *taken, *blocked]
        subnet_or_none = subnets.take()
        if subnet_or_none is None:
            assert all(any(small.overlaps(one) for one in in_use) for small in SMALL)
        else:
            assert subnet_or_none in SMALL
            assert not any(subnet_or_none.overlaps(one) for one in in_use)
            taken.append(subnet_or_none)
    # What nobody has any more is free; what we have is not, whatever the list says.
    subnets.know([])
    free = set(iter(subnets.take, None))
    assert free == set(SMALL) - set(taken)


def test_one_that_was_given_back_is_the_last_to_be_taken_again() -> None:
    subnets = Subnets(POOL)
    first = subnets.take()
    assert first is not None
    subnets.give_back(first)
    assert [subnets.take() for _ in SMALL] == [*SMALL[1:], first]
    assert subnets.take() is None
    assert subnets.count == len(SMALL)


def test_the_way_to_the_internet_is_at_the_end_and_leaves_room_for_users() -> None:
    (pool,) = parse_pool(["10.213.0.0/18"])
    assert next(egress_candidates([pool])) == IPv4Network("10.213.60.0/22")
    assert len(list(egress_candidates([pool]))) == 16
    halves = [str(one) for one in egress_candidates(POOL)]
    assert halves == ["10.9.1.8/29", "10.9.1.0/29", "10.9.0.16/28", "10.9.0.0/28"]
    assert list(egress_candidates([IPv4Network("10.9.0.0/29")])) == []


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("10.9.0.0", "too small"),
        ("10.9.0.0/30", "too small"),
        ("10.9.0.1/24", "host bits"),
        ("users", "CIDR"),
        ("fd00::/64", "IPv4"),
        ([], "empty"),
        (["10.9.0.0/24", "10.9.300.0/24"], "10.9.300.0/24"),
    ],
)
def test_a_pool_that_is_none(pool: Any, said: str) -> None:
    with pytest.raises(TraitError, match=f"user_subnet_pool: .*{said}"):
        make_spawner(user_subnet_pool=pool)


def test_pools() -> None:
    assert make_spawner().user_subnet_pool == ["10.213.0.0/18"]
    assert make_spawner(user_subnet_pool="10.9.0.0/24").user_subnet_pool == ["10.9.0.0/24"]
    # In order, and none twice.
    twice = ["10.9.1.0/24", "10.8.0.0/16", "10.9.0.0/24", "10.9.1.0/28"]
    assert make_spawner(user_subnet_pool=twice).user_subnet_pool == ["10.8.0.0/16", "10.9.0.0/23"]


# What the engine is told, and what it says


def test_networks_as_the_engine_is_told() -> None:
    subnet, labels = IPv4Network("10.9.0.8/29"), {"a": "b"}
    common = {
        "driver": "bridge",
        "check_duplicate": True,
        "ipam": {
            "Driver": "default",
            "Config": [{"Subnet": "10.9.0.8/29", "IPRange": None, "Gateway": None, "AuxiliaryAddresses": None}],
        },
        "labels": labels,
    }
    assert user_network("ann", subnet, labels) == {"name": "ann", "internal": True, **common}
    options = {"com.docker.network.bridge.enable_icc": "false"}
    assert egress_network("out", subnet, labels) == {"name": "out", "options": options, **common}


@pytest.mark.parametrize(
    ("ipam", "expected"),
    [
        ({"Config": [{"Subnet": "10.9.0.0/29", "Gateway": "10.9.0.1"}, {"Subnet": "fd00::/64"}]}, ["10.9.0.0/29"]),
        ({"Config": [{"Gateway": "10.9.0.1"}]}, []),
        ({"Config": None}, []),
        (None, []),
    ],
)
def test_subnets_of_a_network(ipam: Any, expected: list[str]) -> None:
    assert [str(subnet) for subnet in subnets_of({"IPAM": ipam})] == expected


def listed(name: str, **labels: str) -> dict[str, Any]:
    return {"Name": name, "Labels": {f"dockyard.{key}": value for key, value in labels.items()} or None}


def test_what_nobody_uses_any_more() -> None:
    found = [
        listed("ann", instance="ours", user="ann", server=""),
        listed("ann-lab", instance="ours", user="ann", server="lab"),
        listed("theirs", instance="theirs", user="bob", server=""),
        listed("egress", instance="ours"),
        listed("bridge"),
    ]
    assert orphans(found, "ours", [Owner("ours", "ann", "")]) == ["ann-lab"]


MOUNTS = f"""\
22 20 0:20 / /proc rw - proc proc rw
901 20 254:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda1 rw
902 20 254:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda1 rw
903 20 254:1 /srv/containers/{"d" * 64}/data /data rw - ext4 /dev/vda1 rw
"""


def test_the_own_container_is_known_by_its_mounts_then_by_its_host_name() -> None:
    assert own_names(MOUNTS, "hub") == [ID, "hub"]
    assert own_names("", "hub") == ["hub"]
    container = {"Id": ID, "Config": {"Hostname": "hub"}}
    assert all(is_own(container, name) for name in (ID, ID[:12], "hub"))
    # A container that happens to be called as the host is.
    assert not is_own(container, "host-1")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("kit-proxy-1", True),
        ("kit-proxy", False),
        (ID, True),
        (ID[:12], True),
        (ID[:4], False),
        ("service=proxy", True),
        ("service=proxy,project=kit", True),
        ("service=proxy,project=other", False),
        ("service=", False),
    ],
)
def test_which_containers_an_entry_names(entry: str, expected: bool) -> None:
    assert matches(entry, ID, "kit-proxy-1", {"service": "proxy", "project": "kit"}) is expected


@pytest.mark.parametrize(
    ("mode", "own", "expected"),
    [
        ("kit", True, ["hub"]),
        ("kit", False, ["hub"]),
        ("other", True, ["hub"]),
        ("other", False, []),
        ("host", True, None),
    ],
)
def test_who_is_called_as_the_hub_is(mode: str, own: bool, expected: list[str] | None) -> None:
    on = {"kit": {"kit": {"Aliases": ["hub", "0123"]}}, "other": {"other": {"Aliases": None}, "more": None}}
    container = {
        "Id": ID,
        "Name": "/kit-hub-1",
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": on.get(mode, {})},
    }
    found = attached(container, "hub", own)
    assert (found and found.aliases) == expected
    assert found is None or (found.name, found.networks) == ("kit-hub-1", set(on[mode]))


# With an engine


async def test_what_a_start_asks_of_the_engine(port: int) -> None:
    client = FakeNetworks()
    first = isolated(client, port)
    await first.start()
    second = isolated(client, port, "bob", engine=first.engine)
    client.calls.clear()
    client.orders.clear()
    await second.start()
    # Not one question about networks: what is attached, and what is free, is known.
    orders = ["connect", "connect", "create_container", "create_network", "start"]
    assert sorted(client.calls) == sorted(["inspect_image", "inspect_container", *orders])
    client.calls.clear()
    await second.get_url()
    assert client.calls == ["inspect_container"]
    client.calls.clear()
    await second.stop()
    assert sorted(client.calls) == ["disconnect", "disconnect", "remove_container", "remove_network", "stop"]
    await first.stop()
    assert list(client.made) == [first._networks.egress]


async def test_a_shared_network_costs_nothing(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port, network_isolation="shared", network_name="users")
    await spawner.start()
    await spawner.get_url()
    await spawner.stop()
    assert client.orders == []
    assert "networks" not in client.calls
    assert spawner.engine.networks == {}


async def test_what_was_made_anew_is_attached_again(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port)
    await spawner.start()
    client.replace("proxy")

    async def again() -> bool:
        return client.on("proxy") == {spawner.object_name}

    await until(again, timeout=10, interval=0.01)
    # Unheard, it is seen when all is listed anew.
    client.silent = True
    client.replace("proxy")
    client.cut()
    await until(again, timeout=10, interval=0.01)
    await spawner.stop()


async def test_what_others_start_is_not_asked_for(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port)
    await spawner.start()
    client.replace("stranger")
    client.replace("hub")

    async def again() -> bool:
        return client.on("hub") == {spawner.object_name}

    client.calls.clear()
    await until(again, timeout=10, interval=0.01)
    assert spawner._watch.last(client.existing["stranger"]["Id"]) is None
    await spawner.stop()


@pytest.mark.parametrize("method", ["remove_network", "disconnect"])
async def test_a_network_that_could_not_be_removed_goes_at_the_next_start(port: int, method: str) -> None:
    client = FakeNetworks()
    first = isolated(client, port)
    await first.start()
    client.fail[method] = [api_error(500, "the engine is unwell")] * (2 if method == "disconnect" else 1)
    await first.stop()
    assert await first.poll() == 0
    second = isolated(client, port, "bob", engine=first.engine)
    await second.start()
    assert set(client.made) == {second.object_name, second._networks.egress}
    await second.stop()


async def test_overlapping_subnets_are_passed_over(port: int) -> None:
    client = FakeNetworks()
    overlap = api_error(403, "invalid pool request: Pool overlaps with other one on this address space")
    client.fail["create_network"] = [overlap, overlap]
    spawner = isolated(client, port, user_subnet_pool="10.9.0.0/24", allow_internet=False)
    await spawner.start()
    assert [str(one) for one in subnets_of(client.made[spawner.object_name])] == ["10.9.0.16/29"]
    await spawner.stop()


async def test_two_starts_at_once_have_different_subnets(port: int) -> None:
    client = FakeNetworks()
    first = isolated(client, port, "u0")
    spawners = [first, *(isolated(client, port, f"u{n}", engine=first.engine) for n in range(1, 9))]
    await asyncio.gather(*(spawner.start() for spawner in spawners))
    taken = [subnet for network in client.made.values() for subnet in subnets_of(network)]
    assert len(taken) == 10
    assert not any(one.overlaps(other) for one, other in itertools.combinations(taken, 2))
    await asyncio.gather(*(spawner.stop() for spawner in spawners))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hub_connect_url": "http://10.7.0.2:8081"}, "hub_connect_ip has to be a name"),
        ({"attached_containers": ["hub", "proxy", "c", "d", "e"]}, "at most 4"),
        ({"attached_containers": [], "allow_internet": False}, "attached_containers is empty"),
    ],
)
async def test_settings_by_which_nobody_would_be_reached(port: int, settings: dict[str, Any], said: str) -> None:
    client = FakeNetworks()
    for role in "cde":
        client.replace(role)
    client.existing["hub"]["NetworkSettings"]["Networks"]["kit"]["IPAddress"] = "10.7.0.2"
    with pytest.raises(Exception, match=said):
        await isolated(client, port, **settings).start()
    assert client.orders == []


async def test_who_has_slept_too_long_has_no_hub_on_its_network(port: int) -> None:
    client = FakeNetworks()
    sleeps = {"remove": False, "stop_action": "pause", "max_sleeping": 1}
    first = isolated(client, port, **sleeps)
    second = isolated(client, port, "bob", engine=first.engine, **sleeps)
    for spawner in (first, second):
        await spawner.start()
    for spawner in (first, second):
        await spawner.stop()

    async def detached() -> bool:
        return client.on("hub") == client.on("proxy") == {second.object_name}

    await until(detached, timeout=10, interval=0.01)


def test_a_published_port_would_be_a_way_in(port: int) -> None:
    assert isolated(FakeNetworks(), port).use_internal_ip is True
    spawner = isolated(FakeNetworks(), port, use_internal_ip=False)
    with pytest.raises(Exception, match="needs use_internal_ip"):
        asyncio.run(spawner.start())


async def test_an_engine_that_tells_of_no_containers_does_not_hold_up_a_start(port: int) -> None:
    client = FakeNetworks()
    left = {f"dockyard.{key}": value for key, value in {"instance": "ours", "user": "eve", "server": ""}.items()}
    client.made["left"] = {"Name": "left", "Labels": left, "IPAM": None, "Id": "left"}
    spawner = isolated(client, port, instance="ours")
    client.fail["containers"] = [api_error(500, "the engine is unwell")] * 1000
    await spawner.start()
    # Nobody can tell that it is nobody's.
    assert "left" in client.made
    client.fail["containers"].clear()
    second = isolated(client, port, "bob", engine=spawner.engine, instance="ours")
    await second.start()
    assert "left" not in client.made
    for one in (spawner, second):
        await one.stop()


async def test_network_of_a_former_instance_is_this_servers(port: int) -> None:
    client = FakeNetworks()
    spawner = isolated(client, port, instance="ours")
    spawner._record_owner(Owner("former", "ann", ""))
    labels = {f"dockyard.{key}": value for key, value in {"instance": "former", "user": "ann", "server": ""}.items()}
    client.made[spawner.object_name] = {"Name": spawner.object_name, "Labels": labels, "IPAM": None, "Id": "left"}
    await spawner.start()
    assert client.made[spawner.object_name]["Id"] == "left"
    await spawner.stop()
