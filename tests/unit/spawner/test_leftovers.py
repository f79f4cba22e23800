"""What earlier starts have left, on a fake engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import requests

from dockerspawner import DockerSpawner, SystemUserSpawner
from dockerspawner._engine.archive import packed
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.calls import ContainerCalls
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2}
    return make_spawner(engine=fake_engine(client), **{**settings, **traits})


async def test_what_can_not_be_undone_hides_no_failure_and_holds_up_no_start(port: int) -> None:
    class Custom(DockerSpawner):
        async def remove_object(self) -> None:
            if client.fail_removal:
                raise RuntimeError("not now")
            await super().remove_object()

    class Client(FakeClient):
        fail_removal = True

        def remove_volume(self, name: str) -> None:
            raise api_error(409, "volume is in use")

    client = Client()
    client.fail["start"] = [api_error(500, "port is already allocated")]
    spawner = spawner_on(client, port, cls=Custom, volumes={"home-{username}": "/home"})
    with pytest.raises(Exception, match="port is already allocated"):
        await spawner.start()
    client.fail_removal = False
    assert spawner.engine.preparing == {}
    assert await spawner.start() == ("127.0.0.1", port)
    await spawner.stop()


async def kept(client: FakeClient, port: int, **traits: Any) -> Any:
    """A spawner that knows a stopped container, which holds nobody's files."""
    first = spawner_on(client, port, **traits)
    await first.start()
    await first.stop()
    client.existing["jupyter-ann"]["Mounts"] = [{"Type": "bind", "Destination": "/home"}]
    spawner = spawner_on(client, port, **traits)
    spawner.load_state(first.get_state())
    client.calls.clear()
    return spawner


@pytest.mark.parametrize(("environment", "made"), [({}, 0), ({"MORE": "1"}, 1)])
async def test_what_an_override_of_get_object_finds_is_resumed_where_it_fits(
    port: int, environment: dict[str, str], made: int
) -> None:
    class Custom(DockerSpawner):
        async def get_object(self) -> Any:
            return await super().get_object()

    client = FakeClient()
    spawner = await kept(client, port, cls=Custom)
    spawner.environment = environment
    await spawner.start()
    assert client.calls.count("create_container") == made
    await spawner.stop()
    # What this one should be made of is not what the last one was.
    client.existing["jupyter-ann"]["Mounts"] = [{"Type": "bind", "Destination": "/home"}]
    spawner.environment = {"OTHER": "1"}
    await spawner.start()
    assert client.calls.count("create_container") == made + 1


async def test_overrides_see_to_a_kept_container_too(port: int) -> None:
    class Custom(DockerSpawner):
        async def remove_object(self) -> None:
            done.append("remove")
            await super().remove_object()

        async def stop_object(self, timeout: int | None = None) -> None:
            done.append("stop")
            await super().stop_object(timeout)

    client, done = FakeClient(), list[str]()
    spawner = await kept(client, port, cls=Custom)
    done.clear()
    spawner.environment = {"MORE": "1"}
    await spawner.start()
    assert done == ["remove"]
    # It holds its user's files now: ended, and resumed.
    client.existing["jupyter-ann"]["Mounts"] = []
    spawner.user_options = {"fresh": True}
    await spawner.start()
    assert done == ["remove", "stop"]


async def test_a_container_on_other_networks_than_it_should_be_is_replaced(port: int) -> None:
    class Client(FakeClient):
        def connect_container_to_network(self, container: str, network: str) -> None:
            connected.append(network)

    client, connected = Client(), list[str]()
    spawner = await kept(client, port)
    for networks in ([], ["more"], ["more"], ["more", "other-{username}"]):
        spawner.extra_networks = networks
        await spawner.start()
        await spawner.stop()
        client.existing["jupyter-ann"]["Mounts"] = [{"Type": "bind", "Destination": "/home"}]
    assert connected == ["more", "more", "other-ann"]


