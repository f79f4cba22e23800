from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner._start.gpus import NoneFree, Pool, device_request
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

POOL = ["0", "1", "GPU-5c3", "MIG-GPU-5c3/1/0"]
GPU = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}}


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        ("all", {"Count": -1, "DeviceIDs": []}),
        (2, {"Count": 2, "DeviceIDs": []}),
        (["MIG-GPU-5c3/1/0"], {"Count": 0, "DeviceIDs": ["MIG-GPU-5c3/1/0"]}),
    ],
)
def test_what_the_engine_is_asked(gpus: Any, request_: dict[str, Any]) -> None:
    assert device_request(gpus) == {**GPU, **request_}


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 4))


@given(COUNTS, st.lists(st.sampled_from("abcdef")))
def test_nobody_has_what_somebody_else_has(counts: dict[str, int], given_back: list[str]) -> None:
    pool, held = Pool(), {}
    for holder, count in counts.items():
        try:
            held[holder] = pool.lease(holder, count, POOL)
        except NoneFree:
            assert sum(map(len, held.values())) + count > len(POOL)
    leased = [device for devices in held.values() for device in devices]
    assert len(leased) == len(set(leased))
    assert {holder: len(devices) for holder, devices in held.items()} == {h: counts[h] for h in held}
    for holder in given_back:
        pool.give_back(holder)
    assert set(pool.holders.values()) == {h for h in held if held[h]} - set(given_back)


def test_a_server_has_its_own_devices_again_where_they_are_free() -> None:
    pool = Pool()
    assert pool.lease("ann", 1, POOL, wanted=["GPU-5c3"]) == ["GPU-5c3"]
    assert pool.lease("bob", 2, POOL, wanted=["GPU-5c3", "1"]) == ["1", "0"]
    assert pool.lease("ann", 2, POOL, wanted=["GPU-5c3"]) == ["GPU-5c3", "MIG-GPU-5c3/1/0"]
    with pytest.raises(NoneFree):
        pool.lease("bob", 3, POOL)
    assert pool.holders == {"1": "bob", "0": "bob", "GPU-5c3": "ann", "MIG-GPU-5c3/1/0": "ann"}


def spawners(count: int, **traits: Any) -> list[Any]:
    engine = fake_engine(FakeClient())
    return [make_spawner(f"u{n}", engine=engine, **traits) for n in range(count)]


async def ids(spawner: Any) -> list[str]:
    (request,) = await spawner._gpus.requests()
    return list(request["DeviceIDs"])


async def test_a_pool_is_shared_by_all_servers_of_a_hub() -> None:
    ann, bob, cyd = spawners(3, gpus=2, gpu_pool=POOL)
    assert await ids(ann) == ["0", "1"]
    assert await ids(bob) == ["GPU-5c3", "MIG-GPU-5c3/1/0"]
    assert await ids(ann) == ["0", "1"]
    with pytest.raises(Exception, match="There is no GPU free: of 4 in the pool, 2 are needed") as failed:
        await ids(cyd)
    assert (failed.value.reason, failed.value.status_code) == ("gpus", 503)
    ann._sleep.paused_at = 1.0
    ann._gpus.give_back()
    with pytest.raises(Exception, match="no GPU free"):
        await ids(cyd)
    ann._sleep.paused_at = 0.0
    ann._gpus.give_back()
    assert await ids(cyd) == ["0", "1"]
    assert cyd.get_state() == {"gpus": ["0", "1"]}


async def test_leases_are_those_of_the_states_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [(("bob", ""), {"gpus": ["0"]}), (("u0", "lab"), {"gpus": ["1"]}), (("dan", ""), {"last_gpus": ["2"]})]
    monkeypatch.setattr("dockerspawner._start.gpus.servers_on_record", lambda db: servers)
    (spawner,) = spawners(1, gpus=2, gpu_pool=POOL)
    assert await ids(spawner) == ["GPU-5c3", "MIG-GPU-5c3/1/0"]


async def test_who_has_none_any_more_has_none_in_the_state_but_wants_the_same_again() -> None:
    ann, bob = spawners(2, gpus=1, gpu_pool=POOL)
    await ids(ann)
    await ids(bob)
    assert bob.get_state() == {"gpus": ["1"]}
    bob._gpus.give_back()
    again, ann.gpus = bob.get_state(), 0
    assert await ann._gpus.requests() == []
    assert ann._gpus.pool.holders == {}
    assert ann.get_state() == {"last_gpus": ["0"]}
    bob.load_state(again)
    assert await ids(bob) == ["1"]


async def test_a_lease_is_the_servers_whatever_its_container_is_called() -> None:
    (spawner,) = spawners(1, gpus=1, gpu_pool=POOL)
    await ids(spawner)
    spawner.object_name = "another"
    spawner._gpus.give_back()
    assert spawner._gpus.pool.holders == {}


@pytest.mark.parametrize(
    ("gpus", "count"), [(None, 0), (0, 0), ([], 0), ("all", 1), (lambda spawner: 1, 1), (lambda spawner: None, 0)]
)
async def test_settings(gpus: Any, count: int) -> None:
    (spawner,) = spawners(1, gpus=gpus)
    assert len(await spawner._gpus.requests()) == count


@pytest.mark.parametrize("gpus", ["some", -1, True, 1.5, [1], {"a": 1}])
async def test_what_is_no_setting(gpus: Any) -> None:
    (spawner,) = spawners(1, gpus=gpus)
    with pytest.raises(Exception, match="The setting gpus is"):
        await spawner._gpus.requests()


def test_a_kept_container_with_devices_that_others_have_now() -> None:
    """By the leases of all, whatever the server itself has had or is to have."""
    spawner, bob = spawners(2, gpu_pool=POOL)
    bob._gpus.lease(1, ["1"])
    spawner._leased = spawner._last_leased = ["0", "1"]
    requests = [{"DeviceIDs": ["0"]}]
    spawner._gpus.check_devices({"HostConfig": {"DeviceRequests": requests}})
    assert spawner.get_state() == {"gpus": ["0"]}
    assert spawner._gpus.pool.holders == {"0": ("u0", ""), "1": ("u1", "")}
    spawner._gpus.check_devices({"HostConfig": {"DeviceRequests": None}})
    assert spawner.get_state() == {"last_gpus": ["0"]}
    requests[0]["DeviceIDs"].append("1")
    with pytest.raises(Exception, match="bound to GPUs that are in use: 1"):
        spawner._gpus.check_devices({"HostConfig": {"DeviceRequests": requests}})
