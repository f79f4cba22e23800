"""Methods and exceptions that subclasses written for dockerspawner 14 override, call and catch."""

from __future__ import annotations

import pickle
from typing import Any

import docker.errors
import pytest
import requests
from tornado.web import HTTPError

from dockerspawner import DockerSpawner
from dockerspawner._errors.failures import explain, failure
from dockerspawner._errors.sdk import EngineFailure, SpawnException
from dockerspawner._errors.translation import Failed, NameTaken, NoSuchImage, NoSuchNetwork, Refused, Unavailable
from dockerspawner._settings.deprecations import is_replaced, takes
from dockerspawner._start import ready_check
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "remove": True, "port": port, "quick_timeout": 2}
    return make_spawner(engine=fake_engine(client), **{**settings, **traits})


# The image


class ChoosesInStart(DockerSpawner):
    async def start(self) -> Any:
        self.image = "tiny"
        return await super().start()


class ChoosesInPlainStart(DockerSpawner):
    def start(self) -> Any:
        self.image = "tiny"
        return super().start()


class ChoosesAfterTheHook(DockerSpawner):
    async def run_pre_spawn_hook(self) -> None:
        await super().run_pre_spawn_hook()
        self.image = "tiny"


class ChoosesBeforeTheHook(DockerSpawner):
    async def run_pre_spawn_hook(self) -> None:
        self.image = "tiny"
        await super().run_pre_spawn_hook()


@pytest.mark.parametrize("cls", [ChoosesInStart, ChoosesInPlainStart, ChoosesAfterTheHook, ChoosesBeforeTheHook])
@pytest.mark.parametrize("policy", ["always", "ifnotpresent", "never"])
async def test_an_image_chosen_by_a_subclass_is_the_only_one_that_is_pulled(
    port: int, cls: type[DockerSpawner], policy: str
) -> None:
    client = FakeClient(("tiny",))
    spawner = spawner_on(client, port, cls=cls, image="registry.invalid/configured", pull_policy=policy)
    await spawner.run_pre_spawn_hook()
    await spawner.start()
    assert "registry.invalid/configured" not in client.images
    assert client.existing["jupyter-ann"]["Image"] == "sha256:tiny"


async def test_an_image_chosen_in_start_is_pulled_where_it_is_missing(port: int) -> None:
    client = FakeClient(())
    spawner = spawner_on(client, port, cls=ChoosesInStart, image="configured")
    await spawner.run_pre_spawn_hook()
    await spawner.start()
    assert "tiny" in client.images
    assert "configured" not in client.images


async def test_an_image_chosen_in_get_env_or_create_object_is_what_the_container_is_made_of(port: int) -> None:
    class InEnvironment(DockerSpawner):
        def get_env(self) -> dict[str, str]:
            self.image = "other:1"
            return super().get_env()  # type: ignore[no-any-return]

    class InCreateObject(DockerSpawner):
        async def create_object(self) -> dict[str, Any]:
            self.image = "other:1"
            return await super().create_object()

    for cls in (InEnvironment, InCreateObject):
        client = FakeClient(("tiny",))
        spawner = spawner_on(client, port, cls=cls)
        await spawner.run_pre_spawn_hook()
        await spawner.start()
        assert client.existing["jupyter-ann"]["Image"] == "sha256:other:1"
        assert spawner._attempt.environment["JUPYTER_IMAGE_SPEC"] == "other:1"


async def test_a_refused_choice_is_refused_before_the_start() -> None:
    spawner = spawner_on(FakeClient(), cls=ChoosesInStart, allowed_images=["a:1"])
    spawner.user_options = {"image": "b:2"}
    with pytest.raises(HTTPError, match="not allowed"):
        await spawner.run_pre_spawn_hook()


def test_is_replaced_by_classes_of_others_and_on_the_object() -> None:
    assert not is_replaced(make_spawner(), "start")
    assert is_replaced(make_spawner(cls=ChoosesInStart), "start")
    spawner = make_spawner()
    spawner.start = lambda: None  # type: ignore[method-assign,assignment,return-value]
    assert is_replaced(spawner, "start")


# What start() raises


class Catches(DockerSpawner):
    caught: Any = None

    async def start(self) -> Any:
        try:
            return await super().start()
        except docker.errors.ImageNotFound as error:
            self.caught = error
            raise


async def test_a_missing_image_is_caught_as_the_sdks_error(port: int) -> None:
    for policy, pull_events in (("never", []), ("ifnotpresent", [{"error": "manifest unknown"}])):
        client = FakeClient(())
        client.pull_events = pull_events
        spawner = spawner_on(client, port, cls=Catches, pull_policy=policy)
        await spawner.run_pre_spawn_hook()
        with pytest.raises(docker.errors.ImageNotFound):
            await spawner.start()
        caught = spawner.caught
        assert isinstance(caught, HTTPError)
        assert caught.response.status_code == 404
        assert "tiny" in caught.explanation
        assert caught.reason == "image"


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_an_error_of_the_engine_is_caught_as_the_sdks_error(port: int, status: int) -> None:
    client = FakeClient()
    client.fail["create_container"] = [api_error(status, "no such thing")]
    with pytest.raises(docker.errors.APIError) as raised:
        await spawner_on(client, port).start()
    error: Any = raised.value
    assert isinstance(error, docker.errors.NotFound) == (status == 404)
    assert error.response.status_code == status
    assert error.explanation == "no such thing"
    assert (error.is_client_error(), error.is_server_error()) == (status < 500, status >= 500)
    # For the hub it is a failed start, regardless of the engine's answer.
    assert error.status_code == 500
    assert "no such thing" in error.jupyterhub_message


