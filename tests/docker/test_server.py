"""The life of one server on a real engine, through the spawner object."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from typing import Any

import docker
import pytest

from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")


def answered(host: str, port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/api", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_a_started_server_answers_runs_and_is_gone_after_stop(make: Any, containers: Any) -> None:
    spawner = make(remove=True)
    host, port = await spawner.start()
    assert answered(host, port) == 404
    assert await spawner.poll() is None
    assert containers() == [spawner.object_name]
    await spawner.stop()
    assert await spawner.poll() == 0
    assert containers() == []


async def test_published_port(make: Any) -> None:
    spawner = make(remove=True, use_internal_ip=False)
    host, port = await spawner.start()
    assert host == "127.0.0.1"
    assert answered(host, port) == 404
    await spawner.stop()


async def test_own_network_and_address(make: Any, client: docker.DockerClient, instance: str) -> None:
    network = client.networks.create(f"{instance}-users")
    spawner = make(remove=True, network_name=network.name)
    host, _ = await spawner.start()
    attached = client.containers.get(spawner.object_id).attrs["NetworkSettings"]["Networks"]
    assert attached[network.name]["IPAddress"] == host
    assert (await spawner.get_url()).startswith(f"http://{host}:8888/user/ann/")
    await spawner.stop()


async def test_what_the_engine_was_told(make: Any, client: docker.DockerClient, instance: str) -> None:
    spawner = make(
        remove=True,
        environment={"GREETING": "hello"},
        volumes={f"{instance}-home-{{username}}": "/home/jovyan"},
        read_only_volumes={f"{instance}-shared": {"bind": "/shared"}},
        mem_limit=lambda spawner: "64M",
        cpu_limit=0.5,
        extra_create_kwargs={"labels": {"mine": "{username}"}, "user": "1000"},
        extra_host_config=lambda spawner: {"cap_drop": ["ALL"], "pids_limit": 100},
    )
    await spawner.start()
    found = client.containers.get(spawner.object_id).attrs
    environment = dict(pair.split("=", 1) for pair in found["Config"]["Env"])
    assert environment["GREETING"] == "hello"
    assert environment["JUPYTERHUB_USER"] == "ann"
    assert environment["JUPYTER_IMAGE_SPEC"] == tiny_image()
    assert environment["MEM_LIMIT"] == str(64 * 1024**2)
    host = found["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"]) == (64 * 1024**2, 50_000, 100_000)
    assert (host["CapDrop"], host["PidsLimit"], host["AutoRemove"]) == (["ALL"], 100, False)
    assert {(mount["Name"], mount["Destination"], mount["RW"]) for mount in found["Mounts"]} == {
        (f"{instance}-home-ann", "/home/jovyan", True),
        (f"{instance}-shared", "/shared", False),
    }
    labels = found["Config"]["Labels"]
    assert labels["mine"] == "ann"
    assert (labels["dockyard.instance"], labels["dockyard.user"], labels["dockyard.server"]) == (
        instance,
        "ann",
        "",
    )
    # A fresh volume takes the owner and the content of the directory that it covers.
    touch = client.containers.get(spawner.object_id).exec_run(["sh", "-c", "ls; touch mine"])
    assert (touch.exit_code, touch.output) == (0, b"skeleton\n")
    await spawner.stop()


@pytest.mark.parametrize("remove", [True, False])
async def test_a_volume_outlives_stop_and_start(make: Any, client: Any, instance: str, remove: bool) -> None:
    spawner = make(remove=remove, volumes={f"{instance}-home-{{username}}": "/home/jovyan"})
    await spawner.start()
    client.containers.get(spawner.object_id).exec_run(["touch", "/home/jovyan/mine"])
    await spawner.stop()
    await spawner.start()
    listed = client.containers.get(spawner.object_id).exec_run(["ls", "/home/jovyan"])
    assert b"mine" in listed.output
    await spawner.stop()


async def test_volumes_carry_labels(make: Any, client: Any, instance: str) -> None:
    """Whose they are, as their templates say, and which start has made them. One that was there stays as it is."""
    client.volumes.create(f"{instance}-old", labels={"whose": "somebody's"})
    volumes = {"home-{username}": "/home/jovyan", "lab-{username}-{servername}": "/lab", "all": "/all", "old": "/old"}
    spawner = make("ann", "lab", remove=True, volumes={f"{instance}-{name}": path for name, path in volumes.items()})
    await spawner.start()
    await spawner.stop()
    labels = {
        name: client.volumes.get(f"{instance}-{name}").attrs["Labels"]
        for name in ("home-ann", "lab-ann-lab", "all", "old")
    }
    ours = {"dockyard.instance": instance, "dockyard.start": labels["all"]["dockyard.start"]}
    assert ours["dockyard.start"]
    assert labels == {
        "home-ann": {**ours, "dockyard.user": "ann"},
        "lab-ann-lab": {**ours, "dockyard.user": "ann", "dockyard.server": "lab"},
        "all": ours,
        "old": {"whose": "somebody's"},
    }


async def test_a_missing_volume_driver_is_named(make: Any, client: Any, containers: Any, instance: str) -> None:
    spawner = make(volumes={f"{instance}-x": "/x"}, extra_host_config={"volume_driver": "nosuch-driver"})
    with pytest.raises(Exception, match="nosuch-driver"):
        await spawner.start()
    assert containers() == []
    assert not [volume for volume in client.volumes.list() if volume.name.startswith(instance)]


async def test_named_servers_run_side_by_side(make: Any, containers: Any, instance: str) -> None:
    default, named = make(remove=True), make(server="lab", remove=True)
    await asyncio.gather(default.start(), named.start())
    assert containers() == [f"{instance}-ann", f"{instance}-ann--lab"]
    await named.stop()
    assert containers() == [f"{instance}-ann"]
    await default.stop()


LONG = "x" * 200


async def test_any_user_name(make: Any, containers: Any, client: Any, instance: str) -> None:
    names = ["Ann@example.org", "ann@example.org", "a.b", "a-2eb", "Zoë 東京", LONG, LONG + "y", "É" * 200]
    spawners = [make(name, remove=True, volumes={f"{instance}-{{username}}": "/home/jovyan"}) for name in names]
    await asyncio.gather(*(spawner.start() for spawner in spawners))
    assert len(containers()) == len(names)
    mounted = {client.api.inspect_container(one.object_id)["Mounts"][0]["Name"] for one in spawners}
    assert len(mounted) == len(names)
    assert f"{instance}-{LONG}" in mounted
    await asyncio.gather(*(spawner.stop() for spawner in spawners))


async def test_stop_and_start_again_and_again(make: Any, containers: Any) -> None:
    """A hundred times, five servers at once."""

    async def loop(name: str) -> None:
        spawner = make(name, remove=True)
        for _ in range(20):
            await spawner.start()
            await spawner.stop()

    await asyncio.gather(*(loop(f"u{number}") for number in range(5)))
    assert containers() == []


async def test_stop_of_a_container_that_somebody_removes_meanwhile(make: Any, client: Any) -> None:
    spawner = make(remove=True)
    await spawner.start()
    container = client.containers.get(spawner.object_id)
    await asyncio.gather(spawner.stop(), asyncio.to_thread(container.remove, force=True))
    assert await spawner.poll() == 0


async def test_the_output_of_post_start_cmd_is_logged(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    spawner = make(remove=True, post_start_cmd="sh -c 'echo to stdout; echo to stderr >&2'")
    with caplog.at_level("DEBUG", spawner.log.name):
        spawner.log.propagate = True
        await spawner.start()
    logged = {(record.levelname, record.getMessage().split(": ")[-1]) for record in caplog.records}
    assert {("DEBUG", "to stdout"), ("WARNING", "to stderr")} <= logged
    await spawner.stop()


@pytest.mark.parametrize(
    ("command", "code", "hint"),
    [("sh -c 'exit 7'", 7, False), (["sh", "-c", "cd / && exit 7"], 7, False), ("cd /tmp && touch x", 126, True)],
)
async def test_post_start_cmd_that_fails_is_logged_with_its_exit_code(
    make: Any, caplog: pytest.LogCaptureFixture, command: Any, code: int, hint: bool
) -> None:
    spawner = make(remove=True, post_start_cmd=command)
    spawner.log.propagate = True
    await spawner.start()
    (warning,) = (r.getMessage() for r in caplog.records if "ended with exit code" in r.getMessage())
    assert f"ended with exit code {code}, and the start continues" in warning
    assert ("It runs without a shell" in warning) is hint
    await spawner.stop()


async def test_post_start_cmd_that_can_not_be_read_is_named(make: Any, containers: Any) -> None:
    with pytest.raises(Exception, match="correct post_start_cmd"):
        await make(remove=True, post_start_cmd="sh -c 'oops").start()
    assert containers() == []


async def test_progress_tells_what_happens_in_order(make: Any) -> None:
    spawner = make(remove=True)
    _, events = await asyncio.gather(spawner.start(), collect(spawner))
    percents = [event["progress"] for event in events]
    assert percents == sorted(percents)
    assert [event["message"] for event in events] == [
        f"Looking for image {tiny_image()}",
        "Creating the server's container",
        "Starting the server",
        "Waiting for the server to answer",
    ]
    await spawner.stop()


async def collect(spawner: Any) -> list[dict[str, Any]]:
    return [event async for event in spawner.progress()]


async def test_a_crash_shows_its_exit_code_and_its_container_goes(make: Any, client: Any, containers: Any) -> None:
    spawner = make(remove=True)
    await spawner.start()
    client.containers.get(spawner.object_id).kill()
    assert await spawner.poll() == 137
    await spawner.run_post_stop_hook()
    assert containers() == []


async def test_stop_a_server_has_the_stop_timeout_of_its_profile(make: Any, containers: Any) -> None:
    """As process 1 the tiny server ignores SIGTERM: the engine kills it after the configured timeout of a minute."""

    def spawner_of(**traits: Any) -> Any:
        short = {"display_name": "Short", "docker_override": {"stop_timeout": 1}}
        signal = {"stop_signal": "SIGTERM"}
        return make(remove=True, stop_timeout=60, profile_list=[short], extra_create_kwargs=signal, **traits)

    first = spawner_of()
    await first.start()
    # As in a restarted hub.
    again = spawner_of()
    again.load_state(first.get_state())
    for spawner in (again, first):
        if spawner is first:
            await spawner.start()
        assert await spawner.poll() is None
        before = time.monotonic()
        await spawner.stop()
        assert time.monotonic() - before < 30
        assert containers() == []


async def test_stop_of_a_container_with_a_long_stop_timeout_waits_for_its_end(make: Any, client: Any) -> None:
    # The SDK gives up after slow_timeout and 10 seconds.
    script = "trap 'sleep 12; exit 7' TERM; httpd -p 8888 -h /www; while :; do sleep 0.1; done"
    spawner = make(
        slow_timeout=1, extra_create_kwargs={"stop_timeout": 60, "stop_signal": "SIGTERM"}, cmd=["sh", "-c", script]
    )
    await spawner.start()
    await spawner.stop()
    assert client.containers.get(spawner.object_id).attrs["State"]["ExitCode"] == 7