async def test_a_start_keeps_its_network_while_what_the_last_one_left_is_removed() -> None:
    class Removing(ContainerCalls):
        async def remove(self, container_id: str, volumes: bool) -> None:
            await super().remove(container_id, volumes)
            # Another start begins.
            self._server._attempt = StartAttempt()

    class Custom(DockerSpawner):
        _calls_type = Removing

        async def _leave_network(self) -> None:
            left.append(self.object_name)

    client, left = FakeClient(), list[str]()
    spawner = spawner_on(client, cls=Custom, remove=True)
    client.fail = {method: [requests.ConnectionError("down")] for method in ("start", "remove_container")}
    with pytest.raises(Exception, match="does not answer"):
        await spawner.start()
    await spawner._cleanup.sweeping
    assert (client.existing, left) == ({}, [])


async def test_what_could_not_be_stopped_goes_as_soon_as_the_engine_lets_us(port: int) -> None:
    """The hub forgets a server whose stop fails; without this, it would run on."""
    client = FakeClient()
    spawner = spawner_on(client, port, remove=True)
    await spawner.start()
    client.fail["stop"] = [requests.ConnectionError("down")]
    client.fail["remove_container"] = [requests.ConnectionError("down")] * 3
    with pytest.raises(Exception, match="down"):
        await spawner.stop()
    await spawner.run_post_stop_hook()
    spawner.clear_state()
    assert client.existing
    await spawner._cleanup.sweeping
    assert (client.existing, spawner.object_id) == ({}, "")
    assert await spawner.start() == ("127.0.0.1", port)


async def test_a_start_has_the_container_that_a_stop_has_left(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port, remove=True)
    await spawner.start()
    client.fail["stop"] = [requests.ConnectionError("down")]
    client.fail["remove_container"] = [requests.ConnectionError("down")]
    with pytest.raises(Exception, match="down"):
        await spawner.stop()
    await spawner.run_post_stop_hook()
    await spawner.start()
    await spawner._cleanup.sweeping
    assert list(client.existing) == [spawner.object_name]
    assert spawner.object_id == client.existing[spawner.object_name]["Id"]


PASSWD = b"root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"


class PasswdClient(FakeClient):
    """Its containers have this /etc/passwd, or none that can be read."""

    passwd: bytes | Exception = PASSWD

    def get_archive(self, key: str, path: str, chunk_size: int) -> tuple[list[bytes], dict[str, Any]]:
        if isinstance(self.passwd, Exception):
            raise self.passwd
        return [packed({"passwd": self.passwd}, 0, 0, 0o644)], {}


NAMED = {"Type": "volume", "Name": "v", "RW": True}


@pytest.mark.parametrize(
    ("working_dir", "user", "home", "targets", "holds"),
    [
        # The working directory is none of the user's own.
        ("/", "", "", ["/etc/x"], True),
        ("/", "", "", ["/root"], False),
        ("/", "1000:100", "", ["/home"], False),
        ("/", "1000:100", "", ["/root"], True),
        ("", "jovyan", "/work", ["/work"], False),
        # One of the two is not covered.
        ("/opt/app", "1000", "", ["/opt/app"], True),
        ("/opt/app", "1000", "", ["/home/jovyan"], True),
        ("/opt/app", "1000", "", ["/opt/app", "/home/jovyan"], False),
        ("/opt/app", "1000", "/h", ["/opt/app", "/home/jovyan"], True),
        # Nobody has a HOME.
        ("/opt/app", "7", "", ["/opt/app"], False),
        ("/opt/app", "7", "/", ["/opt/app"], False),
        ("/", "7", "", ["/etc/x"], False),
        ("/", "7", "", [], True),
    ],
)
async def test_holds_home_without_notebook_dir_asks_for_working_directory_and_home(
    working_dir: str, user: str, home: str, targets: list[str], holds: bool
) -> None:
    config = {"WorkingDir": working_dir, "User": user, "Env": [f"HOME={home}"] if home else []}
    mounts = [{**NAMED, "Destination": target} for target in targets]
    container = {"Id": "x", "Config": config, "Mounts": mounts}
    assert await spawner_on(PasswdClient())._home_files.are_in(container) is holds


async def test_holds_home_of_a_system_user_asks_for_the_home_alone() -> None:
    spawner = spawner_on(PasswdClient(), cls=SystemUserSpawner, user_id=1000)
    mounts = [{**NAMED, "Destination": "/home/ann"}]
    config = {"WorkingDir": "/opt/app", "User": "1000", "Env": []}
    assert await spawner._home_files.are_in({"Id": "x", "Config": config, "Mounts": mounts}) is False


