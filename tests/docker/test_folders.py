"""Missing subpaths of volumes and missing host paths at a start, on a real engine."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from dockerspawner import SystemUserSpawner
from support.fake_engine import api_error

pytestmark = pytest.mark.needs("engine")


def in_server(client: docker.DockerClient, spawner: Any, script: str) -> str:
    ran = client.containers.get(spawner.object_id).exec_run(["sh", "-c", script])
    assert ran.exit_code == 0, ran.output
    return str(ran.output.decode())


def owner_of(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_uid, found.st_gid


@pytest.fixture
def make(make: Any) -> Any:
    user = {"user": "1000:1000"}
    return lambda *args, **traits: make(*args, **{"remove": True, "extra_create_kwargs": user, **traits})


@pytest.fixture
def homes(client: docker.DockerClient, instance: str) -> Any:
    """Return the engine's folder of the volume that servers share."""
    return lambda: Path(client.volumes.get(f"{instance}-homes").attrs["Mountpoint"])


def mounts(instance: str, subpath: str, **more: Any) -> dict[str, Any]:
    return {"mounts": [{"source": f"{instance}-homes", "target": "/home/jovyan", "subpath": subpath, **more}]}


@pytest.mark.parametrize(("user", "owner"), [("1234", (1234, 0)), ("1234:5678", (1234, 5678))])
async def test_start_with_a_missing_subpath_makes_it_for_the_user(
    make: Any, client: Any, instance: str, homes: Any, user: str, owner: tuple[int, int]
) -> None:
    traits = {**mounts(instance, "homes/{username}"), "extra_create_kwargs": {"user": user}}
    ann, other = make("ann", **traits), make("../ann", **traits)
    await asyncio.gather(ann.start(), other.start())
    for spawner in (ann, other):
        in_server(client, spawner, "touch /home/jovyan/mine && [ $(ls -A /home/jovyan) = mine ]")
    assert sorted(path.name for path in (homes() / "homes").iterdir()) == ["-2e-2e-2fann", "ann"]
    assert (owner_of(homes() / "homes"), owner_of(homes() / "homes" / "ann")) == ((0, 0), owner)
    await asyncio.gather(ann.stop(), other.stop())
    # Two servers of one user at once.
    servers = [make("bob", name, **traits) for name in ("", "lab", "work")]
    await asyncio.gather(*(server.start() for server in servers))
    assert owner_of(homes() / "homes" / "bob") == owner
    assert list((homes() / "homes" / "bob").iterdir()) == []
    await asyncio.gather(*(server.stop() for server in servers))
    # An existing folder does not change.
    os.chown(homes() / "homes" / "ann", 7, 7)
    await ann.start()
    assert owner_of(homes() / "homes" / "ann") == (7, 7)
    await ann.stop()


@pytest.mark.parametrize(
    ("username", "subpath", "said"),
    [
        ("..", "{raw_username}", 'must not contain ".."'),
        ("a/b", "{raw_username}", "adds or removes folders"),
        ("../../x", "of/{raw_username}", "adds or removes folders|must not contain"),
        ("ann", "{user}", "known placeholders: .*{username}"),
        ("ann", "/{username}", "must be a relative path"),
    ],
)
async def test_start_with_a_subpath_that_could_leave_the_volume_fails(
    make: Any, instance: str, containers: Any, username: str, subpath: str, said: str
) -> None:
    with pytest.raises(Exception, match=said):
        await make(username, **mounts(instance, subpath)).start()
    assert containers() == []


async def test_start_with_a_symbolic_link_for_a_subpath_fails(
    make: Any, client: Any, instance: str, containers: Any, homes: Any
) -> None:
    client.volumes.create(f"{instance}-homes")
    (homes() / "ann").symlink_to("/etc")
    with pytest.raises(Exception, match=r"ann/work of volume .* ann is a symbolic link"):
        await make(**mounts(instance, "{username}/work")).start()
    assert containers() == []


