"""The life of a server on a fake engine: what a real one can't be made to do on demand."""

from __future__ import annotations

import asyncio
import importlib.metadata
import threading
import time
from typing import Any

import pytest
import requests

import dockerspawner
from dockerspawner._errors.translation import Unavailable
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner
from support.wait import until


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "remove": True, "port": port, "quick_timeout": 2}
    return make_spawner(engine=fake_engine(client), **{**settings, **traits})


async def until_heard(spawner: Any) -> None:
    """Until the watch has heard that the server ended."""

    async def ended() -> bool:
        word = spawner._watch.last(spawner.object_id)
        return word is None or not word.running

    await until(ended, timeout=10, interval=0.01)


async def until_cut(spawner: Any) -> None:
    async def cut() -> bool:
        return not spawner._watch.following

    await until(cut, timeout=10, interval=0.01)


def test_public_names() -> None:
    assert dockerspawner.__all__ == [
        "DockerSpawner",
        "SwarmSpawner",
        "SwarmSystemUserSpawner",
        "SystemUserSpawner",
        "__version__",
    ]
    ours = {"docker": dockerspawner.DockerSpawner, "docker-system-user": dockerspawner.SystemUserSpawner}
    for name, spawner in ours.items():
        (entry,) = importlib.metadata.entry_points(group="jupyterhub.spawners", name=name)
        assert entry.load() is spawner


