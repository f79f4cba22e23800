"""What the kit's spawner sends gets through, written anew, with the owner's label on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.bodies import FOREIGN, HELPER, HUB, IMAGE, LABELS, OURS, SECRET, helping, networks, server, service
from support.gate import Gate
from support.recording import NEW

VOLUME = {"Target": "/home/jovyan", "Source": "kit-home-ada", "Type": "volume", "ReadOnly": False}
PATH = {"Target": "/d", "Source": "/home/ada", "Type": "bind", "ReadOnly": False}
HARDENED = {"NetworkMode": "kit_users", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}
OF_KIT = {"dockyard.instance": "kit"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/containers/create?name=kit-ada", server()),
        (
            "/containers/create?name=kit-ada",
            server(HostConfig__Mounts=[{"Target": "/d", "Source": "/srv/data", "Type": "bind"}]),
        ),
        ("/containers/create?name=kit-ada", server(HostConfig__Binds=["/home/ada:/home/ada/:ro", "old-ada:/old"])),
        ("/containers/create?name=kit-ada", server(HostConfig__NetworkMode="kit-ada")),
        ("/containers/create?name=kit-ada", server(NetworkingConfig={"EndpointsConfig": {"kit-ada": {}}})),
        (
            "/containers/create?name=kit-ada",
            server(NetworkingConfig={"EndpointsConfig": {"kit_users": {}, "link-local.dockyard": {}}}),
        ),
        ("/containers/create?name=kit-ada", server(Image="quay.io/jupyter/scipy-notebook:2026-11-02")),
        ("/containers/create?name=kit-ada", server(Labels={**LABELS, "dockyard.user": "x" * 4096})),
        ("/containers/create?name=kit-ada-helper", helping()),
        *(("/networks/create", network) for network in networks()),
        ("/volumes/create", {"Name": "kit-home-ada", "Driver": None, "DriverOpts": None, "Labels": LABELS}),
        ("/services/create", service()),
        ("/secrets/create", {"Name": "kit-ada-key", "Data": "enE=", "Labels": LABELS}),
        ("/networks/kit-ada/connect", {"Container": HUB, "EndpointConfig": {"Aliases": ["hub"]}}),
        ("/networks/kit-ada/disconnect", {"Container": OURS, "Force": True}),
        ("/networks/link-local.dockyard/connect", {"Container": OURS}),
        ("/networks/link-local.dockyard/disconnect", {"Container": OURS, "Force": True}),
        (
            f"/containers/{OURS}/exec",
            {"Container": OURS, "User": "", "Privileged": False, "Cmd": ["true"], "Env": None},
        ),
    ],
)
async def test_what_is_made(gate: Gate, path: str, body: Any) -> None:
    status, _ = await gate.send("POST", f"/v1.45{path}", body)
    assert status in (201, 204)
    (order,) = gate.engine.orders
    assert without_volumes(order.json) == without_volumes(body)
    assert order.path == path.partition("?")[0]


def without_volumes(body: Any) -> Any:
    """Which are asked for in one form, and ordered in another."""
    host = {name: value for name, value in body.get("HostConfig", {}).items() if name not in ("Binds", "Mounts")}
    return body | {"HostConfig": host}


@pytest.mark.parametrize(
    ("asked", "mounts"),
    [
        (
            {"Binds": ["/home/ada:/d:ro,rslave"]},
            [{**PATH, "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}}],
        ),
        ({"Binds": ["/home/ada:/d"]}, [PATH]),
        (
            {"Binds": ["kit-home-ada:/home/jovyan"]},
            [{**VOLUME, "VolumeOptions": {"NoCopy": False, "Labels": OF_KIT}}],
        ),
        (
            {"Binds": ["kit-home-ada:/home/jovyan:ro,z,nocopy"]},
            [{**VOLUME, "ReadOnly": True, "VolumeOptions": {"NoCopy": True, "Labels": OF_KIT}}],
        ),
        ({"Mounts": [VOLUME]}, [{**VOLUME, "VolumeOptions": {"Labels": OF_KIT}}]),
        (
            {"Mounts": [{**VOLUME, "VolumeOptions": {"NoCopy": True, "Labels": {"dockyard.user": "ada"}}}]},
            [{**VOLUME, "VolumeOptions": {"NoCopy": True, "Labels": {"dockyard.user": "ada", **OF_KIT}}}],
        ),
        (
            {"Mounts": [{"Target": "/d", "Source": "/srv/data", "Type": "bind"}]},
            [{"Target": "/d", "Source": "/srv/data", "Type": "bind"}],
        ),
    ],
)
async def test_binds_become_mounts(gate: Gate, asked: Any, mounts: Any) -> None:
    """A volume that the engine makes has the hub's label, so that no other kit takes it for its own.

    A path of the host that is missing is not created.
    """
    await gate.send("POST", "/containers/create?name=kit-ada", server(HostConfig=HARDENED | asked))
    (order,) = gate.engine.orders
    assert (order.json["HostConfig"]["Binds"], order.json["HostConfig"]["Mounts"]) == ([], mounts)


async def test_a_volume_that_a_node_makes_is_the_hubs(gate: Gate) -> None:
    await gate.send("POST", "/services/create", service(TaskTemplate__ContainerSpec__Mounts=[VOLUME]))
    (order,) = gate.engine.orders
    assert order.json["TaskTemplate"]["ContainerSpec"]["Mounts"] == [{**VOLUME, "VolumeOptions": {"Labels": OF_KIT}}]


async def test_a_volume_that_a_helper_would_have_made_is_the_hubs(gate: Gate) -> None:
    await gate.send("POST", "/containers/create?name=kit-ada-helper", helping())
    (order,) = gate.engine.orders
    (mount,) = order.json["HostConfig"]["Mounts"]
    assert mount["VolumeOptions"] == {"NoCopy": True, "Labels": OF_KIT}


async def test_the_owners_label_is_on_what_says_nothing_of_it(gate: Gate) -> None:
    await gate.send("POST", "/containers/create?name=kit-ada", server(Labels={}))
    await gate.send("POST", "/volumes/create", {"Name": "kit-home-ada"})
    assert [order.json["Labels"] for order in gate.engine.orders] == [{"dockyard.instance": "kit"}] * 2


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/containers/{}/start", "/start"),
        ("POST", "/containers/{}/stop?t=5", "/stop"),
        ("POST", "/containers/{}/pause", "/pause"),
        ("POST", "/containers/{}/unpause", "/unpause"),
        ("POST", "/containers/{}/rename?name=kit-bob", "/rename"),
        ("DELETE", "/containers/{}?v=True&link=False&force=True", ""),
    ],
)
async def test_a_container_is_meant_by_its_id(gate: Gate, method: str, path: str, sent: str) -> None:
    """Whatever is called so by the time that the engine reads it."""
    assert (await gate.send(method, path.format("kit-ada")))[0] == 204
    (order,) = gate.engine.orders
    assert order.path == f"/containers/{OURS}{sent}"


async def test_what_was_made_is_not_asked_about(gate: Gate) -> None:
    """But for its volume and its network, which are sent by their names."""
    await gate.send("POST", "/containers/create?name=kit-ada", server())
    gate.engine.seen.clear()
    await gate.send("POST", f"/containers/{NEW}/start")
    await gate.send("POST", "/containers/create?name=kit-bob", server())
    assert [(one.method, one.path) for one in gate.engine.seen] == [
        ("POST", f"/containers/{NEW}/start"),
        ("GET", "/volumes/kit-home-ada"),
        ("POST", "/containers/create"),
    ]


@pytest.mark.parametrize(
    ("asked", "sent"), [("5", "5"), ("600", "600"), ("601", "600"), ("86400", "600"), ("-1", "600")]
)
async def test_a_stop_takes_ten_minutes_at_most(gate: Gate, asked: str, sent: str) -> None:
    await gate.send("POST", f"/containers/{OURS}/stop?t={asked}")
    assert gate.engine.orders[-1].query == {"t": sent}


async def test_a_pull_names_one_image(gate: Gate) -> None:
    gate.engine.streams["/images/create"] = [b'{"status":"Pull', b'ing"}\r\n']
    repository, tag = IMAGE.split(":")
    status, said = await gate.send("POST", f"/images/create?tag={tag}&fromImage={repository}", None)
    assert (status, said) == (200, {"status": "Pulling"})
    (order,) = gate.engine.orders
    assert order.query == {"fromImage": repository, "tag": tag}


class TestQuestions:
    @pytest.mark.parametrize(
        "path", [f"/containers/{OURS}/json", f"/containers/{HELPER}/json", "/containers/kit-ada/json"]
    )
    async def test_all_is_told_of_the_hubs_own(self, gate: Gate, path: str) -> None:
        status, said = await gate.send("GET", path)
        assert status == 200
        assert said["Config"]["Env"] == ["SECRET=zq"]

    async def test_of_the_kits_own_containers_no_secret_is_told(self, gate: Gate) -> None:
        status, said = await gate.send("GET", f"/containers/{HUB}/json")
        assert status == 200
        assert said["Config"]["Hostname"] == HUB[:12]
        assert "zq" not in json.dumps(said)

    @pytest.mark.parametrize(
        ("path", "given", "sent"),
        [
            ("/containers/json", {}, ["dockyard.instance=kit"]),
            ("/containers/json", {"label": ["dockyard.user=ada"]}, ["dockyard.user=ada", "dockyard.instance=kit"]),
            ("/containers/json", {"label": ["dockyard.helper=kit"]}, ["dockyard.helper=kit"]),
            ("/volumes", {"label": "dockyard.user=ada"}, ["dockyard.user=ada", "dockyard.instance=kit"]),
            ("/services", {}, ["dockyard.instance=kit"]),
            ("/secrets", {}, ["dockyard.instance=kit"]),
        ],
    )
    async def test_lists_are_of_the_hubs_own(self, gate: Gate, path: str, given: Any, sent: list[str]) -> None:
        gate.engine.things[path] = []
        await gate.send("GET", f"{path}?filters={json.dumps(given)}")
        (question,) = gate.engine.seen
        assert json.loads(question.query["filters"]) == {"label": sent}

    @pytest.mark.parametrize("path", ["/containers/json", "/volumes", "/services", "/secrets", "/tasks"])
    @pytest.mark.parametrize(
        "labels",
        [
            # Of two values a swarm goes by either; none is any.
            ["dockyard.instance=kit", "dockyard.instance=other"],
            ["dockyard.instance=kit", "dockyard.instance"],
            ["com.docker.compose.project=kit", "com.docker.compose.project"],
        ],
    )
    async def test_a_label_that_is_asked_for_twice(self, gate: Gate, path: str, labels: list[str]) -> None:
        gate.engine.things[path] = []
        status, _ = await gate.send("GET", f"{path}?filters={json.dumps({'label': labels})}")
        assert status == 400
        assert not gate.engine.seen

    @pytest.mark.parametrize("path", ["/containers/json", "/volumes", "/services", "/secrets"])
    @pytest.mark.parametrize("label", ["dockyard.instance=other", "dockyard.instance"])
    async def test_others_things_are_not_listed(self, gate: Gate, path: str, label: str) -> None:
        gate.engine.things[path] = []
        status, _ = await gate.send("GET", f"{path}?filters={json.dumps({'label': [label]})}")
        assert status == 403
        assert not gate.engine.seen

    async def test_of_the_kit_hub_and_proxy_are_listed_without_their_secrets(self, gate: Gate) -> None:
        def one(service: str) -> Any:
            labels = {"com.docker.compose.project": "kit", "com.docker.compose.service": service, "of": "zq"}
            return {"Id": service, "Names": [f"/kit-{service}-1"], "Labels": labels, "Mounts": ["zq"], "Command": "zq"}

        gate.engine.things["/containers/json"] = [one("hub"), one("proxy"), one("postgres"), one("gate")]
        _, said = await gate.send("GET", '/containers/json?filters={"label":["com.docker.compose.project=kit"]}')
        assert [container["Id"] for container in said] == ["hub", "proxy"]
        assert "zq" not in json.dumps(said)

    async def test_of_the_kits_volumes_none_is_listed(self, gate: Gate) -> None:
        gate.engine.things["/volumes"] = []
        await gate.send("GET", '/volumes?filters={"label":["com.docker.compose.project=kit"]}')
        (question,) = gate.engine.seen
        assert "dockyard.instance=kit" in json.loads(question.query["filters"])["label"]

    async def test_of_others_networks_the_addresses_are_told(self, gate: Gate) -> None:
        others = {"Name": "lab", "Id": "1", "Containers": {"x": {}}, "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}}
        own = {"Name": "kit-ada", "Labels": LABELS, "IPAM": {"Config": []}}
        gate.engine.things["/networks"] = [others, own]
        _, said = await gate.send("GET", "/networks")
        assert said == [{"Name": "", "Id": "", "Labels": {}, "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}}, own]

    @pytest.mark.parametrize(
        ("filters", "status"),
        [
            ({"service": ["sv1", "other"]}, 404),
            ({"service": ["nobody"]}, 404),
            ({"label": ["dockyard.instance=other"]}, 403),
        ],
    )
    async def test_others_tasks_are_not_asked_for(self, gate: Gate, filters: Any, status: int) -> None:
        """Nor whether there are any: of a service that is not there an engine says so."""
        gate.engine.things["/services/sv1"] = gate.engine.things["/services/kit-ada"]
        said, _ = await gate.send("GET", f"/tasks?filters={json.dumps(filters)}")
        assert said == status
        assert not gate.engine.orders

    async def test_tasks_of_a_service(self, gate: Gate) -> None:
        """It is meant by its id, and asked about once, where it was not made just now."""
        gate.engine.things["/tasks"] = []
        await gate.send("POST", "/services/create", service())
        gate.engine.seen.clear()
        for name in ("kit-ada", "sv1", NEW):
            await gate.send("GET", f'/tasks?filters={{"service":"{name}"}}')
        assert [one.path for one in gate.engine.seen] == ["/services/kit-ada", "/tasks", "/tasks", "/tasks"]
        assert [json.loads(one.query["filters"])["service"] for one in gate.engine.orders] == [["sv1"], ["sv1"], [NEW]]

    async def test_all_of_the_hubs_tasks_are_the_engines_to_choose(self, gate: Gate) -> None:
        gate.engine.things["/tasks"] = [gate.engine.things["/tasks/t1"]]
        _, said = await gate.send("GET", '/tasks?filters={"label":["dockyard.instance=kit"]}')
        assert [task["ID"] for task in said] == ["t1"]
        (question,) = gate.engine.seen
        assert json.loads(question.query["filters"]) == {"label": ["dockyard.instance=kit"]}

    async def test_a_node_by_its_name_and_state(self, gate: Gate) -> None:
        whole = {
            "ID": "n1",
            "Description": {"Hostname": "w", "TLSInfo": "zq"},
            "Status": {"State": "ready"},
            "Spec": {},
        }
        gate.engine.things["/nodes/n1"] = whole
        _, said = await gate.send("GET", "/nodes/n1")
        assert said == {"ID": "n1", "Description": {"Hostname": "w"}, "Status": {"State": "ready"}, "Spec": {}}

    async def test_a_volume_that_an_operator_has_made(self, gate: Gate) -> None:
        assert (await gate.send("GET", "/volumes/old-ada"))[0] == 200

    async def test_the_engines_own_errors(self, gate: Gate) -> None:
        status, said = await gate.send("GET", "/containers/nobody/json")
        assert (status, said["message"]) == (404, "no such thing: /containers/nobody/json")


class TestEvents:
    """Told of: the hub's own containers and their networks, the starts of hub and proxy, the swarm's nodes."""

    @staticmethod
    def event(kind: str, attributes: dict[str, str]) -> Any:
        return {"Type": kind, "Action": "start", "Actor": {"ID": "x", "Attributes": attributes}, "timeNano": 1}

    async def heard(self, gate: Gate, *events: Any) -> list[Any]:
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        # In pieces, as they may come.
        gate.engine.streams["/events"] = [lines[start : start + 7] for start in range(0, len(lines), 7)]
        filters = json.dumps({"type": ["container", "network", "node", "service"]})
        async with gate.session.get(f"{gate.url}/events", params={"filters": filters}) as answer:
            return [json.loads(line) async for line in answer.content]

    @pytest.mark.parametrize(
        ("kind", "attributes", "kept"),
        [
            ("container", {**LABELS, "name": "kit-ada"}, lambda given: given),
            ("container", {"dockyard.instance": "other", "name": "kit-ada"}, None),
            ("container", {"name": "database", "com.docker.compose.project": "lab"}, None),
            (
                "container",
                {"com.docker.compose.project": "kit", "com.docker.compose.service": "proxy", "secret": "zq"},
                lambda given: {name: value for name, value in given.items() if name != "secret"},
            ),
            ("network", {"container": OURS, "name": "zq"}, lambda given: {"container": OURS}),
            ("network", {"container": FOREIGN, "name": "kit_users"}, None),
            ("network", {"container": HUB, "name": "kit_users"}, None),
            ("network", {"container": "", "name": "kit_users"}, None),
            ("network", {**LABELS, "name": "kit-ada"}, None),
            ("service", {"name": "kit-ada", "x": "zq"}, lambda given: {"name": "kit-ada"}),
            ("service", {"name": "other"}, None),
            ("node", {"name": "w", "state.new": "down"}, lambda given: {"state.new": "down"}),
            ("volume", LABELS, None),
        ],
    )
    async def test_event(self, gate: Gate, kind: str, attributes: Any, kept: Callable[[Any], Any] | None) -> None:
        for container_id in (OURS, FOREIGN, HUB):
            await gate.send("GET", f"/containers/{container_id}/json")
        ours = self.event("container", LABELS)
        expected = [self.event(kind, kept(attributes)), ours] if kept else [ours]
        assert await self.heard(gate, self.event(kind, attributes), ours) == expected

    async def test_the_text_of_a_command_in_the_hub(self, gate: Gate) -> None:
        about = {"com.docker.compose.project": "kit", "com.docker.compose.service": "hub"}
        ours, hubs = self.event("container", LABELS), self.event("container", about)
        commands = [{**event, "Action": "exec_create: sh -c zq"} for event in (ours, hubs)]
        assert await self.heard(gate, *commands) == [commands[0], {**hubs, "Action": "exec_create"}]

    async def test_a_huge_event_is_left_out(self, gate: Gate) -> None:
        ours = self.event("container", LABELS)
        huge = json.dumps(self.event("container", {**LABELS, "execID": "x" * 3 * 2**20})).encode() + b"\n"
        line = json.dumps(ours).encode() + b"\n"
        gate.engine.streams["/events"] = [line, *(huge[n : n + 2**18] for n in range(0, len(huge), 2**18)), line]
        async with gate.session.get(f"{gate.url}/events?filters=%7B%22type%22%3A%22container%22%7D") as answer:
            assert [json.loads(told) async for told in answer.content] == [ours, ours]

    async def test_the_networks_of_what_was_made_or_listed(self, gate: Gate) -> None:
        listed = [{"Id": OURS, "Labels": LABELS}, {"Id": FOREIGN, "Labels": {"dockyard.instance": "other"}}]
        gate.engine.things["/containers/json"] = [*listed, {"Id": HUB, "Labels": None}]
        joined = [self.event("network", {"container": one}) for one in (OURS, NEW, FOREIGN, HUB)]
        assert await self.heard(gate, *joined) == []
        await gate.send("GET", "/containers/json")
        await gate.send("POST", "/containers/create?name=kit-ada", server())
        assert await self.heard(gate, *joined) == joined[:2]


async def test_secrets_of_a_service_are_the_hubs_own(gate: Gate) -> None:
    await gate.send("POST", "/services/create", service())
    assert f"/secrets/{SECRET}" in [one.path for one in gate.engine.seen]


async def test_orders_are_noted_without_what_is_in_them(gate: Gate) -> None:
    await gate.send("POST", "/containers/create?name=kit-ada", server())
    await gate.send("GET", f"/containers/{OURS}/json")
    (note,) = gate.notes()
    assert (note["gate"], note["status"], note["path"]) == ("done", 201, "/containers/create?name=kit-ada")
    assert "zq" not in gate.audit.getvalue()
