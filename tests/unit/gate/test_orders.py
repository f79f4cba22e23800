"""Orders with something in them that a hub may not have."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from support.bodies import DATABASE, FOREIGN, HELPER, HUB, LABELS, OURS, networks, server, service
from support.gate import Gate

OTHER_NETWORK, EGRESS, DEAD_END = networks()
AS_BIND = {"type": "none", "o": "bind", "device": "/"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/containers/{FOREIGN}/exec", {"Cmd": ["id"]}),
        ("POST", f"/containers/{HUB}/exec", {"Cmd": ["id"]}),
        ("POST", f"/containers/{OURS}/exec", {"Cmd": ["id"], "Privileged": True}),
        ("POST", f"/containers/{OURS}/exec", {"Cmd": ["id"], "AttachStdin": True}),
        ("POST", f"/containers/{OURS}/exec", {"Cmd": ["id"], "Container": OURS, "privileged": True}),
        ("POST", f"/exec/{'c0' * 32}/start", {"Detach": False, "Tty": False}),
        ("POST", f"/exec/{'c1' * 32}/start", {"Detach": True}),
        ("POST", f"/containers/{OURS}/start", {"Binds": ["/:/host"]}),
        ("POST", f"/containers/{OURS}/rename?name=hub", None),
        ("POST", f"/containers/{OURS}/stop?t=1;x", None),
        ("POST", "/containers/create?name=hub", server()),
        ("POST", "/containers/create", server()),
        ("POST", "/containers/create?name=kit-ada&platform=x", server()),
        ("POST", "/networks/kit_users/connect", {"Container": OURS}),
        ("POST", "/networks/kit_hub/connect", {"Container": OURS}),
        ("POST", "/networks/kit-ada/connect", {"Container": FOREIGN}),
        ("POST", "/networks/kit-ada/connect", {"Container": DATABASE}),
        ("POST", "/networks/kit-ada/connect", {"Container": OURS, "EndpointConfig": {"Aliases": ["hub"]}}),
        ("POST", "/networks/kit-ada/connect", {"Container": HUB, "EndpointConfig": {"DriverOpts": {"x": "y"}}}),
        ("POST", "/networks/kit_users/disconnect", {"Container": HUB, "Force": True}),
        ("DELETE", "/networks/kit_users", None),
        ("DELETE", "/volumes/old-ada", None),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Name": "bridge2"}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Driver": "macvlan"}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Driver": "host"}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Options": {"com.docker.network.bridge.name": "docker0"}}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Options": {"parent": "eth0"}}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Internal": False}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Attachable": True}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "ConfigFrom": {"Network": "x"}}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Scope": "swarm"}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "IPAM": {"Config": [{"Subnet": "192.168.0.0/24"}]}}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "IPAM": {"Config": [{"Subnet": "8.8.8.0/24"}]}}),
        (
            "POST",
            "/networks/create",
            {**OTHER_NETWORK, "IPAM": {"Driver": "x", "Config": [{"Subnet": "10.213.0.0/29"}]}},
        ),
        (
            "POST",
            "/networks/create",
            {**OTHER_NETWORK, "IPAM": {"Config": [{"Subnet": "10.213.0.0/29", "Gateway": "10.0.0.1"}]}},
        ),
        ("POST", "/networks/create", {**OTHER_NETWORK, "Labels": {"dockyard.instance": "other"}}),
        ("POST", "/networks/create", {**DEAD_END, "Internal": False}),
        ("POST", "/networks/create", {**DEAD_END, "Options": OTHER_NETWORK["Options"]}),
        ("POST", "/networks/create", {**DEAD_END, "Labels": LABELS}),
        ("POST", "/networks/create", {**DEAD_END, "IPAM": OTHER_NETWORK["IPAM"]}),
        ("POST", "/networks/create", {**OTHER_NETWORK, "IPAM": DEAD_END["IPAM"]}),
        ("DELETE", "/networks/link-local.dockyard", None),
        ("POST", "/networks/link-local.dockyard/connect", {"Container": DATABASE}),
        ("POST", "/networks/link-local.dockyard/connect", {"Container": HUB, "EndpointConfig": {"Aliases": ["hub"]}}),
        *(
            ("POST", "/networks/link-local.dockyard/disconnect", {"Container": container, "Force": True})
            for container in (FOREIGN, "other", DATABASE, HUB)
        ),
        ("POST", f"/containers/{HELPER}/exec", {"Cmd": ["id"]}),
        ("GET", f"/containers/{HELPER}/archive?path=/", None),
        # The pool is other kits', too.
        ("POST", "/networks/create", {**OTHER_NETWORK, "IPAM": {"Config": [{"Subnet": "10.213.0.0/28"}]}}),
        ("POST", "/networks/create", {**EGRESS, "IPAM": {"Config": [{"Subnet": "10.213.0.0/18"}]}}),
        ("POST", "/volumes/create", {"Name": "kit-x", "Driver": "local", "DriverOpts": AS_BIND}),
        ("POST", "/volumes/create", {"Name": "kit-x", "Driver": "vieux/sshfs"}),
        ("POST", "/volumes/create", {"Name": "kit_hub-data"}),
        ("POST", "/volumes/create", {"Name": "kit-of-another"}),
        ("POST", "/volumes/create", {"Name": "old-hub-data"}),
        ("POST", "/volumes/create", {"Name": ""}),
        ("POST", "/volumes/create", {"Name": "kit-x", "ClusterVolumeSpec": {}}),
        ("POST", "/volumes/create", {"Name": "kit-x", "Labels": {"com.docker.compose.project": "kit"}}),
        ("POST", "/secrets/create", {"Name": "other", "Labels": LABELS, "Data": ""}),
        ("POST", "/secrets/create", {"Name": "kit-x", "Labels": LABELS, "Data": "", "Driver": {"Name": "x"}}),
        ("POST", "/images/create?fromImage=alpine&tag=latest", None),
        ("POST", "/images/create?fromImage=kit-singleuser", None),
        ("POST", "/images/create?fromImage=kit-singleuser&tag=", None),
        ("POST", "/images/create?fromImage=kit-singleuser:0.1.0&tag=0.1.0", None),
        ("POST", "/images/create?fromImage=evil.test/kit-singleuser&tag=0.1.0", None),
        ("POST", "/images/create?fromImage=kit-singleuser&tag=0.1.0&fromSrc=-", None),
        ("POST", "/images/create?fromSrc=http://x/y.tar&repo=kit-singleuser&tag=0.1.0", None),
        ("POST", "/images/create?fromImage=kit-singleuser&tag=0.1.0&platform=x", None),
    ],
)
async def test_an_order(gate: Gate, method: str, path: str, body: Any) -> None:
    status, _ = await gate.send(method, path, body)
    assert status in (400, 403, 404)
    assert not gate.engine.orders


@pytest.mark.parametrize("version", ["v1.12", "v1.41", "v1.43", "v1.043", "v2", "v1.44/v1.43"])
async def test_a_version_that_makes_less_of_a_body_is_refused(gate: Gate, version: str) -> None:
    """By earlier ones services have no limits, and file systems below a read-only bind stay writable."""
    for path, body in (("services/create", service()), ("containers/create?name=kit-ada", server())):
        status, _ = await gate.send("POST", f"/{version}/{path}", body)
        assert status == 403
        assert "1.44" in gate.notes()[-1]["why"]
    assert not gate.engine.seen


@pytest.mark.parametrize("path", ["containers/create", f"containers/{OURS}/rename"])
async def test_a_name_that_would_fill_the_log_is_refused(gate: Gate, path: str) -> None:
    status, _ = await gate.send("POST", f"/{path}?name=kit-{'x' * 201}", server() if "create" in path else None)
    assert status == 403
    assert len(gate.notes()[0]["why"]) <= 300
    assert not gate.engine.orders


@pytest.mark.parametrize("container", [OURS, "kit-ada", HELPER, HUB, "kit-hub-1", "gone", "c5" * 32])
async def test_what_leaves_a_network(gate: Gate, container: str) -> None:
    """Its own, the kit's, and whatever else is there, be it no more than a name."""
    gate.engine.things["/networks/kit-ada"]["Containers"] = {"ep-1": {"Name": "gone"}, "c5" * 32: {"Name": "other"}}
    asked = {"Container": container, "Force": True}
    assert (await gate.send("POST", "/networks/kit-ada/disconnect", asked))[0] == 204
    assert gate.engine.orders[-1].json == asked


