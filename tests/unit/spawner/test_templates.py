"""Templates of settings: filling, and messages about templates that can't be filled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockerspawner import SwarmSpawner, SystemUserSpawner
from dockerspawner._settings.templates import TemplateError, fill
from support.fake_engine import FakeClient, fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner

NAMESPACE = {"username": "ann", "prefix": "jupyter", "team": SimpleNamespace(name="staff", _key="hidden")}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("v-{username}", "v-ann"),
        ("{{{username}}}", "{ann}"),
        ("/homes/{username[0]}/{username:>5}", "/homes/a/  ann"),
        ("{username!r}", "'ann'"),
        ("{team.name}", "staff"),
        ("", ""),
    ],
)
def test_fill_known_placeholders_are_filled(template: str, filled: str) -> None:
    assert fill(template, NAMESPACE) == filled


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (
            "v-{user}",
            r"^\{user\} is not a placeholder \(the nearest is \{username\}; known placeholders: \{prefix\}, \{team\}, ",
        ),
        ("{}", r"is not a placeholder \(known placeholders:"),
        ("{0}", r"^\{0\} is not a placeholder"),
        ("{", "Single '{' encountered.*literal brace as {{ or }}"),
        ("{username", "literal brace as {{ or }}"),
        ("{username!x}", "unknown conversion"),
        ("{username.__class__}", "{username} has no attributes"),
        ("{username.upper}", "{username} has no attributes"),
        ("{team._key}", "{team} has no attributes"),
        ("{team.name.__class__}", "{team} has no attributes"),
        ("{team.nothing}", "can't be filled: .*nothing"),
        ("{username[9]}", "can't be filled"),
        ("{username[name]}", "can't be filled"),
        ("{username:d}", "the format 'd' can't be used"),
        ("{username:>999999999}", "too wide"),
        ("{username:{prefix}}", "a placeholder in its format"),
        (None, "it is not a string"),
    ],
)
def test_fill_anything_else_is_one_kind_of_error_that_says_why(template: Any, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        fill(template, NAMESPACE)


async def failure_of(client: Any = None, cls: Any = None, **settings: Any) -> str:
    client = client or FakeClient()
    kind = {"cls": cls} if cls else {}
    spawner = make_spawner(engine=fake_engine(client), **kind, **{"image": "tiny", "network_name": "users", **settings})
    with pytest.raises(Exception) as failed:  # noqa: PT011  # HTTPError in JupyterHub 5, SpawnException in 6
        await spawner.start()
    error: Any = failed.value
    assert error.reason == "settings"
    assert error.jupyterhub_message.endswith(" Please contact an administrator.")
    return str(error.jupyterhub_message)


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("volumes", {"v-{user}": "/data"}, "{user} is not a placeholder"),
        ("volumes", {"v": "/data/{user}"}, "{user} is not a placeholder"),
        ("volumes", {"v": {"target": "/data"}}, '"bind", the path in the container, is missing'),
        ("volumes", {"v": None}, "the value must be a path, a dict"),
        ("volumes", {"v": [None]}, "the value must be a path, a dict"),
        ("volumes", {"v": 7}, "the value must be a path, a dict"),
        ("volumes", {"v": {"bind": None}}, '"bind" is not a string'),
        ("volumes", {"v": {"bind": "/data", "mode": True}}, '"mode" is not a string'),
        ("volumes", {"v-{}": "/data"}, "is not a placeholder"),
        ("volumes", {"v-{username.__class__}": "/data"}, "has no attributes"),
        ("read_only_volumes", {"v-{": "/data"}, "literal brace as {{ or }}"),
        ("mounts", [{"target": "/{user}", "source": "v"}], "{user} is not a placeholder"),
        ("mounts", [{"target": "/data", "source": "v-{user}"}], "{user} is not a placeholder"),
        ("extra_networks", ["{user}"], "known placeholders: {base_url}, {imagename}, {prefix}"),
        ("name_template", "{prefix}-{user}", "the nearest is {username}"),
        ("name_template", "", "results in an empty name"),
        ("notebook_dir", "/home/{user}", "{user} is not a placeholder"),
        ("default_url", "/lab/{0}", "{0} is not a placeholder"),
    ],
)
async def test_start_a_template_that_cannot_be_filled_names_setting_and_placeholders(
    setting: str, value: Any, why: str
) -> None:
    client = FakeClient()
    message = await failure_of(client, **{setting: value})
    assert message.startswith(f"The setting {setting} ")
    assert why in message
    assert "create_container" not in client.calls


async def test_start_a_naming_strategy_with_a_mistake_is_named() -> None:
    message = await failure_of(
        volumes={"v-{user}": "/data"}, format_volume_name=lambda template, spawner: template.format(username="ann")
    )
    assert (
        "The setting volumes has an invalid entry 'v-{user}': format_volume_name does not fill 'user' in 'v-{user}'."
        in message
    )


@pytest.mark.parametrize("setting", ["host_homedir_format_string", "image_homedir_format_string"])
async def test_start_a_system_users_home_with_a_mistake_names_the_setting(setting: str) -> None:
    message = await failure_of(cls=SystemUserSpawner, user_id=1000, group_id=1000, **{setting: "/home/{user}"})
    assert f"The setting {setting} has the invalid value '/home/{{user}}'" in message
    assert "known placeholders: {username}" in message


async def test_start_a_swarms_templates_with_a_mistake_name_the_setting() -> None:
    for settings in (
        {"extra_networks": ["{user}"]},
        {"network_name": "net-{user}"},
        {"volumes": {"v": "/data"}, "volume_driver_options": {"device": ":/homes/{user}"}},
    ):
        message = await failure_of(FakeSwarm(), cls=SwarmSpawner, **settings)
        assert f"The setting {list(settings)[-1]} has " in message
        assert "{user} is not a placeholder" in message


def test_volume_driver_options_braces_that_are_no_template_stay() -> None:
    spawner = make_spawner(cls=SwarmSpawner, volume_driver_options={"policy": '{"a": 1}', "path": ":/{username}"})
    assert spawner.mount_driver_config["Options"] == {"policy": '{"a": 1}', "path": ":/ann"}


@pytest.mark.parametrize("settings", [{"name_template": "{prefix}-{user}"}, {"escape": lambda text: text.nothing}])
def test_pages_and_states_never_fail_for_a_name_that_cannot_be_rendered(settings: Any) -> None:
    spawner = make_spawner(**settings)
    assert spawner.object_name == spawner.name_template
    spawner.load_state({"object_id": "c1", "object_name": "jupyter-ann"})
    assert spawner.get_state()["object_name"] == "jupyter-ann"
    spawner.object_id = ""
    spawner.clear_state()
    spawner.image = "other"
    assert spawner.container_name == spawner.name_template
