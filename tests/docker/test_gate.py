"""A real engine behind the gate: the spawner does all that it does without one, and nobody comes to the host."""

from __future__ import annotations

import asyncio
import io
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import docker
import docker.errors
import pytest
from docker.types import Mount

from dockerspawner import DockerSpawner
from dockerspawner._engine.watch import Word
from dockyard.gate.policy.allowed import Allowed
from support.gate import opened
from support.pki import Authority
from support.registry import Registry
from support.repo import base_image
from support.spawners import make_spawner
from support.tiny import TINY, tiny_image
from support.wait import until

pytestmark = pytest.mark.needs("engine")

HARDENED = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}

Make = Callable[..., DockerSpawner]


@pytest.fixture
def audit() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
async def gate(instance: str, client: docker.DockerClient, socket: str, audit: io.StringIO) -> AsyncIterator[str]:
    """The address of the gate of a kit that is called as this test's instance."""
    client.networks.create(f"{instance}_users")
    images = (re.escape(TINY), re.escape(base_image()), r"127\.0\.0\.1:\d+/tiny:.*")
    async with opened(Allowed(instance, images), socket, audit) as address:
        yield f"tcp://{address}"


@pytest.fixture
def behind(instance: str, gate: str) -> Make:
    """Makes spawners as the kit's, whose engine is behind the gate."""

    def make(username: str = "ann", server: str = "", **traits: Any) -> DockerSpawner:
        settings = {
            "image": tiny_image(),
            "prefix": instance,
            "instance": instance,
            "network_name": f"{instance}_users",
            "volumes": {"{prefix}-home-{username}": "/home/jovyan"},
            "extra_host_config": HARDENED,
            "client_kwargs": {"base_url": gate},
            "remove": True,
        }
        return make_spawner(username, server, **{**settings, **traits})

    return make


def refused(audit: io.StringIO) -> list[str]:
    notes = [json.loads(line) for line in audit.getvalue().splitlines()]
    return [note["why"] for note in notes if note["gate"] == "refused" and note["status"] != 404]


async def test_the_life_of_a_server(behind: Make, containers: Any, audit: io.StringIO) -> None:
    """A helper prepares its new volume, a command runs in it, it sleeps and wakes; it goes with its volume."""
    spawner = behind(
        remove=False,
        stop_action="pause",
        volume_owner="1000:1000",
        skeleton="/www",
        notebook_dir="/home/jovyan",
        post_start_cmd="echo hello",
        mem_limit="64M",
        delete_policy="delete",
    )
    await spawner.start()
    assert await spawner.poll() is None
    await spawner.stop()
    assert await spawner.poll() == 0
    await spawner.start()
    assert await spawner.poll() is None
    await spawner.stop(now=True)
    await spawner.delete_forever()
    assert containers() == []
    assert refused(audit) == []


async def test_a_server_that_ends(behind: Make, audit: io.StringIO) -> None:
    """Its user reads its exit code and the end of its log."""
    with pytest.raises(Exception, match="exit code 3") as failed:
        await behind(cmd=["sh", "-c", "echo farewell; exit 3"]).start()
    assert "farewell" in str(vars(failed.value))
    assert refused(audit) == []


async def test_a_server_on_a_network_of_its_own(
    behind: Make, client: docker.DockerClient, instance: str, audit: io.StringIO
) -> None:
    spawner = behind(network_isolation="per-user")
    host, _ = await spawner.start()
    networks = client.containers.get(spawner.object_id).attrs["NetworkSettings"]["Networks"]
    assert set(networks) == {spawner.object_name, f"{instance}-egress"}
    assert networks[spawner.object_name]["IPAddress"] == host
    await spawner.stop()
    assert [network.name for network in client.networks.list(names=[spawner.object_name])] == []
    assert refused(audit) == []


class Listener:
    def __init__(self) -> None:
        self.words: list[Word] = []

    def hear(self, word: Word) -> None:
        self.words.append(word)


async def test_a_server_that_is_put_on_its_network_again(
    behind: Make, client: docker.DockerClient, instance: str, audit: io.StringIO
) -> None:
    """The hub is told of it by the engine's events, which name no label of the server's."""
    spawner, listener = behind(), Listener()
    await spawner.start()
    users = client.networks.get(f"{instance}_users")
    spawner._watch.listen(spawner.object_id, listener.hear)

    def move() -> None:
        users.disconnect(spawner.object_id)
        users.connect(spawner.object_id)

    async def told() -> bool:
        return bool(listener.words)

    await asyncio.to_thread(move)
    await until(told, timeout=20)
    assert [(word.id, word.running, word.described) for word in listener.words] == [(spawner.object_id, True, None)]
    assert refused(audit) == []