async def test_who_is_not_on_a_network_does_not_tell_whether_he_is_there(gate: Gate) -> None:
    said, things = [], gate.engine.things
    things["/containers/f0f0/json"] = things[f"/containers/{FOREIGN}/json"]
    for container in (FOREIGN, "f0f0", DATABASE, "nobody"):
        status, answer = await gate.send("POST", "/networks/kit-ada/disconnect", {"Container": container})
        said.append((status, answer["message"].replace(container, "...")))
    assert said == [(404, "No such container: ...")] * 4
    assert not gate.engine.orders


async def test_an_id_that_was_a_networks_once(gate: Gate) -> None:
    """What begins like an id, and a name, can come to be somebody else's."""
    things = gate.engine.things
    things["/networks/ab"] = things["/networks/kit-ada"] | {"Id": "ab12"}
    things["/networks/ab12"] = things["/networks/kit-ada"] = things["/networks/ab"]
    for name in ("ab", "kit-ada"):
        assert (await gate.send("POST", f"/networks/{name}/connect", {"Container": OURS}))[0] == 204
    assert (await gate.send("DELETE", "/networks/ab12"))[0] == 204
    gate.engine.seen.clear()
    for name in ("ab", "kit-ada"):
        things[f"/networks/{name}"] = {"Name": name, "Id": "ab34", "Labels": {}}
        assert (await gate.send("POST", f"/networks/{name}/connect", {"Container": OURS}))[0] == 404
        create = server(HostConfig__NetworkMode=name)
        assert (await gate.send("POST", "/containers/create?name=kit-ada", create))[0] == 404
    assert not gate.engine.orders


