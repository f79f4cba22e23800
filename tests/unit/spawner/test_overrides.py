"""JupyterHub's group_overrides: settings of all servers are not for groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockerspawner._profiles.overrides import OF_ALL_SERVERS, SHARED
from support.spawners import make_spawner


def in_group(group_overrides: Any, **traits: Any) -> Any:
    """A spawner of ann, who is in the group gpu."""
    spawner = make_spawner(group_overrides=group_overrides, **traits)
    spawner.user.groups = [SimpleNamespace(name="gpu")]
    return spawner


def entry(group: str = "gpu", **settings: Any) -> dict[str, Any]:
    return {"01-entry": {"groups": [group], "spawner_override": settings}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", "gpu"),
        ("container_prefix", "gpu"),
        ("instance", "gpu"),
        ("escape", "legacy"),
        ("client_kwargs", {"timeout": 1}),
        ("max_sleeping", 1),
        ("delete_policy", "delete"),
    ],
)
@pytest.mark.parametrize("is_callable", [False, True])
async def test_group_overrides_of_a_setting_of_all_servers_fail_the_start_and_set_nothing(
    caplog: Any, name: str, value: Any, is_callable: bool
) -> None:
    found = entry(image="gpu:1", **{name: value})
    spawner = in_group((lambda spawner: found) if is_callable else found, image="tiny")
    before = getattr(spawner, name)
    with pytest.raises(Exception, match="administrator") as failed:
        await spawner.apply_group_overrides()
    message = getattr(failed.value, "jupyterhub_message", "")
    assert message.startswith(f"The setting group_overrides can't set {name} for group gpu: ")
    assert f"Entry '01-entry' of the setting group_overrides sets {name} for group gpu" in caplog.text
    assert (getattr(spawner, name), spawner.image) == (before, "tiny")


async def test_group_overrides_of_other_settings_and_other_groups_are_jupyterhubs() -> None:
    calls = []

    async def overrides(spawner: Any) -> Any:
        calls.append(spawner)
        others = {"02-entry": {"groups": ["others"], "spawner_override": {"prefix": "x"}}}
        return entry(image="gpu:1", environment={"GPU": "1"}, poll_interval=5) | others

    spawner = in_group(overrides, environment={"A": "b"})
    await spawner.apply_group_overrides()
    assert (spawner.image, spawner.environment, spawner.poll_interval) == ("gpu:1", {"A": "b", "GPU": "1"}, 5)
    assert (spawner.prefix, calls, spawner.group_overrides) == ("jupyter", [spawner], overrides)


async def test_group_overrides_that_fail_name_the_setting() -> None:
    with pytest.raises(KeyError) as failed:
        await in_group({"01-entry": {"groups": ["gpu"]}}).apply_group_overrides()
    assert "group_overrides" in getattr(failed.value, "jupyterhub_message", "")


def test_settings_of_all_servers_are_not_for_profiles_either() -> None:
    assert OF_ALL_SERVERS.items() <= SHARED.items()
