"""The owner of a container after a change of the hub's instance, of a user's name, or of the naming rules."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from dockerspawner._engine.archive import packed
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")

HOME = "/home/jovyan"
# Records the request to stop, and exits.
GRACEFUL = ["sh", "-c", f"trap 'touch {HOME}/ended; exit 0' TERM; httpd -p 8888; while :; do sleep 0.1; done"]


@pytest.fixture
def make(make: Any) -> Any:
    """Like the common fixture, but with kept containers that hold their users' files."""
    return lambda *names, **traits: make(*names, **{"remove": False, **traits})


def next_hub(make: Any, before: Any, username: str = "ann", server: str = "", **traits: Any) -> Any:
    """Return the same server in a restarted hub, for its next start."""
    spawner = make(username, server, **traits)
    spawner.load_state(before.get_state())
    spawner.clear_state()
    return spawner


async def kept(make: Any, client: Any, *names: str, **traits: Any) -> Any:
    """Return a stopped server that has a file in its home."""
    spawner = make(*names, **traits)
    await spawner.start()
    client.containers.get(spawner.object_id).exec_run(["touch", f"{HOME}/mine"])
    await spawner.stop()
    return spawner


def files(client: Any, spawner: Any) -> bytes:
    return bytes(client.containers.get(spawner.object_id).exec_run(["ls", HOME]).output)


async def test_start_after_a_change_of_instance_resumes_the_container_in_the_state(make: Any, client: Any) -> None:
    before = await kept(make, client, instance="a-former-one")
    after = next_hub(make, before)
    await after.start()
    assert after.object_id == before.object_id
    assert b"mine" in files(client, after)
    assert await after.poll() is None
    await after.stop()


async def test_running_server_of_a_former_instance_is_watched(make: Any, client: Any) -> None:
    before = make(instance="a-former-one", remove=True)
    await before.start()
    after = make(remove=True)
    after.load_state(before.get_state())
    assert await after.poll() is None
    word = await after._watch.word(after.object_id)
    assert word is not None
    assert word.running
    await after.stop()
    assert await after.poll() == 0
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(before.object_id)


@pytest.mark.parametrize("volumes", [False, True], ids=["files inside", "files on a volume"])
@pytest.mark.parametrize("stop_action", ["stop", "pause"])
async def test_start_of_a_renamed_user_finds_the_files(
    make: Any, client: Any, containers: Any, instance: str, volumes: bool, stop_action: str
) -> None:
    traits: dict[str, Any] = {"stop_action": stop_action}
    if volumes:
        traits["volumes"] = {f"{instance}-home-{{username}}": HOME}
    before = await kept(make, client, "ann", **traits)
    after = next_hub(make, before, "bob", **traits)
    await after.start()
    assert containers() == [f"{instance}-bob"] == [after.object_name]
    assert (after.object_id == before.object_id) is not volumes
    assert b"mine" in files(client, after)
    assert client.api.inspect_container(after.object_id)["State"]["Status"] == "running"
    await after.stop()
    again = next_hub(make, after, "bob", **traits)
    await again.start()
    assert again.object_id == after.object_id
    await again.stop()


async def test_container_of_another_server_is_moved_aside(make: Any, client: Any, instance: str) -> None:
    renamed = await kept(make, client, "ann")
    # The hub's record identifies the owner; no start since ann was renamed to bob.
    new = make("ann")
    new._adoption._is_of_another_server = lambda container_id: container_id == renamed.object_id
    await new.start()
    assert new.object_id != renamed.object_id
    assert b"mine" not in files(client, new)
    bob = next_hub(make, renamed, "bob")
    await bob.start()
    assert (bob.object_id, bob.object_name) == (renamed.object_id, f"{instance}-bob")
    assert await new.poll() is None
    await bob.stop()
    await new.stop()


async def test_replaced_containers_leave_no_unnamed_volumes(make: Any, client: Any, instance: str) -> None:
    def unnamed() -> set[str]:
        return {mount["Name"] for mount in client.api.inspect_container(spawner.object_id)["Mounts"]}

    traits: dict[str, Any] = {"volumes": {f"{instance}-home": HOME}, "extra_create_kwargs": {"volumes": ["/cache"]}}
    spawner = await kept(make, client, **traits)
    left = unnamed() - {f"{instance}-home"}
    for number in range(2):
        spawner = next_hub(make, spawner, environment={"NUMBER": str(number)}, **traits)
        await spawner.start()
        left |= unnamed()
        await spawner.stop()
    assert len(left) == 4
    assert {one.name for one in client.volumes.list()} & left == unnamed()


