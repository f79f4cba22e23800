"""Volumes that a start has made, under servers of any uid, on a real engine."""

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
from traitlets.config import Config

from dockerspawner import SystemUserSpawner
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")

OTHER = {"user": "1234:5678"}


def in_server(client: docker.DockerClient, spawner: Any, script: str) -> str:
    ran = client.containers.get(spawner.object_id).exec_run(["sh", "-c", script])
    assert ran.exit_code == 0, ran.output
    return str(ran.output.decode())


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> Iterator[str]:
    """The tiny image with a user and a skeleton."""
    name = f"dockyard-test/skeleton:{secrets.token_hex(3)}"
    recipe = f"""
FROM {tiny_image()}
RUN mkdir -p /skel/.hidden/deep && echo given >/skel/.hidden/deep/file && echo given >/skel/skeleton \\
 && ln -s skeleton /skel/link && chmod 700 /skel/.hidden \\
 && printf 'root:x:0:0::/:\\nuser:x:1000:1000::/:\\n' >/etc/passwd
USER user
"""
    client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=name, rm=True, network_mode="none")
    yield name
    client.images.remove(name)


@pytest.fixture
def make(make: Any, image: str) -> Any:
    return lambda *args, **traits: make(*args, **{"image": image, "remove": True, **traits})