# Answers by TLS with the key that it was given.
SERVE = """
import http.server, os, ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"])
server = http.server.ThreadingHTTPServer(("", 8888), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


async def test_a_server_is_given_its_keys(behind: Make, containers: Any, audit: io.StringIO, tmp_path: Path) -> None:
    """For internal TLS, before it is started, and as its user's own, whose uid is read from the image."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "server.test")
    given = {"keyfile": str(key), "certfile": str(certificate), "cafile": str(authority.root)}
    spawner = behind(
        image=base_image(),
        internal_ssl=True,
        use_internal_hostname=False,
        cmd=["python3", "-c", SERVE],
        extra_create_kwargs={"user": "daemon"},
    )
    spawner.cert_paths = await spawner.move_certs(given)
    address = await spawner.start()
    trusted = ssl.create_default_context(cafile=authority.root)
    _, connection = await asyncio.open_connection(*address, ssl=trusted, server_hostname="server.test")
    connection.close()
    await spawner.stop(now=True)
    assert containers() == []
    assert refused(audit) == []


async def test_an_image_that_is_pulled(
    behind: Make, registry: Registry, client: docker.DockerClient, audit: io.StringIO
) -> None:
    name = registry.push(client.images.get(tiny_image()), "tiny:gate")
    told = []
    spawner = behind(image=name, pull_policy="always")
    await spawner.start()
    async for event in spawner.progress():
        told.append(event["message"])
    assert any(message.startswith("Pull") for message in told)
    await spawner.stop()
    client.images.remove(name)
    assert refused(audit) == []


async def test_who_may_not_have_a_server_is_sent_to_an_administrator(
    behind: Make, containers: Any, audit: io.StringIO
) -> None:
    """Who finds the reason in the log, by the reference that the user has read."""
    spawner = behind(extra_host_config={**HARDENED, "privileged": True})
    with pytest.raises(Exception, match="Ask an administrator") as failed:
        await spawner.start()
    said = failed.value.jupyterhub_message  # type: ignore[attr-defined]
    (note,) = (json.loads(line) for line in audit.getvalue().splitlines() if "Privileged" in line)
    assert note["reference"] in said
    assert "Privileged" not in said
    assert containers() == []