async def test_start_with_a_subpath_by_an_old_version_of_the_api_fails(
    make: Any, instance: str, containers: Any
) -> None:
    with pytest.raises(Exception, match=r"requires version 1\.45 .*uses version 1\.41"):
        await make(client_kwargs={"version": "1.41"}, **mounts(instance, "{username}")).start()
    assert containers() == []


async def test_start_with_a_subpath_in_extra_host_config_makes_it_too(
    make: Any, client: Any, instance: str, homes: Any
) -> None:
    part = {"VolumeOptions": {"Subpath": "x-{username}"}}
    engines = {"Type": "volume", "Source": f"{instance}-homes", "Target": "/data", **part}
    spawner = make(extra_host_config={"mounts": [engines]})
    await spawner.start()
    in_server(client, spawner, "touch /data/x")
    assert owner_of(homes() / "x-ann") == (1000, 1000)
    await spawner.stop()


# Paths of the host


@pytest.fixture
def srv(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o755)
    yield tmp_path
    shutil.rmtree(tmp_path)


async def test_start_with_a_missing_folder_of_the_user_gives_it_to_the_server(
    make: Any, client: Any, srv: Path
) -> None:
    spawner = make(volumes={f"{srv}/homes/{{username}}": "/home/jovyan", f"{srv}/all": "/all"})
    await spawner.start()
    in_server(client, spawner, "touch /home/jovyan/x")
    assert owner_of(srv / "homes" / "ann") == (1000, 1000)
    # A path that all users share belongs to none of them.
    assert (owner_of(srv / "homes"), owner_of(srv / "all")) == ((0, 0), (0, 0))
    await spawner.stop()


@pytest.mark.parametrize("how", ["extra", "hook"])
async def test_start_with_a_missing_folder_that_is_bound_otherwise_gives_it_too(
    make: Any, client: Any, srv: Path, how: str
) -> None:
    extra = {"binds": [f"{srv}/{{username}}:/data:rw", f"{srv}/ann:/again:ro"]} if how == "extra" else {}
    spawner = make(extra_host_config=extra)
    spawner.volumes = {} if extra else {f"{srv}/ann": "/data"}
    await spawner.start()
    in_server(client, spawner, "touch /data/x")
    await spawner.stop()


async def test_start_with_folders_that_exist_leaves_them_as_they_are(make: Any, srv: Path) -> None:
    for name in ("empty", "full", "others"):
        (srv / name / "ann").mkdir(parents=True)
    (srv / "full" / "ann" / "file").touch()
    os.chown(srv / "others" / "ann", 7, 7)
    spawner = make(volumes={f"{srv}/{name}/{{username}}": f"/{name}" for name in ("empty", "full", "others")})
    await spawner.start()
    owners = [owner_of(srv / name / "ann") for name in ("empty", "full", "others")]
    assert owners == [(0, 0), (0, 0), (7, 7)]
    await spawner.stop()


async def test_start_of_a_system_user_without_a_home_makes_it(make: Any, client: Any, srv: Path) -> None:
    spawner = make(cls=SystemUserSpawner, host_homedir_format_string=f"{srv}/{{username}}", extra_create_kwargs={})
    spawner.user_id, spawner.group_id = 4321, 4322
    await spawner.start()
    in_server(client, spawner, "touch mine")
    assert owner_of(srv / "ann") == (4321, 4322)
    await spawner.stop()


async def test_start_of_a_system_user_with_a_fixed_home_leaves_it_to_nobody(make: Any, srv: Path) -> None:
    spawner = make(
        cls=SystemUserSpawner, host_homedir_format_string=f"{srv}/ann", image_homedir_format_string="/home/guest",
        extra_create_kwargs={},
    )  # fmt: skip
    spawner.user_id, spawner.group_id = 4321, 4322
    await spawner.start()
    assert owner_of(srv / "ann") == (0, 0)
    await spawner.stop()