@pytest.fixture
def created(client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Volumes for which a helper was created."""
    found: list[str] = []
    plain = docker.APIClient.create_container

    def create(self: Any, *args: Any, **spec: Any) -> Any:
        if "dockyard.helper" in spec.get("labels", {}):
            found.append(spec["host_config"]["Mounts"][0]["Source"])
        return plain(self, *args, **spec)

    monkeypatch.setattr(docker.APIClient, "create_container", create)
    return found


def helpers(client: docker.DockerClient, instance: str) -> list[Any]:
    return client.api.containers(all=True, filters={"label": f"dockyard.helper={instance}"})  # type: ignore[no-any-return]


@pytest.mark.parametrize("target", ["/home/jovyan", "/nowhere/yet"], ids=["in the image", "not in the image"])
async def test_a_server_of_another_uid_writes_to_its_new_volume(
    make: Any, client: Any, instance: str, target: str
) -> None:
    volumes = {f"{instance}-home-{{username}}": target}
    hardened = {"read_only": True, "cap_drop": ["ALL"]}
    spawner = make(volumes=volumes, extra_create_kwargs=OTHER, extra_host_config=hardened)
    await spawner.start()
    in_server(client, spawner, f"cd {target} && echo mine >mine && for one in *; do echo more >>$one; done")
    assert in_server(client, spawner, f"stat -c %u:%g {target} {target}/mine") == "1234:5678\n" * 2
    assert helpers(client, instance) == []
    await spawner.stop()


async def test_the_images_own_user_writes_to_volumes_that_the_image_knows_nothing_of(
    make: Any, client: Any, instance: str, created: list[str]
) -> None:
    """Its home needs no help: the engine has copied that, with its owner. Nor does what was there before."""
    volumes = {f"{instance}-home-{{username}}": "/home/jovyan", f"{instance}-data-{{username}}": "/data"}
    mounts = [{"source": f"{instance}-more-{{username}}", "target": "/more"}]
    for _ in range(2):
        spawner = make(volumes=volumes, mounts=mounts)
        await spawner.start()
        in_server(client, spawner, "touch /data/x /more/x /home/jovyan/x")
        await spawner.stop()
    assert created == [f"{instance}-data-ann", f"{instance}-more-ann"]


async def test_start_with_extra_binds_and_mounts_keeps_the_home(
    make: Any, client: Any, instance: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("given")
    os.chmod(tmp_path, 0o755)
    home = {f"{instance}-home-{{username}}": "/home/jovyan"}
    extra = {
        "binds": [f"{tmp_path}:/data:ro"],
        "mounts": [{"target": "/more", "source": str(tmp_path), "type": "bind"}],
        "log_config": {"type": "json-file", "config": {"tag": "{{.Name}}/{username}"}},
    }
    spawner = make(volumes=home, extra_host_config=extra)
    await spawner.start()
    assert in_server(client, spawner, "echo mine >mine && cat /data/file /more/file") == "given" * 2
    assert (
        client.api.inspect_container(spawner.object_id)["HostConfig"]["LogConfig"]["Config"]["tag"] == "{{.Name}}/ann"
    )
    await spawner.stop()
    again = make(volumes=home, extra_host_config={"binds": {str(tmp_path): {"bind": "/data", "mode": "ro"}}})
    await again.start()
    assert in_server(client, again, "cat mine /data/file") == "mine\ngiven"
    await again.stop()


async def test_a_system_users_new_volume_is_theirs(make: Any, client: Any, instance: str, tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    os.chown(tmp_path / "ann", 4321, 4322)
    spawner = make(
        cls=SystemUserSpawner, host_homedir_format_string=f"{tmp_path}/{{username}}",
        volumes={f"{instance}-data-{{username}}": "/data"},
    )  # fmt: skip
    spawner.user_id, spawner.group_id = 4321, 4322
    await spawner.start()
    in_server(client, spawner, "touch /data/x mine")
    await spawner.stop()


async def test_a_server_that_starts_as_root_and_becomes_somebody(make: Any, client: Any, instance: str) -> None:
    spawner = make(
        volumes={f"{instance}-home-{{username}}": "/data"},
        environment={"NB_UID": "1234", "NB_GID": "5678"},
        extra_create_kwargs={"user": "root"},
    )
    await spawner.start()
    assert in_server(client, spawner, "stat -c %u:%g /data") == "1234:5678\n"
    await spawner.stop()


async def test_shared_and_foreign_volumes_are_nobodys(make: Any, client: Any, instance: str, tmp_path: Path) -> None:
    client.volumes.create(f"{instance}-mine-ann")
    folder = {"name": "local", "options": {"type": "none", "o": "bind", "device": str(tmp_path)}}
    volumes = {f"{instance}-shared": "/shared", f"{instance}-mine-{{username}}": "/mine", str(tmp_path): "/host"}
    mounts = [{"source": f"{instance}-folder-{{username}}", "target": "/folder", "driver_config": folder}]
    spawner = make(volumes=volumes, mounts=mounts)
    await spawner.start()
    assert in_server(client, spawner, "stat -c %u /shared /mine /host /folder") == "0\n" * 4
    await spawner.stop()
    assert os.stat(tmp_path).st_uid == os.getuid()


async def test_an_owner_that_is_set_is_that_of_shared_volumes_too(make: Any, client: Any, instance: str) -> None:
    spawner = make(volumes={f"{instance}-shared": "/shared"}, volume_owner="1000:7")
    await spawner.start()
    assert in_server(client, spawner, "stat -c %u:%g /shared") == "1000:7\n"
    await spawner.stop()


async def test_a_skeleton_is_copied_once_and_never_over_a_file(make: Any, client: Any, instance: str) -> None:
    traits = {"volumes": {f"{instance}-home-{{username}}": "/home/jovyan"}, "skeleton": "/skel"}
    spawner = make(**traits)
    await spawner.start()
    # One of its files is in the image's home already.
    assert in_server(client, spawner, "cat skeleton link .hidden/deep/file") == "skeleton\nskeleton\ngiven\n"
    assert (
        in_server(client, spawner, "stat -c '%u %a %F' .hidden link") == "1000 700 directory\n1000 777 symbolic link\n"
    )
    in_server(client, spawner, "rm -r .hidden; echo mine >skeleton")
    await spawner.stop()
    again = make(**traits)
    await again.start()
    assert in_server(client, again, "ls -A; cat link") == "link\nskeleton\nmine\n"
    await again.stop()


async def test_two_servers_that_make_a_volume_at_once_both_find_it_ready(
    make: Any, client: Any, instance: str, created: list[str]
) -> None:
    traits = {"volumes": {f"{instance}-home-{{username}}": "/data"}}
    servers = [make("ann", name, **traits) for name in ("", "lab", "work")]
    await asyncio.gather(*(server.start() for server in servers))
    for server in servers:
        in_server(client, server, "touch /data/$HOSTNAME")
    assert created == [f"{instance}-home-ann"]
    await asyncio.gather(*(server.stop() for server in servers))


@pytest.fixture
def bare(client: docker.DockerClient) -> Iterator[str]:
    name = f"dockyard-test/bare:{secrets.token_hex(3)}"
    recipe = f"FROM {tiny_image()}\nRUN rm /bin/sh\nUSER 1000\n"
    client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=name, rm=True, network_mode="none")
    yield name
    client.images.remove(name)


async def test_an_image_without_a_shell_is_a_failure_that_names_the_volume(
    make: Any, client: Any, instance: str, containers: Any, bare: str
) -> None:
    volume = f"{instance}-home-ann"
    for _ in range(2):
        with pytest.raises(
            Exception, match=f"Volume {volume} is new, and could not be given to uid 1000:0 at /data: .*sh"
        ):
            await make(image=bare, volumes={volume.replace("ann", "{username}"): "/data"}).start()
        assert (containers(), helpers(client, instance), client.volumes.list(filters={"name": volume})) == ([], [], [])


async def test_a_start_that_is_cancelled_leaves_a_volume_that_is_ready_or_none(
    make: Any, client: Any, instance: str, containers: Any
) -> None:
    spawner = make(volumes={f"{instance}-home-{{username}}": "/data"})
    starting = asyncio.ensure_future(spawner.start())
    while not spawner._helping:  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (containers(), helpers(client, instance)) == ([], [])
    again = make(volumes={f"{instance}-home-{{username}}": "/data"})
    await again.start()
    in_server(client, again, "touch /data/x")
    await again.stop()


async def test_a_volume_that_another_uid_owns_already_is_named_where_the_server_ends(
    make: Any, client: Any, instance: str
) -> None:
    client.volumes.create(f"{instance}-home-ann")
    spawner = make(volumes={f"{instance}-home-{{username}}": "/data"}, cmd=["sh", "-c", "touch /data/x"])
    with pytest.raises(Exception, match="exit code 1") as failed:
        await spawner.start()
    assert (
        f"Volume {instance}-home-ann, mounted at /data, belongs to uid 0, gid 0: the server, which runs as 1000:1000, "
        "may not write there. Change its owner, or the server's user." in str(failed.value)
    )


@pytest.mark.parametrize("how", ["hook", "function"])
async def test_a_volume_that_is_named_by_code_is_the_users(make: Any, client: Any, instance: str, how: str) -> None:
    settings: dict[str, Any] = {"delete_policy": "delete"}
    if how == "hook":
        # None of these belongs to the user, regardless of its name.
        shared = {f"{instance}-shared-ann": "/shared", f"{instance}-plain": "/plain"}
        settings["config"] = Config(DockerSpawner={"volumes": shared})
        volumes, own = {**shared, f"{instance}-home-ann": "/data"}, f"{instance}-home-ann"
    else:
        # The callable is also called for the path in the container.
        settings["format_volume_name"] = lambda template, spawner: template.replace("+", f"-of-{spawner.user.name}")
        volumes, own = {f"{instance}-home+": "/data"}, f"{instance}-home-of-ann"

    def volumes_left() -> set[str]:
        return {volume.name for volume in client.volumes.list(filters={"name": instance})}

    spawner = make(**settings)
    # Like a pre_spawn_hook.
    spawner.volumes = volumes
    await spawner.start()
    in_server(client, spawner, "touch /data/x")
    if how == "hook":
        assert in_server(client, spawner, "stat -c %u /shared /plain") == "0\n0\n"
    await spawner.stop()
    before = volumes_left()
    assert own in before
    await make(**settings).delete_forever()
    assert volumes_left() == before - {own}