@pytest.mark.parametrize("by_the_hub", [True, False])
async def test_a_network_that_was_made_anew(gate: Gate, by_the_hub: bool) -> None:
    """After somebody has removed it by hand. Where he has made the other, too, an order in vain finds that out."""
    connect = ("POST", "/networks/kit-bob/connect", {"Container": OURS})
    for network_id in ("ab12", "ab34"):
        gate.engine.things["/networks/kit-bob"] = {"Name": "kit-bob", "Id": network_id, "Labels": LABELS}
        if by_the_hub:
            assert (await gate.send("POST", "/networks/create", OTHER_NETWORK))[0] == 201
        elif network_id == "ab34":
            gate.engine.gone.add("/networks/ab12/connect")
            assert (await gate.send(*connect))[0] == 404
        assert (await gate.send(*connect))[0] == 204
        assert gate.engine.orders[-1].path == f"/networks/{network_id}/connect"


async def test_a_volume_that_was_ours(gate: Gate) -> None:
    create = ("POST", "/containers/create?name=kit-ada", server())
    gate.engine.things["/volumes/kit-home-ada"] = {"Name": "kit-home-ada", "Labels": LABELS}
    assert (await gate.send(*create))[0] == 201
    assert (await gate.send("DELETE", "/volumes/kit-home-ada"))[0] == 204
    gate.engine.things["/volumes/kit-home-ada"] = {"Labels": {"dockyard.instance": "other"}}
    assert (await gate.send(*create))[0] == 403


@pytest.mark.parametrize("kind", ["volumes", "networks"])
async def test_a_name_that_came_to_be_anothers(gate: Gate, kind: str) -> None:
    """Removed by hand and made again by another kit, while the gate may remember the name."""
    body = server(HostConfig__NetworkMode="kit-ada")
    assert (await gate.send("POST", "/containers/create?name=kit-ada", body))[0] == 201
    name = {"volumes": "kit-home-ada", "networks": "kit-ada"}[kind]
    gate.engine.things[f"/{kind}/{name}"] = {"Name": name, "Id": "ab", "Labels": {"dockyard.instance": "other"}}
    gate.engine.seen.clear()
    assert (await gate.send("POST", "/containers/create?name=kit-ada", body))[0] in (403, 404)
    assert not gate.engine.orders


async def test_a_containers_name_that_came_to_be_anothers(gate: Gate) -> None:
    assert (await gate.send("POST", "/containers/kit-ada/start"))[0] == 204
    gate.engine.things["/containers/kit-ada/json"] = gate.engine.things[f"/containers/{FOREIGN}/json"]
    gate.engine.seen.clear()
    for call in ("start", "stop", "pause", "exec"):
        assert (await gate.send("POST", f"/containers/kit-ada/{call}", {"Cmd": ["id"]} if call == "exec" else None))[
            0
        ] == 404
    assert not gate.engine.orders


