"""Other calls, and calls on what is somebody else's. None reaches the engine, but for the question whose it is."""

from __future__ import annotations

import json

import pytest

from dockyard.gate import routes
from support.bodies import DATABASE, FOREIGN, FOREIGN_SECRET, HELPER, HUB, IMAGE, OURS
from support.gate import Gate

ELSEWHERE = [
    *(
        ("POST", path)
        for path in (
            "/build",
            "/commit?container=x",
            "/session",
            "/grpc",
            "/auth",
            "/images/load",
            "/images/x/tag?repo=y",
            "/images/x/push",
            "/plugins/pull?remote=x",
            "/plugins/x/enable",
            "/swarm/init",
            "/swarm/join",
            "/swarm/leave",
            "/swarm/update",
            "/nodes/n1/update?version=1",
            "/services/kit-ada/update?version=1",
            "/configs/create",
            "/secrets/x/update",
            "/containers/prune",
            "/volumes/prune",
            "/networks/prune",
            "/images/prune",
            "/build/prune",
            f"/containers/{OURS}/attach?stream=1",
            f"/containers/{OURS}/update",
            f"/containers/{OURS}/kill",
            f"/containers/{OURS}/restart",
            f"/containers/{OURS}/resize",
            f"/containers/{OURS}/wait",
            f"/containers/{OURS}/copy",
        )
    ),
    *(
        ("GET", path)
        for path in (
            f"/containers/{OURS}/export",
            f"/containers/{OURS}/attach/ws",
            f"/containers/{OURS}/top",
            f"/containers/{OURS}/changes",
            f"/containers/{OURS}/stats",
            "/images/json",
            "/images/search?term=x",
            "/images/get?names=x",
            f"/images/{IMAGE}/get",
            f"/images/{IMAGE}/history",
            "/configs",
            "/plugins",
            "/swarm",
            "/swarm/unlockkey",
            "/system/df",
            "/nodes",
            "/secrets/s1",
            "/distribution/x/json",
            "/debug/pprof",
            "/metrics",
        )
    ),
    ("DELETE", f"/images/{IMAGE}"),
    ("DELETE", "/nodes/n1"),
    ("PUT", "/volumes/kit-home-ada"),
    ("OPTIONS", "/version"),
    ("TRACE", "/version"),
    ("PATCH", f"/containers/{OURS}/json"),
    ("HEAD", f"/containers/{OURS}/archive?path=/"),
]


@pytest.mark.parametrize(("method", "path"), ELSEWHERE)
async def test_another_call(gate: Gate, method: str, path: str) -> None:
    status, _ = await gate.send(method, f"/v1.45{path}")
    assert status == 403
    assert not gate.engine.seen


FOREIGN_THINGS = [
    *(
        (method, path.format(one))
        for one in (FOREIGN, "other", DATABASE, "kit-postgres-1")
        for method, path in (
            ("GET", "/containers/{}/json"),
            ("GET", "/containers/{}/logs?stdout=1"),
            ("GET", "/containers/{}/archive?path=/etc/shadow"),
            ("POST", "/containers/{}/start"),
            ("POST", "/containers/{}/stop"),
            ("POST", "/containers/{}/pause"),
            ("POST", "/containers/{}/unpause"),
            ("POST", "/containers/{}/rename?name=kit-x"),
            ("DELETE", "/containers/{}?force=1"),
        )
    ),
    # What is told of the hub and the proxy is not done to them.
    *(
        (method, path.format(HUB))
        for method, path in (
            ("GET", "/containers/{}/logs?stdout=1"),
            ("GET", "/containers/{}/archive?path=/srv"),
            ("POST", "/containers/{}/stop"),
            ("DELETE", "/containers/{}?force=1"),
        )
    ),
    ("GET", "/volumes/old-hub-data"),
    ("GET", "/volumes/postgres-work"),
    ("DELETE", "/volumes/postgres-work"),
    ("DELETE", "/volumes/kit-of-another"),
    ("GET", "/networks/kit_hub"),
    ("GET", "/networks/kit-of-another"),
    ("DELETE", "/networks/kit_hub"),
    ("GET", "/services/other"),
    ("DELETE", "/services/other"),
    ("GET", "/services/other/logs?stdout=1"),
    ("GET", "/tasks/t0"),
    ("DELETE", f"/secrets/{FOREIGN_SECRET}"),
    ("GET", f"/exec/{'c0' * 32}/json"),
    ("GET", "/exec/x/json"),
    ("GET", "/images/alpine/json"),
]