@pytest.mark.parametrize("refusal", [api_error(403, "not allowed"), api_error(404, "no such file")])
@pytest.mark.parametrize(("notebook_dir", "holds"), [("", False), ("~/work", False), ("~ann", False)])
async def test_holds_home_where_passwd_can_not_be_read_goes_by_what_is_known(
    refusal: Exception, notebook_dir: str, holds: bool
) -> None:
    client = PasswdClient()
    client.passwd = refusal
    spawner = spawner_on(client, notebook_dir=notebook_dir)
    config = {"WorkingDir": "/opt/app", "User": "jovyan", "Env": []}
    mounts = [{**NAMED, "Destination": target} for target in ("/opt/app", "/work")]
    assert await spawner._home_files.are_in({"Id": "x", "Config": config, "Mounts": mounts}) is holds
    client.existing["x"] = {"Id": "x", "Config": {**config, "User": "7"}}
    assert await spawner._runs_as("x") == (7, 0)


async def test_start_where_the_engine_can_not_mount_says_the_engines_own_words(port: int) -> None:
    said = "error while creating mount source path: mkdir /srv/ann: file exists"

    class Client(FakeClient):
        def get_archive(self, key: str, path: str, chunk_size: int) -> Any:
            raise api_error(500, said)

        def create_container(self, **spec: Any) -> dict[str, Any]:
            made = super().create_container(**spec)
            mount = {"Type": "bind", "Source": "/srv/ann", "Destination": "/data", "RW": True}
            self.existing[spec["name"]] |= {"Created": "2030-01-01T00:00:00Z", "Mounts": [mount]}
            return made

    with pytest.raises(Exception, match=f"The server can't be started: {said}"):
        await spawner_on(Client(), port, volumes={"/srv/{username}": "/data"}).start()


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("JUPYTERHUB_USER=hal", "was created for the user hal and can't start for ann: ask an administrator"),
        (
            "JUPYTERHUB_SERVICE_PREFIX=/old/user/ann/",
            "was created for the URL /old/user/ann/ and can't start for /user",
        ),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
async def test_start_of_jupyterhubs_server_with_files_in_a_container_of_another_name_fails_and_touches_nothing(
    port: int, caplog: Any, cause: str, says: str, paused: bool
) -> None:
    client = FakeClient()
    spawner = await kept(client, port)
    container = client.existing["jupyter-ann"]
    container["Mounts"] = []
    container["State"].update(Running=paused, Paused=paused)
    name = cause.partition("=")[0]
    made_with = [entry for entry in container["Config"]["Env"] if not entry.startswith(f"{name}=")]
    container["Config"]["Env"] = [*made_with, cause]
    spawner.ready_check = "jupyterhub"
    spawner.hub_connect_url = "http://hub:8081"
    with pytest.raises(Exception, match=says):
        await spawner.start()
    assert not {"start", "stop", "unpause", "rename", "remove_container"} & set(client.calls)
    assert spawner.get_state()["object_id"] == "id-of-jupyter-ann"
    assert spawner.get_state()["object_name"] == "jupyter-ann"
    assert "jupyter-ann (id-of-jupyte) is not started" in caplog.text
    assert "`docker cp`" in caplog.text
    # Whatever answers HTTP does not care for these names.
    spawner.ready_check = "http"
    assert await spawner.start() == ("127.0.0.1", port)
    await spawner.stop()


async def test_start_of_jupyterhubs_server_whose_url_is_quoted_otherwise_resumes_the_container(port: int) -> None:
    client = FakeClient()
    first = spawner_on(client, port)
    first._server.base_url = "/user/a%40b/"
    await first.start()
    await first.stop()
    spawner = spawner_on(client, port, hub_connect_url="http://hub:8081")
    spawner._server.base_url = "/user/a@b/"
    spawner.load_state(first.get_state())
    spawner.ready_check = "jupyterhub"
    resumed: list[Any] = []
    spawner._ready.wait = lambda *args: asyncio.sleep(0, resumed.append(args))
    await spawner.start()
    assert resumed
    assert "remove_container" not in client.calls
    await spawner.stop()