@pytest.mark.parametrize("path", ["/home", f"{'/' * 1000}home/ada"])
async def test_who_reads_files_is_noted(gate: Gate, path: str) -> None:
    gate.engine.streams[f"/containers/{OURS}/archive"] = [b""]
    await gate.send("GET", f"/containers/{OURS}/archive?path={path}")
    assert [(note["gate"], note["path"]) for note in gate.notes()] == [
        ("done", f"/containers/{OURS}/archive?path={path}")
    ]


def head(kind: bytes = tarfile.REGTYPE, **fields: bytes) -> bytes:
    """The head of an entry with bytes of one's own at some places: `at386=b"..."`."""
    entry = tarfile.TarInfo("key.pem")
    entry.type = kind
    made = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    for place, value in fields.items():
        start = int(place.removeprefix("at"))
        made[start : start + len(value)] = value
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def sized(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    return head(kind, at124=tarfile.itn(size, 12, tarfile.GNU_FORMAT))


# One file, of which the old way of GNU says that it is huge: offset and length of the one piece, and the whole's size.
SPARSE = (
    head(
        tarfile.GNUTYPE_SPARSE,
        at124=b"%011o\0" % 512,
        at386=b"%011o\0%011o\0" % (0, 512),
        at483=b"%011o\0" % (48 * 2**20),
    )
    + bytes(512)
    + bytes(1024)
)
# The last leads back to the head of its name.
ENDLESS = (
    sized(0)
    + sized(15 * 1024, tarfile.GNUTYPE_LONGNAME)
    + b"key.pem".ljust(15 * 1024, b"\0")
    + sized(-16 * 1024)
    + bytes(1024)
)
# A head that says more of the next, which is one, too.
NESTED = (sized(6, tarfile.XHDTYPE) + b"6 a=b\n".ljust(512, b"\0")) * 1000 + head() + bytes(1024)


def packed(name: str = "key.pem", **about: Any) -> bytes:
    packing = io.BytesIO()
    with tarfile.open(fileobj=packing, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        for key, value in {"size": 2, "mode": 0o600, **about}.items():
            setattr(entry, key, value)
        tar.addfile(entry, io.BytesIO(b"zq"))
    return packing.getvalue()


async def put(gate: Gate, path: str, body: bytes) -> int:
    status, _ = await gate.send("PUT", f"/containers/{OURS}/archive?path={path}", body, **{"Content-Type": ""})
    return status


async def test_keys(gate: Gate) -> None:
    assert await put(gate, "/jupyterhub-ssl", packed(uid=1000)) == 200
    (order,) = gate.engine.orders
    with tarfile.open(fileobj=io.BytesIO(order.body)) as tar:
        assert [(one.name, one.uid, one.mode) for one in tar] == [("key.pem", 1000, 0o600)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", packed()),
        ("/etc", packed()),
        ("/jupyterhub-ssl/..", packed()),
        ("/jupyterhub-ssl", packed("../etc/passwd")),
        ("/jupyterhub-ssl", packed("/etc/passwd")),
        ("/jupyterhub-ssl", packed("./key.pem")),
        ("/jupyterhub-ssl", packed("other")),
        ("/jupyterhub-ssl", packed(mode=0o4755)),
        ("/jupyterhub-ssl", packed(type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        ("/jupyterhub-ssl", packed(type=tarfile.LNKTYPE, linkname="/etc/passwd")),
        ("/jupyterhub-ssl", packed(type=tarfile.BLKTYPE, devmajor=8)),
        ("/jupyterhub-ssl", packed(type=tarfile.DIRTYPE)),
        ("/jupyterhub-ssl", SPARSE),
        ("/jupyterhub-ssl", ENDLESS),
        ("/jupyterhub-ssl", NESTED),
        ("/jupyterhub-ssl", sized(2**80, tarfile.GNUTYPE_LONGNAME)),
        ("/jupyterhub-ssl", b"no archive"),
    ],
)
async def test_another_archive(gate: Gate, path: str, body: bytes) -> None:
    assert await put(gate, path, body) in (400, 403)
    assert not gate.engine.orders