CAUSES = [
    (NoSuchImage("No such image: a"), docker.errors.ImageNotFound, 404, 500),
    (NoSuchNetwork("network x not found"), docker.errors.NotFound, 404, 500),
    (NameTaken("taken"), docker.errors.APIError, 409, 500),
    (Refused("bad"), docker.errors.APIError, 400, 500),
    (Failed("no space left on device"), docker.errors.APIError, 500, 500),
    (Unavailable("refused"), docker.errors.APIError, 503, 503),
]


@pytest.mark.parametrize(("cause", "kind", "status", "shown"), CAUSES, ids=[type(one[0]).__name__ for one in CAUSES])
def test_a_failure_of_each_kind_has_an_answer_and_survives_pickling(
    cause: Any, kind: type[Exception], status: int, shown: int
) -> None:
    first = explain(cause)
    for error in (first, pickle.loads(pickle.dumps(first))):
        assert isinstance(error, kind)
        assert isinstance(error, HTTPError)
        assert isinstance(error, requests.exceptions.HTTPError)
        assert SpawnException is None or isinstance(error, SpawnException)
        assert (error.status_code, error.response.status_code) == (shown, status)
        assert error.explanation == str(cause)
        assert error.jupyterhub_message
        assert error.jupyterhub_message in str(error)
        assert error.reason == first.reason


def test_a_failure_without_the_engine_is_no_error_of_the_sdk() -> None:
    error = failure("A setting is wrong.", reason="settings")
    assert not isinstance(error, docker.errors.DockerException)
    assert isinstance(explain(Refused("no")), EngineFailure)


# Methods


async def test_stop_object_without_parameters_works_for_every_stop(port: int) -> None:
    stopped = []

    class Stops(DockerSpawner):
        async def stop_object(self) -> None:  # type: ignore[override]
            stopped.append(self.object_id)
            await super().stop_object()

    for now in (False, True):
        spawner = spawner_on(FakeClient(), port, cls=Stops)
        await spawner.start()
        await spawner.stop(now=now)
    assert len(stopped) == 2


def test_takes_gives_a_method_what_it_has_parameters_for() -> None:
    assert takes(lambda: 1, timeout=0) == {}
    assert takes(lambda timeout: 1, timeout=0) == {"timeout": 0}
    assert takes(lambda *, timeout=1: 1, timeout=0) == {"timeout": 0}
    assert takes(lambda **others: 1, timeout=0) == {"timeout": 0}
    assert takes(lambda seconds: 1, timeout=0) == {}


async def test_an_address_of_a_subclass_that_does_not_answer_is_left_to_the_hub(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ready_check, "OTHER_ADDRESS", 0.1)

    class Elsewhere(DockerSpawner):
        async def get_ip_and_port(self) -> tuple[str, int]:
            return "127.0.0.1", 1

    client = FakeClient()
    spawner = spawner_on(client, cls=Elsewhere, start_timeout=60)
    spawner.log.propagate = True
    assert await spawner.start() == ("127.0.0.1", 1)
    assert any("the hub waits up to http_timeout" in record.getMessage() for record in caplog.records)
    assert client.existing["jupyter-ann"]["State"]["Running"]


async def test_overrides_may_give_plain_values(port: int) -> None:
    client = FakeClient()
    called = []

    class Plain(DockerSpawner):
        def get_command(self) -> Any:  # type: ignore[override]
            return ["serve"]

        def get_ip_and_port(self) -> Any:  # type: ignore[override]
            return "127.0.0.1", port

        def get_object(self) -> Any:  # type: ignore[override]
            return client.existing.get("jupyter-ann")

        def create_object(self) -> Any:  # type: ignore[override]
            environment = {"JUPYTERHUB_API_TOKEN": self.api_token}
            return client.create_container(
                image="tiny", name="jupyter-ann", environment=environment, labels={}, host_config={}
            )

        def start_object(self) -> Any:  # type: ignore[override]
            client.start("jupyter-ann")

        def stop_object(self, timeout: Any = None) -> Any:  # type: ignore[override]
            client.stop("jupyter-ann", timeout)

        def remove_object(self) -> Any:  # type: ignore[override]
            client.remove_container("jupyter-ann", v=True, force=True)

        def pull_image(self, image: str) -> Any:  # type: ignore[override]
            called.append(image)

        def check_allowed(self, image: str) -> Any:  # type: ignore[override]
            return "tiny"

        def post_start_exec(self) -> Any:  # type: ignore[override]
            called.append("post_start_exec")

        def move_certs(self, paths: Any) -> Any:  # type: ignore[override]
            return paths

    spawner = spawner_on(client, port, cls=Plain, image="other", post_start_cmd="true")
    spawner.user_options = {"image": "mine"}
    await spawner.run_pre_spawn_hook()
    assert await spawner.start() == ("127.0.0.1", port)
    assert called == ["tiny", "post_start_exec"]
    assert await spawner.poll() is None
    assert await spawner.get_url() == f"http://127.0.0.1:{port}/user/ann/"
    await spawner.stop()
    assert client.existing == {}
    assert await spawner.poll() == 0