@pytest.fixture
async def bound(instance: str, socket: str, gate: str, audit: io.StringIO, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a gate that allows two paths of the host, of which one does not exist."""
    (tmp_path / "data").mkdir(mode=0o777)
    (tmp_path / "data/file").write_text("from the host")
    paths = (str(tmp_path / "data"), str(tmp_path / "missing"))
    async with opened(Allowed(instance, (re.escape(TINY),), binds=paths), socket, audit) as address:
        yield f"tcp://{address}"


async def test_a_path_of_the_host_is_mounted(behind: Make, bound: str, tmp_path: Path, audit: io.StringIO) -> None:
    path = str(tmp_path / "data")
    spawner = behind(
        client_kwargs={"base_url": bound},
        volumes={"{prefix}-home-{username}": "/home/jovyan", path: "/data"},
        read_only_volumes={path: "/seen"},
    )
    await spawner.start()
    mounts = {one["Destination"]: one for one in (await spawner.get_object())["Mounts"]}
    assert {target: (mounts[target]["Source"], mounts[target]["RW"]) for target in ("/data", "/seen")} == {
        "/data": (path, True),
        "/seen": (path, False),
    }
    await spawner.stop()
    assert refused(audit) == []


async def test_a_path_that_is_missing_is_not_created(
    behind: Make, bound: str, tmp_path: Path, audit: io.StringIO
) -> None:
    path = tmp_path / "missing"
    spawner = behind(client_kwargs={"base_url": bound}, volumes={str(path): "/data"})
    with pytest.raises(Exception, match="Ask an administrator") as failed:
        await spawner.start()
    assert str(path) not in failed.value.jupyterhub_message  # type: ignore[attr-defined]
    (why,) = refused(audit)
    assert why.startswith("A path of the host does not exist: create it.")
    assert str(path) in why
    assert not path.exists()


@pytest.mark.parametrize("place", ["/proc/self/fd", "//proc", "/sys/", "/dev", "/"])
async def test_no_mount_and_no_command_is_in_the_kernels_folders(
    gate: str, instance: str, containers: Any, place: str
) -> None:
    taken = docker.APIClient(gate, version="1.45")
    mounts = [Mount(place, f"{instance}-x")]
    ways = [
        {"host_config": taken.create_host_config(mounts=mounts, network_mode=f"{instance}_users", **HARDENED)},
        {
            "host_config": taken.create_host_config(network_mode=f"{instance}_users", **HARDENED),
            "working_dir": place,
        },
    ]
    try:
        for way in ways:
            with pytest.raises(docker.errors.APIError) as error:
                await asyncio.to_thread(taken.create_container, tiny_image(), name=f"{instance}-evil", **way)
            assert error.value.status_code == 403
    finally:
        taken.close()
    assert containers() == []


HOST_FILES = {
    "bind": {"binds": ["/etc:/host:ro"]},
    "the root": {"binds": ["/:/host"]},
    "mount": {"mounts": [Mount("/host", "/etc", type="bind", read_only=True)]},
    "privileged": {"privileged": True},
    "processes": {"pid_mode": "host"},
    "device": {"devices": ["/dev/sda:/dev/sda"]},
    "capability": {"cap_add": ["SYS_ADMIN", "DAC_READ_SEARCH"]},
}


@pytest.mark.parametrize("how", HOST_FILES)
async def test_no_container_reads_a_file_of_the_host(
    gate: str, client: docker.DockerClient, instance: str, how: str, containers: Any
) -> None:
    """As whoever has taken the hub over would try, with docker-py."""
    taken = docker.APIClient(gate, version="1.45")
    host = taken.create_host_config(network_mode=f"{instance}_users", **HARDENED | HOST_FILES[how])
    options = {"name": f"{instance}-evil", "labels": {"dockyard.instance": instance}, "host_config": host}

    def start() -> None:
        taken.start(taken.create_container(tiny_image(), ["cat", "/host/shadow"], **options))

    try:
        with pytest.raises(docker.errors.APIError) as error:
            await asyncio.to_thread(start)
        assert error.value.status_code == 403
        volume = {"driver_opts": {"type": "none", "o": "bind", "device": "/etc"}}
        with pytest.raises(docker.errors.APIError, match="403"):
            await asyncio.to_thread(taken.create_volume, f"{instance}-etc", **volume)
        assert containers() == []
    finally:
        taken.close()


async def test_a_volume_that_is_not_there_is_made_as_the_hubs(
    gate: str, client: docker.DockerClient, instance: str
) -> None:
    """Which the spawner does itself; by whoever has taken the hub over, another kit would be given it as its own."""
    taken, names = docker.APIClient(gate, version="1.45"), [f"{instance}-bound", f"{instance}-mounted"]
    host = taken.create_host_config(
        binds=[f"{names[0]}:/bound:ro"],
        mounts=[Mount("/mounted", names[1])],
        network_mode=f"{instance}_users",
        **HARDENED,
    )
    try:
        made = await asyncio.to_thread(taken.create_container, tiny_image(), name=f"{instance}-evil", host_config=host)
    finally:
        taken.close()
    assert [client.volumes.get(name).attrs["Labels"] for name in names] == [{"dockyard.instance": instance}] * 2
    mounts = client.containers.get(made["Id"]).attrs["Mounts"]
    assert {mount["Name"]: (mount["Destination"], mount["RW"]) for mount in mounts} == {
        names[0]: ("/bound", False),
        names[1]: ("/mounted", True),
    }


async def test_others_containers_are_not_there(gate: str, client: docker.DockerClient, instance: str) -> None:
    other = client.containers.create(tiny_image(), name=f"{instance}-other", environment={"SECRET": "zq"})
    taken = docker.APIClient(gate, version="1.45")
    try:
        assert await asyncio.to_thread(taken.containers, all=True) == []
        for method in ("inspect_container", "start", "logs", "exec_create", "remove_container"):
            arguments = [other.id, "id"] if method == "exec_create" else [other.id]
            with pytest.raises(docker.errors.NotFound):
                await asyncio.to_thread(getattr(taken, method), *arguments)
    finally:
        taken.close()


@pytest.mark.parametrize("kind", ["containers", "volumes", "networks"])
async def test_others_things_are_told_of_as_what_is_not_there(
    gate: str, client: docker.DockerClient, instance: str, kind: str
) -> None:
    """To the letter, so that nobody tells one from the other."""
    theirs, nobodys = f"{instance}-theirs", f"{instance}-nobody"
    labels = {"dockyard.instance": "other"}
    if kind == "containers":
        client.containers.create(tiny_image(), name=theirs, labels=labels)
    else:
        getattr(client, kind).create(theirs, labels=labels)
    said = []
    async with aiohttp.ClientSession(gate.replace("tcp", "http")) as session:
        for name in (theirs, nobodys):
            async with session.get(f"/v1.45/{kind}/{name}{'/json' * (kind == 'containers')}") as answer:
                said.append((answer.status, await answer.text(), {**answer.headers, "Date": ""}))
    assert said[0][0] == 404
    assert str(said[0]) == str(said[1]).replace(nobodys, theirs)