@pytest.mark.parametrize(("method", "path"), FOREIGN_THINGS)
async def test_what_is_somebody_elses_is_not_there(gate: Gate, method: str, path: str) -> None:
    status, said = await gate.send(method, path)
    assert status == 404
    assert "zq" not in json.dumps(said)
    assert not gate.engine.orders


async def test_helpers_are_the_hubs_own(gate: Gate) -> None:
    assert (await gate.send("DELETE", f"/containers/{HELPER}?force=1"))[0] == 204


OF_ONE_HOST = [
    ("GET", "/containers/json"),
    ("POST", "/containers/create?name=kit-ada"),
    ("GET", f"/containers/{OURS}/json"),
    ("GET", f"/containers/{OURS}/logs"),
    ("POST", f"/containers/{OURS}/start"),
    ("POST", f"/containers/{OURS}/stop"),
    ("POST", f"/containers/{OURS}/pause"),
    ("POST", f"/containers/{OURS}/unpause"),
    ("POST", f"/containers/{OURS}/rename?name=kit-x"),
    ("POST", f"/containers/{OURS}/exec"),
    ("GET", f"/containers/{OURS}/archive?path=/"),
    ("PUT", f"/containers/{OURS}/archive?path=/jupyterhub-ssl"),
    ("DELETE", f"/containers/{OURS}"),
    ("POST", f"/exec/{'c0' * 32}/start"),
    ("GET", f"/exec/{'c0' * 32}/json"),
    ("POST", "/volumes/create"),
    ("POST", "/networks/create"),
    ("DELETE", "/networks/kit-ada"),
    ("POST", "/networks/kit-ada/connect"),
    ("POST", "/networks/kit-ada/disconnect"),
]
OF_A_SWARM = [
    ("GET", "/services"),
    ("POST", "/services/create"),
    ("GET", "/services/kit-ada"),
    ("DELETE", "/services/kit-ada"),
    ("GET", "/services/kit-ada/logs"),
    ("GET", "/tasks"),
    ("GET", "/tasks/t1"),
    ("GET", "/nodes/n1"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("DELETE", "/secrets/s1"),
]
OF_BOTH = ["/_ping", "/version", "/info", "/volumes", "/volumes/kit-home-ada", "/networks", "/networks/kit_users"]


@pytest.mark.parametrize(
    ("where", "method", "path"),
    [*(("a swarm", *call) for call in OF_ONE_HOST), *(("one host", *call) for call in OF_A_SWARM)],
)
async def test_calls_of_one_host_are_refused_on_a_swarm_and_the_other_way_round(
    gate: Gate, where: str, method: str, path: str
) -> None:
    address = gate.on_swarm if where == "a swarm" else gate.address
    async with gate.session.request(method, f"http://{address}{path}") as answer:
        assert answer.status == 403
    assert f"a hub on {where}" in gate.notes()[0]["why"]
    assert not gate.engine.seen


def test_every_call_is_of_one_host_or_of_a_swarm_or_of_both() -> None:
    """And the lists above leave out none."""
    both = {route for route in routes.ONE_HOST if route in routes.SWARM}
    assert len(routes.ONE_HOST) - len(both) == len(OF_ONE_HOST)
    assert len(routes.SWARM) - len(both) == len(OF_A_SWARM)


@pytest.mark.parametrize("path", OF_BOTH)
async def test_both_have_what_they_need(gate: Gate, path: str) -> None:
    gate.engine.things |= {"/info": {}, "/volumes": {"Volumes": []}, "/networks": []}
    for address in (gate.address, gate.on_swarm):
        async with gate.session.get(f"http://{address}{path}") as answer:
            assert answer.status == 200
