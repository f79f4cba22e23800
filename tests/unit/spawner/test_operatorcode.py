"""Errors of operator code: raised unmodified, named, and never treated as engine errors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import NotFound
from tornado.web import HTTPError

from dockerspawner import DockerSpawner
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Unavailable, came_from_engine, meaning_outside
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner

ENGINE_SILENT = "The Docker engine does not answer"


def raising(error: Exception) -> Any:
    def hook(*_: Any, **__: Any) -> Any:
        raise error

    return hook


def raising_later(error: Exception) -> Any:
    async def hook(*_: Any, **__: Any) -> Any:
        raise error

    return hook


def requested(url: str) -> requests.ConnectionError:
    return requests.ConnectionError("refused", request=requests.Request("GET", url).prepare())


ERRORS = [
    OSError(13, "denied", "/srv/secret"),
    requested("https://quota.example/users"),
    NotFound("of another engine"),
    KeyError("typo"),
]
SETTINGS = [
    "extra_create_kwargs",
    "extra_host_config",
    "modify_spec_hook",
    "mem_limit",
    "cpu_limit",
    "mem_guarantee",
    "cpu_guarantee",
    "gpus",
    "format_volume_name",
    "allowed_images",
    "profile_list",
]

_NAMES = "format_volume_name"


def spawner_with(cls: type[DockerSpawner] = DockerSpawner, **traits: Any) -> tuple[DockerSpawner, FakeClient]:
    client = FakeClient()
    settings = {"image": "tiny", "volumes": {"home-{username}": "/home/jovyan"}}
    if "allowed_images" in traits:
        settings["user_options"] = {"image": "tiny"}
    return make_spawner(cls=cls, engine=fake_engine(client), **{**settings, **traits}), client


def shown(error: BaseException) -> str:
    return str(getattr(error, "jupyterhub_message", ""))


def assert_nothing_is_left(spawner: DockerSpawner, client: FakeClient) -> None:
    assert client.existing == {}
    # Otherwise the spawner would search for containers for ten minutes.
    assert spawner._cleanup.sweeping is None


# A KeyError of format_volume_name is a placeholder of a template, and is named with that template.
RAISED = [(setting, error) for setting in SETTINGS for error in ERRORS if (setting, type(error)) != (_NAMES, KeyError)]


@pytest.mark.parametrize(
    ("setting", "error"), RAISED, ids=lambda one: one if isinstance(one, str) else type(one).__name__
)
async def test_setting_that_raises_is_named_and_its_error_raised_as_it_is(
    setting: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    later = setting not in (_NAMES, "allowed_images")
    for hook in (raising, raising_later) if later else (raising,):
        vars(error).pop("jupyterhub_message", None)
        caplog.clear()
        spawner, client = spawner_with(**{setting: hook(error)})
        with pytest.raises(type(error)) as raised:
            await spawner.start()
        assert raised.value is error
        assert f"The server can't be started: the setting {setting} failed." in shown(error)
        assert "administrator" in shown(error)
        assert str(error) not in shown(error)
        logged = [record for record in caplog.records if setting in record.getMessage() and record.exc_info]
        assert len(logged) == 1
        assert_nothing_is_left(spawner, client)


@pytest.mark.parametrize("setting", SETTINGS)
async def test_time_out_of_a_setting_is_not_the_hubs(setting: str) -> None:
    """The hub treats any TimeoutError as the end of start_timeout, and logs no traceback."""
    spawner, client = spawner_with(**{setting: raising(TimeoutError("slow"))})
    with pytest.raises(Exception, match=f"the setting {setting} failed") as raised:
        await spawner.start()
    assert not isinstance(raised.value, TimeoutError | asyncio.TimeoutError)
    assert isinstance(raised.value.__cause__, TimeoutError)
    assert_nothing_is_left(spawner, client)


async def test_environment_that_raises_is_named() -> None:
    spawner, _ = spawner_with(environment={"A": raising(OSError("x"))})
    with pytest.raises(OSError, match="x") as raised:
        await spawner.start()
    assert "the setting environment, or get_env(), failed" in shown(raised.value)


async def test_escape_that_raises_is_named() -> None:
    spawner, _ = spawner_with(escape=raising(OSError("x")))
    with pytest.raises(OSError, match="x") as raised:
        await spawner.start()
    assert "the setting name_template, or escape, failed" in shown(raised.value)


async def test_pre_spawn_hook_may_tell_the_user_what_it_wants() -> None:
    error = ValueError("Your quota is used up")
    spawner, _ = spawner_with(pre_spawn_hook=raising(error))
    with pytest.raises(ValueError, match="quota"):
        await spawner.run_pre_spawn_hook()
    assert shown(error) == ""


@pytest.mark.parametrize("error", [OSError("x"), TimeoutError("x"), requested("http://a.example/")])
async def test_pre_spawn_hook_that_reaches_nothing_is_named(error: Exception) -> None:
    spawner, _ = spawner_with(pre_spawn_hook=raising(error))
    with pytest.raises(Exception, match=r"x|refused|pre_spawn_hook") as raised:
        await spawner.run_pre_spawn_hook()
    assert "the setting pre_spawn_hook failed" in shown(raised.value)
    assert not isinstance(raised.value, TimeoutError)


@pytest.mark.parametrize("error", [HTTPError(403, "No."), failure("No.", reason="x")])
async def test_error_for_the_user_stays_as_it_is(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    spawner, _ = spawner_with(modify_spec_hook=raising(error))
    with pytest.raises(type(error)) as raised:
        await spawner.start()
    assert raised.value is error
    assert "modify_spec_hook" not in shown(error)
    assert "modify_spec_hook" not in caplog.text


async def test_hook_that_asks_the_engine_may_find_it_silent() -> None:
    async def hook(spawner: Any, spec: Any) -> None:
        await spawner.docker("inspect_image", "tiny")

    spawner, client = spawner_with(modify_spec_hook=hook, pull_policy="skip")
    client.fail["inspect_image"] = [requests.ConnectionError("reset")]
    with pytest.raises(Exception, match=ENGINE_SILENT):
        await spawner.start()


class Overriding(DockerSpawner):
    error: Exception

    async def create_object(self) -> dict[str, Any]:
        raise self.error

    async def get_object(self) -> dict[str, Any] | None:
        return None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("x"), "code of Overriding failed"),
        (TimeoutError("x"), "code of Overriding failed"),
        (requests.ConnectionError("x", request=SimpleNamespace(url="http+docker://localhost/v1.45/x")), ENGINE_SILENT),  # type: ignore[arg-type]
        (requests.ReadTimeout("x", request=SimpleNamespace(url="http://engine:2375/v1.45/x")), ENGINE_SILENT),  # type: ignore[arg-type]
        (api_error(503, "busy"), "The server can't be started: busy"),
        (api_error(404, "No such image: tiny"), "Image tiny does not exist"),
        (ValueError("You have no project"), ""),
    ],
)
async def test_override_may_raise_the_sdks_errors_and_its_own(error: Exception, says: str) -> None:
    spawner, client = spawner_with(Overriding, pull_policy="never")
    Overriding.error = error
    with pytest.raises(Exception, match=r".") as raised:
        await spawner.start()
    assert says in shown(raised.value)
    if not says:
        assert raised.value is error
    assert client.existing == {}


async def test_address_that_code_can_not_give_is_the_one_on_record(caplog: pytest.LogCaptureFixture) -> None:
    class Addressed(DockerSpawner):
        async def get_ip_and_port(self) -> tuple[str, int]:
            raise OSError("no such name")

    spawner, _ = spawner_with(Addressed)
    spawner.object_id = "x"
    assert await spawner.get_url() == spawner.server.url
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("error", "of_engine"),
    [
        (requested("https://quota.example/v1/users"), False),
        (requested("http+docker://ssh/v1.45/containers/json"), True),
        (requested("https://engine:2376/v1.45/containers/json"), True),
        (requested("http://engine:2375/version"), True),
        (requests.ConnectionError("x"), False),
        (api_error(500, "x"), True),
        (Unavailable("x"), True),
        (OSError("x"), False),
    ],
)
def test_error_of_an_engine_is_known_by_what_was_asked(error: Exception, of_engine: bool) -> None:
    assert came_from_engine(error) is of_engine
    assert (meaning_outside("start", error) is error) == (not of_engine or isinstance(error, Unavailable))