async def test_start_with_a_missing_folder_below_the_users_own_fails_until_it_is_given(
    make: Any, containers: Any, srv: Path
) -> None:
    (srv / "ann").mkdir()
    (srv / "elsewhere").mkdir()
    (srv / "ann" / "work").symlink_to(srv / "elsewhere")
    spawner = make(volumes={f"{srv}/{{username}}/work/data": "/data"})
    with pytest.raises(Exception, match=f"Folder {srv}/.*data of the host did not exist.*the last part of the path"):
        await spawner.start()
    assert owner_of(srv / "elsewhere" / "data") == (0, 0)
    assert containers() == []
    os.chown(srv / "elsewhere" / "data", 1000, 1000)
    again = make(volumes={f"{srv}/{{username}}/work/data": "/data"})
    again.load_state(spawner.get_state())
    await again.start()
    await again.stop()


async def test_start_with_a_folder_that_can_not_be_given_fails_until_it_is(
    make: Any, client: Any, containers: Any, srv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = docker.APIClient.create_container

    def create(self: Any, *args: Any, **spec: Any) -> Any:
        if "dockyard.helper" in spec.get("labels", {}):
            raise api_error(403, "a gate refuses it")
        return plain(self, *args, **spec)

    monkeypatch.setattr(docker.APIClient, "create_container", create)
    state: dict[str, Any] = {}
    for _ in range(2):
        spawner = make(volumes={f"{srv}/{{username}}": "/home/jovyan"})
        spawner.load_state(state)
        with pytest.raises(Exception, match=f"Folder {srv}/ann of the host did not exist.* uid 1000:1000"):
            await spawner.start()
        state = spawner.get_state()
        assert containers() == []
    os.chown(srv / "ann", 1000, 1000)
    spawner = make(volumes={f"{srv}/{{username}}": "/home/jovyan"})
    spawner.load_state(state)
    await spawner.start()
    in_server(client, spawner, "touch mine")
    assert "unprepared" not in spawner.get_state()
    await spawner.stop()


async def test_start_with_a_folder_below_one_that_the_server_writes_to_leaves_it_root(
    make: Any, containers: Any, srv: Path
) -> None:
    (srv / "homes").mkdir()
    os.chown(srv / "homes", 1000, 1000)
    (srv / "other").mkdir()
    # As a user may have done in an earlier server.
    (srv / "homes" / "data").symlink_to(srv / "other")
    spawner = make(volumes={f"{srv}/homes": "/homes", f"{srv}/homes/data/{{username}}": "/data"})
    with pytest.raises(Exception, match=f"the server can write to {srv}/homes above it"):
        await spawner.start()
    assert owner_of(srv / "other" / "ann") == (0, 0)
    assert containers() == []


@pytest.mark.parametrize("how", ["link", "full"])
async def test_start_with_a_folder_that_was_replaced_since_an_earlier_start_fails(
    make: Any, containers: Any, srv: Path, how: str
) -> None:
    (srv / "other").mkdir()
    spawner = make(volumes={f"{srv}/{{username}}": "/home/jovyan"})
    spawner.load_state({"unprepared": {f"{srv}/ann": "0123"}})
    if how == "link":
        (srv / "ann").symlink_to("other")
        said = "leads to another folder, .*/other"
    else:
        (srv / "ann").mkdir()
        plain, said = spawner._lone_entry, "it is not empty"

        async def then_fill(*args: Any) -> Any:
            found = await plain(*args)
            (srv / "ann" / ".file").touch()
            return found

        spawner._lone_entry = then_fill
    with pytest.raises(Exception, match=said):
        await spawner.start()
    assert containers() == []
    assert {owner_of(srv / name) for name in ("ann", "other")} == {(0, 0)}


@pytest.mark.parametrize("path", ["~/work", "./work", "../work", ".."])
async def test_start_with_a_relative_path_of_the_host_fails(make: Any, path: str) -> None:
    for traits in ({"volumes": {path: "/data"}}, {"mounts": [{"source": path, "target": "/data"}]}):
        with pytest.raises(Exception, match="must be an absolute path of the host"):
            await make(**traits).start()
