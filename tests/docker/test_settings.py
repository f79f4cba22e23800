"""What settings do to a server on a real engine: mounts, networks, addresses, images, names."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from dockerspawner import SystemUserSpawner
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")


def in_server(client: docker.DockerClient, spawner: Any, script: str) -> str:
    ran = client.containers.get(spawner.object_id).exec_run(["sh", "-c", script])
    assert ran.exit_code == 0, ran.output
    return str(ran.output.decode())


@pytest.fixture
def networks(client: docker.DockerClient, instance: str) -> list[str]:
    return [client.networks.create(f"{instance}-{name}").name for name in ("one", "two")]


# Mounts


async def test_mounts_of_every_type(make: Any, client: Any, instance: str, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given")
    spawner = make(
        remove=True,
        volumes={f"{instance}-home": ["/home/jovyan", {"bind": "/again", "mode": "ro"}]},
        mounts=[
            {"target": "/data", "source": f"{instance}-data-{{username}}"},
            {"target": "/given", "source": str(tmp_path), "read_only": True},
            {"target": "/fast", "tmpfs_size": "1m"},
            {"target": "/options", "source": f"{instance}-options",
             "driver_config": {"name": "local", "options": {"type": "tmpfs", "device": "tmpfs", "o": "size=2m"}}},
        ],
    )  # fmt: skip
    await spawner.start()
    assert (
        in_server(client, spawner, "cat /given/given; echo mine >/home/jovyan/mine; cat /again/mine") == "givenmine\n"
    )
    in_server(client, spawner, "! touch /again/x && ! touch /given/x && touch /data/x /fast/x /options/x")
    kinds = in_server(client, spawner, "awk '$2 ~ /fast|options/ {print $2, $3, $4}' /proc/mounts")
    assert "/fast tmpfs" in kinds
    assert "size=2048k" in kinds
    labels = client.volumes.get(f"{instance}-data-ann").attrs["Labels"]
    assert (labels["dockyard.instance"], labels["dockyard.user"]) == (instance, "ann")
    await spawner.stop()


async def test_a_bind_of_a_path_that_does_not_exist_is_named(make: Any, containers: Any) -> None:
    with pytest.raises(Exception, match="/nonexistent/path"):
        await make(mounts=[{"target": "/x", "source": "/nonexistent/path"}]).start()
    assert containers() == []


async def test_a_changed_template_finds_the_users_volume(make: Any, client: Any, instance: str) -> None:
    before = make(remove=True, volumes={f"{instance}-old-{{username}}": "/home/jovyan"})
    await before.start()
    in_server(client, before, "echo mine >mine")
    await before.stop()
    after = make(remove=True, volumes={f"{instance}-new-{{username}}": "/home/jovyan"})
    after.load_state(before.get_state())
    await after.start()
    assert in_server(client, after, "cat mine") == "mine\n"
    await after.stop()
    assert [one.name for one in client.volumes.list() if one.name.startswith(instance)] == [f"{instance}-old-ann"]


async def test_a_renamed_server_keeps_its_volume(make: Any, client: Any, instance: str, containers: Any) -> None:
    volumes = {f"{instance}-{{username}}-{{servername}}": "/home/jovyan"}
    before = make(server="lab", volumes=volumes)
    await before.start()
    in_server(client, before, "echo mine >mine")
    await before.stop()
    assert containers() == [f"{instance}-ann--lab"]
    await before.rename("lab", "work")
    assert containers() == []
    after = make(server="work", volumes=volumes)
    after.load_state(before.orm_spawner.state)
    await after.start()
    assert containers() == [f"{instance}-ann--work"]
    assert in_server(client, after, "cat mine") == "mine\n"
    await after.stop()


async def test_a_server_with_its_files_inside_is_not_renamed(make: Any, containers: Any, instance: str) -> None:
    spawner = make(server="lab")
    await spawner.start()
    await spawner.stop()
    with pytest.raises(Exception, match="Server lab can't be renamed: its files are inside its container"):
        await spawner.rename("lab", "work")
    assert containers() == [f"{instance}-ann--lab"]


# Networks and addresses


async def test_several_networks(make: Any, client: Any, networks: list[str]) -> None:
    first, second = networks
    spawner = make(remove=True, network_name=first, extra_networks=["{prefix}-two"])
    host, _ = await spawner.start()
    attached = client.containers.get(spawner.object_id).attrs["NetworkSettings"]["Networks"]
    assert set(attached) == {first, second}
    assert attached[first]["IPAddress"] == host
    await spawner.stop()


async def test_a_missing_extra_network_is_named_and_nothing_is_left(make: Any, containers: Any) -> None:
    with pytest.raises(Exception, match="The Docker network no-such-net does not exist"):
        await make(extra_networks=["no-such-net"]).start()
    assert containers() == []


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_ports_published_on_ipv6_addresses_alone_are_called_by_ipv6(make: Any) -> None:
    spawner = make(use_internal_ip=False, host_ip="::", remove=True)
    assert (await spawner.start())[0] == "::1"
    assert (await spawner.get_url()).startswith("http://[::1]:")
    await spawner.stop()


async def test_ports_published_on_every_address(make: Any, client: Any) -> None:
    spawner = make(remove=True, use_internal_ip=False, host_ip="0.0.0.0")
    host, port = await spawner.start()
    (published, *_) = client.containers.get(spawner.object_id).ports["8888/tcp"]
    assert (published["HostIp"], int(published["HostPort"])) == ("0.0.0.0", port)
    assert host == "127.0.0.1"
    await spawner.stop()


async def test_links_on_the_default_bridge(make: Any, client: Any, instance: str) -> None:
    other = client.containers.run(tiny_image(), detach=True, name=f"{instance}-other")
    spawner = make(remove=True, network_name="bridge", links={other.name: "friend"})
    await spawner.start()
    assert "friend" in in_server(client, spawner, "cat /etc/hosts")
    await spawner.stop()


async def test_a_server_called_by_its_name(make: Any) -> None:
    spawner = make(use_internal_hostname=True)
    assert await spawner.get_ip_and_port() == (spawner.object_name, 8888)
    assert spawner.internal_hostname == spawner.container_name
    assert spawner.ssl_alt_names == [f"DNS:{spawner.object_name}"]


# Images


@pytest.fixture
def commandless(client: docker.DockerClient) -> Iterator[str]:
    """The tiny image without a command."""
    name = f"dockyard-test/commandless:{secrets.token_hex(3)}"
    client.images.build(fileobj=io.BytesIO(f"FROM {tiny_image()}\nCMD []\n".encode()), tag=name, rm=True)
    yield name
    client.images.remove(name)


async def test_an_image_without_a_command(make: Any, containers: Any, commandless: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no command specified"):
        await make(image=commandless).start()
    assert containers() == []
    spawner = make(remove=True, image=commandless, args=["httpd", "-f", "-p", "8888"])
    await spawner.start()
    await spawner.stop()


async def test_an_image_by_its_digest(make: Any, client: Any, registry: Any, containers: Any) -> None:
    name = registry.push(client.images.get(tiny_image()), "by/digest:1")
    digest = client.images.pull(name).attrs["RepoDigests"][-1].partition("@")[2]
    client.images.remove(name)
    reference = f"{name}@{digest}"
    spawner = make(remove=True, image=reference)
    await spawner.start()
    assert client.containers.get(spawner.object_id).attrs["Config"]["Image"] == reference
    await spawner.stop()
    client.images.remove(f"{name.rpartition(':')[0]}@{digest}")


async def test_a_pull_tells_its_progress_to_all_who_wait(make: Any, client: Any, registry: Any) -> None:
    """Two users wait for an image with a layer of some megabytes; each reads of it, once it is pulled."""
    layer = b"FROM %b\nRUN dd if=/dev/urandom of=/layer bs=1M count=40\n" % tiny_image().encode()
    image, _ = client.images.build(fileobj=io.BytesIO(layer), rm=True, nocache=True, network_mode="none")
    name = registry.push(image, f"large/{secrets.token_hex(3)}:1")
    spawners = [make(user, remove=True, image=name) for user in ("ann", "bob")]
    for spawner in spawners:
        spawner.start_timeout = 60
    events = {spawner.user.name: [] for spawner in spawners}

    async def follow(spawner: Any) -> None:
        async for event in spawner.progress():
            events[spawner.user.name].append(event)

    await asyncio.gather(*(one for spawner in spawners for one in (spawner.start(), follow(spawner))))
    for told in events.values():
        messages = [event["message"] for event in told]
        pulling = [message for message in messages if message.startswith("Pull")]
        assert pulling[0].startswith(f"Pulling image {name}")
        assert pulling[-1] == f"Pulled image {name}: 41 MB"
        assert messages.index(pulling[-1]) < messages.index("Creating the server's container")
        assert [event["progress"] for event in told] == sorted(event["progress"] for event in told)
    await asyncio.gather(*(spawner.stop() for spawner in spawners))
    client.images.remove(name)


# System users


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """A folder with Ann's home, and passwd and group files that list her."""
    home = tmp_path / "ann"
    home.mkdir()
    os.chown(home, 4321, 4322)
    tmp_path.chmod(0o755)
    (tmp_path / "passwd").write_text(f"ann:x:4321:4322::{home}:/bin/sh\n")
    (tmp_path / "group").write_text("staff:x:4400:bob,ann\nphysics:x:4401:bob\n")
    return tmp_path


async def test_a_system_user_has_uid_gid_and_home(make: Any, client: Any, homes: Path) -> None:
    spawner = make(
        cls=SystemUserSpawner,
        remove=True,
        passwd_file=str(homes / "passwd"),
        group_file=str(homes / "group"),
        host_homedir_format_string=f"{homes}/{{username}}",
    )
    await spawner.start()
    assert in_server(client, spawner, "id -u; id -G; pwd; touch mine; echo $HOME $NB_UID") == (
        "4321\n4322 4400\n/home/ann\n/home/ann 4321\n"
    )
    mine = os.stat(homes / "ann" / "mine")
    assert (mine.st_uid, mine.st_gid) == (4321, 4322)
    await spawner.stop()


# GPUs


@pytest.mark.parametrize("gpus", ["all", 1, ["GPU-1"]])
async def test_an_engine_without_gpus_says_so(make: Any, containers: Any, gpus: Any) -> None:
    with pytest.raises(Exception, match="The Docker engine has no GPU, or no runtime for it"):
        await make(gpus=gpus).start()
    assert containers() == []