@pytest.mark.parametrize("remove", [True, False])
async def test_running_container_is_asked_to_end_before_it_is_replaced(
    make: Any, client: Any, instance: str, remove: bool
) -> None:
    """A container as a killed hub leaves it: running, with settings that the next hub changes or removes."""
    graceful = {"cmd": GRACEFUL, "extra_create_kwargs": {"stop_signal": "SIGTERM"}, "stop_timeout": 20}
    traits = {"volumes": {f"{instance}-home": HOME}, "remove": remove, **graceful}
    killed = make(**traits)
    await killed.start()
    after = next_hub(make, killed, environment={"NEW": "1"}, **traits)
    await after.start()
    assert after.object_id != killed.object_id
    assert b"ended" in files(client, after)
    await after.stop(now=True)


async def test_running_duplicate_is_asked_to_end_before_it_is_removed(make: Any, client: Any, instance: str) -> None:
    graceful = {"cmd": GRACEFUL, "extra_create_kwargs": {"stop_signal": "SIGTERM"}, "stop_timeout": 20}
    traits = {"volumes": {f"{instance}-home": HOME}, "remove": True, **graceful}
    await make(name_template="{prefix}-former-{username}", **traits).start()
    after = make(**traits)
    await after.start()
    assert b"ended" in files(client, after)
    await after.stop(now=True)


async def test_servers_whose_names_differ_by_case_are_distinct(make: Any, client: Any, instance: str) -> None:
    home = {"volumes": {f"{instance}-{{username}}-{{servername}}": HOME}}
    upper, lower = await kept(make, client, "ann", "Lab", **home), make("ann", "lab", **home)
    await lower.start()
    assert lower.object_name == f"{instance}-ann--lab" != upper.object_name
    assert b"mine" not in files(client, lower)
    await lower.stop()
    again = next_hub(make, upper, "ann", "Lab", **home)
    await again.start()
    assert again.object_id == upper.object_id
    await again.stop()


@pytest.mark.parametrize("state", [True, False], ids=["state", "labels"])
async def test_server_with_capitals_finds_its_container_under_the_former_name(
    make: Any, client: Any, instance: str, state: bool
) -> None:
    former = make("ann", "Lab", name_template=f"{instance}-ann--lab")
    await former.start()
    client.containers.get(former.object_id).exec_run(["touch", f"{HOME}/mine"])
    await former.stop()
    after = next_hub(make, former, "ann", "Lab") if state else make("ann", "Lab")
    await after.start()
    assert after.object_id == former.object_id
    assert after.object_name.startswith(f"{instance}-ann--lab-x")
    await after.stop()


@pytest.mark.parametrize(
    ("notebook_dir", "target"),
    [
        ("~/work", "/home/jovyan/work"),
        ("work", "/home/jovyan/work"),
        ("~", "/home/jovyan"),
        ("./work/{username}", "/home/jovyan/work/ann"),
        ("~daemon/x", "/usr/sbin/x"),
    ],
)
@pytest.mark.parametrize("environment", [{}, {"HOME": "/home/jovyan"}], ids=["passwd", "HOME"])
async def test_home_is_where_the_server_has_it(
    make: Any, client: Any, instance: str, notebook_dir: str, target: str, environment: Any
) -> None:
    passwd = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"
    spawner = make(
        notebook_dir=notebook_dir, environment=environment, extra_create_kwargs={"user": "1000"}, cmd=["sleep", "1"]
    )
    mounted = client.containers.create(
        tiny_image(),
        name=f"{instance}-x",
        user="1000",
        environment=environment,
        volumes={f"{instance}-v": {"bind": target}},
    )
    client.api.put_archive(mounted.id, "/", packed({"etc/passwd": passwd.encode()}, 0, 0, 0o644))
    described = client.api.inspect_container(mounted.id)
    assert (await spawner._home_files.path(described)).rstrip("/") == target
    assert await spawner._home_files.are_in(described) is False