async def test_a_start_takes_few_calls(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.run_pre_spawn_hook()
    assert await spawner.start() == ("127.0.0.1", port)
    assert client.calls == ["inspect_image", "create_container", "start", "inspect_container"]


async def test_calls_of_a_spawn_rank_by_how_far_it_is(port: int) -> None:
    ranks = []
    client = FakeClient()
    spawner = spawner_on(client, port)
    call = spawner.engine.call

    def watched(method: str, args: Any, kwargs: Any, rank: int = 0) -> Any:
        ranks.append((method, rank))
        return call(method, args, kwargs, rank)

    spawner.engine.call = watched
    await spawner.start()
    ranks.remove(("containers", 0))
    assert ranks == [("inspect_image", 0), ("create_container", 1), ("start", 2), ("inspect_container", 3)]
    await spawner.docker("inspect_container", spawner.object_id)
    assert ranks[-1] == ("inspect_container", 0)


async def test_an_engine_that_does_not_answer_is_not_a_stopped_server(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.start()
    spawner.log.propagate = True
    client.fail["events"] = client.fail["containers"] = [requests.ConnectionError("refused")] * 20
    client.cut()
    await until_cut(spawner)
    for _ in range(3):
        assert await spawner.poll() is None
        assert await spawner.get_url() == "http://recorded:1/user/ann/"
    assert sum("can't say whether" in record.getMessage() for record in caplog.records) == 1


async def test_a_question_that_is_not_answered_is_no_end_either(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.start()
    client.die("jupyter-ann", 1)
    client.fail["inspect_container"] = [api_error(500, "oops")] * 100
    await until_heard(spawner)
    assert await spawner.poll() is None
    client.fail["inspect_container"].clear()
    assert await spawner.poll() == 1


async def test_get_url_falls_back_to_the_record(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.start()
    client.fail["inspect_container"] = [requests.ReadTimeout("slow")]
    assert await spawner.get_url() == "http://recorded:1/user/ann/"
    assert await spawner.get_url() == f"http://127.0.0.1:{port}/user/ann/"


async def test_poll_before_during_and_after_a_start(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    assert await spawner.poll() == 0
    starting = asyncio.create_task(spawner.start())
    await asyncio.sleep(0)
    assert await spawner.poll() is None
    await starting
    assert await spawner.poll() is None
    client.die("jupyter-ann", 9)
    await until_heard(spawner)
    assert await spawner.poll() == 9
    client.remove_container("jupyter-ann", v=True, force=True)
    assert await spawner.poll() == 0


async def test_poll_asks_the_engine_nothing_while_the_server_runs(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.start()
    # The start event may arrive after start() has returned.
    await until(spawner._known_to_run, timeout=10, interval=0.01)
    client.calls.clear()
    for _ in range(100):
        assert await spawner.poll() is None
    assert client.calls == []
    assert client.followed == ["events", "containers"]


async def test_a_create_that_was_not_answered_is_looked_up(port: int) -> None:
    class Slow(FakeClient):
        def create_container(self, **spec: Any) -> dict[str, Any]:
            super().create_container(**spec)
            raise requests.ReadTimeout("slow")

    client = Slow()
    spawner = spawner_on(client, port)
    await spawner.start()
    assert spawner.object_id == "id-of-jupyter-ann"
    assert client.calls.count("create_container") == 1


async def test_an_image_that_went_meanwhile_is_pulled_within_start(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.run_pre_spawn_hook()
    client.images.clear()
    await spawner.start()
    assert client.calls.count("pull") == 1


async def test_an_engine_that_is_down_fails_a_start_with_a_sentence() -> None:
    client = FakeClient()
    client.fail["create_container"] = [requests.ConnectionError("refused")]
    spawner = spawner_on(client)
    with pytest.raises(Exception, match="The Docker engine does not answer"):
        await spawner.start()
    assert client.existing == {}


async def test_the_engines_refusal_is_shown() -> None:
    client = FakeClient()
    client.fail["start"] = [api_error(500, "port is already allocated")]
    with pytest.raises(Exception, match="can't be started: port is already allocated"):
        await spawner_on(client).start()
    assert client.existing == {}


async def test_removal_that_is_under_way_is_waited_for(port: int) -> None:
    class Removing(FakeClient):
        asked = 0

        def remove_container(self, key: str, v: bool, force: bool) -> None:
            raise api_error(409, f"removal of container {key} is already in progress")

        def inspect_container(self, key: str) -> dict[str, Any]:
            if "stop" in self.calls:
                self.asked += 1
                if self.asked == 3:
                    self.existing.clear()
            return super().inspect_container(key)

    client = Removing()
    spawner = spawner_on(client, port)
    await spawner.start()
    await spawner.stop()
    assert client.asked == 3
    assert await spawner.poll() == 0


async def test_any_other_conflict_is_an_error_that_keeps_the_id(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    await spawner.start()
    client.fail["remove_container"] = [api_error(409, "cannot remove: driver busy")]
    with pytest.raises(Exception, match="driver busy"):
        await spawner.stop()
    assert spawner.object_id == "id-of-jupyter-ann"
    await spawner.stop()
    assert client.existing == {}


async def test_limits_are_evaluated_at_each_start_and_once(port: int) -> None:
    asked: list[str] = []

    async def cpu(spawner: Any) -> float:
        asked.append("cpu")
        return 0.5 * len(asked)

    client = FakeClient()
    spawner = spawner_on(client, port, cpu_limit=cpu, mem_limit=lambda spawner: "1G")
    seen = []
    for _ in range(2):
        await spawner.start()
        seen += [entry for entry in client.existing["jupyter-ann"]["Config"]["Env"] if "LIMIT" in entry]
        await spawner.stop()
    assert seen == ["MEM_LIMIT=1073741824", "CPU_LIMIT=0.5", "MEM_LIMIT=1073741824", "CPU_LIMIT=1.0"]


async def test_extra_settings_may_be_coroutines_and_templates(port: int) -> None:
    async def extra(spawner: Any) -> dict[str, Any]:
        return {"labels": {"mine": "{username}", "dockyard.user": "forged"}}

    client = FakeClient()
    await spawner_on(client, port, extra_create_kwargs=extra).start()
    labels = client.existing["jupyter-ann"]["Config"]["Labels"]
    assert (labels["mine"], labels["dockyard.user"]) == ("ann", "ann")


async def test_the_hook_has_the_last_word_on_the_spec(port: int) -> None:
    class Client(FakeClient):
        def create_container(self, **spec: Any) -> dict[str, Any]:
            sent.append(spec)
            return super().create_container(**spec)

    def in_place(spawner: Any, spec: dict[str, Any]) -> None:
        spec["hostname"] = spawner.user.name
        spec["host_config"]["Init"] = True
        spec["labels"] = {"mine": "1", "dockyard.user": "forged"}

    async def another(spawner: Any, spec: dict[str, Any]) -> dict[str, Any]:
        return {**spec, "hostname": "other", "name": "forged"}

    sent: list[dict[str, Any]] = []
    hashes = set()
    for hook, hostname in ((None, None), (in_place, "ann"), (another, "other")):
        await spawner_on(Client(), port, modify_spec_hook=hook, extra_create_kwargs={"labels": {"a": "1"}}).start()
        assert (sent[-1].get("hostname"), sent[-1]["name"]) == (hostname, "jupyter-ann")
        assert sent[-1]["labels"]["dockyard.user"] == "ann"
        hashes.add(sent[-1]["labels"]["dockyard.spec"])
    assert sent[1]["host_config"]["Init"] is True
    assert "a" not in sent[1]["labels"]
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("traits", "command"),
    [
        ({}, None),
        ({"cmd": "run"}, ["run"]),
        ({"cmd": ["run"], "args": ["--x"]}, ["run", "--x"]),
        ({"args": ["--x"]}, ["serve", "--x"]),
    ],
)
async def test_commands(traits: dict[str, Any], command: list[str] | None) -> None:
    assert await spawner_on(FakeClient(), **traits).get_command() == command


async def test_overrides_take_effect(port: int) -> None:
    class Custom(dockerspawner.DockerSpawner):
        async def get_ip_and_port(self) -> tuple[str, int]:
            return "localhost", self.port

        def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
            if method == "create_container":
                kwargs["host_config"]["CpuQuota"] = 1
                intercepted.append(kwargs)
            return super().docker(method, *args, **kwargs)

    intercepted: list[dict[str, Any]] = []
    spawner = spawner_on(FakeClient(), port, cls=Custom)
    assert await spawner.start() == ("localhost", port)
    assert {"image", "environment", "volumes", "name", "command", "host_config"} <= set(intercepted[0])


async def test_overrides_of_what_is_done_to_containers_take_effect(port: int) -> None:
    class Custom(dockerspawner.DockerSpawner):
        volume_mount_points = ["/mine"]

        async def start_object(self) -> None:
            done.append("start")
            await super().start_object()

        async def stop_object(self, timeout: int | None = None) -> None:
            done.append("stop")
            await super().stop_object(timeout)

        async def remove_object(self) -> None:
            done.append("remove")
            await super().remove_object()

        async def post_start_exec(self) -> None:
            raise RuntimeError("not this time")

        def get_env(self) -> dict[str, str]:
            return {**super().get_env(), "MINE": "1"}

        async def get_command(self) -> list[str]:
            return ["mine"]

    done: list[str] = []
    sent: list[dict[str, Any]] = []

    class Client(FakeClient):
        def create_container(self, **spec: Any) -> dict[str, Any]:
            sent.append(spec)
            return super().create_container(**spec)

    spawner = spawner_on(Client(), port, cls=Custom)
    await spawner.start()
    await spawner.stop()
    assert done == ["start", "stop", "remove"]
    assert (sent[0]["volumes"], sent[0]["command"], sent[0]["environment"]["MINE"]) == (["/mine"], ["mine"], "1")
    spawner.post_start_cmd = "anything"
    with pytest.raises(RuntimeError, match="not this time"):
        await spawner.start()
    assert done[3:] == ["start", "remove"]


async def test_an_override_of_get_object_decides_what_is_there(port: int) -> None:
    class Custom(dockerspawner.DockerSpawner):
        async def get_object(self) -> Any:
            asked.append(self.object_name)
            return await super().get_object()

    asked: list[str] = []
    spawner = spawner_on(FakeClient(), port, cls=Custom)
    await spawner.start()
    assert len(asked) == 1
    assert await spawner.poll() is None
    assert len(asked) == 2


async def test_a_subclasses_own_client_gets_every_call(port: int) -> None:
    own = FakeClient()

    class Custom(dockerspawner.DockerSpawner):
        @property
        def client(self) -> FakeClient:
            return own

    settings = {"image": "tiny", "network_name": "users", "port": port}
    spawner, other = (make_spawner(name, cls=Custom, **settings) for name in ("ann", "bob"))
    await spawner.start()
    assert list(own.existing) == ["jupyter-ann"]
    assert own.followed == ["events", "containers"]
    assert other.engine is spawner.engine
    await spawner.stop()


def test_state_of_every_age_loads() -> None:
    spawner = make_spawner()
    assert spawner.get_state() == {}
    spawner.load_state({"container_id": "old"})
    assert (spawner.object_id, spawner.container_id) == ("old", "old")
    kept = {"object_id": "new", "object_name": "kept-name", "volumes": {"/home/jovyan": "home-ann"}}
    spawner.load_state(kept)
    spawner.clear_state()
    assert spawner.get_state() == kept
    spawner.load_state({})
    spawner.clear_state()
    assert (spawner.get_state(), spawner.object_name) == ({}, "jupyter-ann")


def test_what_follows_from_other_settings() -> None:
    assert make_spawner(remove=True).will_resume is False
    assert make_spawner(remove=False).will_resume is True
    spawner = make_spawner(remove=False)
    assert spawner.will_resume is True
    spawner.remove = True
    assert spawner.will_resume is False
    assert make_spawner().use_internal_ip is False
    assert make_spawner(network_name="host").use_internal_ip is False
    assert make_spawner(network_name="users").use_internal_ip is True
    assert make_spawner(hub_connect_url="http://a").instance == make_spawner(hub_connect_url="http://b").instance


def test_host_ip_comes_from_docker_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example.org:2376")
    assert make_spawner().host_ip == "engine.example.org"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    assert make_spawner().host_ip == "127.0.0.1"


@pytest.mark.parametrize("cancels", [1, 2])
async def test_a_create_that_was_sent_before_the_cancel_is_undone(cancels: int) -> None:
    class Held(FakeClient):
        sent, answer = threading.Event(), threading.Event()

        def create_container(self, **spec: Any) -> dict[str, Any]:
            self.sent.set()
            assert self.answer.wait(10)
            return super().create_container(**spec)

    client = Held()
    starting = asyncio.create_task(spawner_on(client).start())
    assert await asyncio.to_thread(client.sent.wait, 10)
    for _ in range(cancels):
        starting.cancel()
        await asyncio.wait({starting}, timeout=0.05)
    client.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await starting

    async def removed() -> bool:
        return client.calls[-2:] == ["create_container", "remove_container"]

    await until(removed, timeout=10)
    assert client.existing == {}


async def test_a_kept_container_outlives_any_failure(port: int) -> None:
    """Of its start, and of what is to be undone of it."""
    client = FakeClient()
    first = spawner_on(client, port, remove=False)
    await first.start()
    await first.stop()
    second = spawner_on(client, port, remove=False)
    second.load_state(first.get_state())
    client.fail = {"start": [requests.ConnectionError("down")], "stop": [requests.ConnectionError("down")] * 9}
    with pytest.raises(Exception, match="does not answer"):
        await second.start()
    assert second._cleanup.sweeping is None
    assert second.get_state() == first.get_state()
    assert "remove_container" not in client.calls
    client.fail.clear()
    await second.start()
    assert client.calls.count("create_container") == 3
    assert list(client.existing) == ["jupyter-ann"]
    assert await second.poll() is None


async def test_what_a_failed_start_has_made_goes_once_the_engine_answers(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port)
    client.fail = {
        "start": [requests.ConnectionError("down")],
        "remove_container": [requests.ConnectionError("down")] * 2,
    }
    with pytest.raises(Exception, match="does not answer"):
        await spawner.start()
    assert list(client.existing) == ["jupyter-ann"]

    async def gone() -> bool:
        return not client.existing

    await until(gone, timeout=10)


async def test_a_container_whose_creation_nobody_answered_goes_too(port: int) -> None:
    class Lost(FakeClient):
        def create_container(self, **spec: Any) -> dict[str, Any]:
            super().create_container(**spec)
            raise requests.ConnectionError("reset")

    client = Lost()
    with pytest.raises(Exception, match="does not answer"):
        await spawner_on(client, port).start()

    async def gone() -> bool:
        return not client.existing

    await until(gone, timeout=10)


@pytest.mark.parametrize("unit", [b"0a1b2c3d", b"token", b"password=", b"a='"])
async def test_a_log_of_320_kib_in_one_line_costs_the_hub_next_to_nothing(unit: bytes) -> None:
    spawner = spawner_on(FakeClient())
    before = time.thread_time()
    shown = await spawner._failures.excerpt(unit * (320 * 1024 // len(unit)))
    assert time.thread_time() - before < 0.05
    assert len(shown) <= 500


class Slow(FakeClient):
    """Its only container ends when `ended` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def wait(self, name: str, timeout: float) -> dict[str, Any]:
        self._call("wait")
        assert self.ended.wait(10)
        return {"StatusCode": 0}


@pytest.mark.parametrize(("configured", "own"), [(None, 600), (None, -1), (600, None), (-1, None)])
async def test_stop_of_a_container_that_has_longer_than_its_call_waits(
    port: int, configured: int | None, own: int | None
) -> None:
    client = Slow()
    spawner = spawner_on(client, port, stop_timeout=configured, remove=False)
    await spawner.start()
    client.existing["jupyter-ann"]["Config"]["StopTimeout"] = own
    client.fail["stop"] = [requests.ReadTimeout("slow")]
    client.fail["wait"] = [requests.ReadTimeout("slow")]
    stopping = asyncio.create_task(spawner.stop())

    async def waiting() -> bool:
        return client.calls.count("wait") == 2

    await until(waiting, timeout=10, interval=0.01)
    client.die("jupyter-ann", 0)
    client.ended.set()
    await stopping


async def test_stop_of_a_container_that_has_no_longer_fails(port: int) -> None:
    client = FakeClient()
    spawner = spawner_on(client, port, remove=False)
    await spawner.start()
    client.fail["stop"] = [requests.ReadTimeout("slow")]
    with pytest.raises(Unavailable):
        await spawner.stop()
    assert "wait" not in client.calls
