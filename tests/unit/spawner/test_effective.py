from __future__ import annotations

import contextlib
from typing import Any

import pytest
from traitlets import Int, TraitError, Unicode, observe, validate

from dockerspawner import DockerSpawner
from dockerspawner._settings.effective import validated
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner


class Chained(DockerSpawner):
    """Defaults that follow from a setting, and from each other."""

    base = Int(1, config=True)
    doubled = Int(config=True)
    text = Unicode(config=True)

    broken = False

    def _doubled_default(self) -> int:
        if self.broken:
            raise RuntimeError("not now")
        return 2 * self.base

    def _text_default(self) -> str:
        return f"has {self.doubled}"

    @validate("base")
    def _validate_base(self, proposal: Any) -> int:
        if proposal.value > len(self.user.name):
            raise TraitError("base is longer than the name")
        return int(proposal.value)

    @observe("base")
    def _note_base(self, change: Any) -> None:
        self.seen = [*getattr(self, "seen", []), change.new]


def spawner_with(override: dict[str, Any], **traits: Any) -> Any:
    profiles = [{"display_name": "A", "docker_override": override}]
    engine = fake_engine(FakeClient(("plain:1", "a:1")))
    return make_spawner(cls=Chained, engine=engine, image="plain:1", profile_list=profiles, **traits)


@pytest.mark.parametrize("first", ["text", "doubled"])
async def test_defaults_that_were_read_follow_an_override_and_follow_back(first: str) -> None:
    spawner = spawner_with({"base": 3})
    getattr(spawner, first)
    assert (spawner.text, spawner.doubled) == ("has 2", 2)
    await spawner.run_pre_spawn_hook()
    assert (spawner.base, spawner.doubled, spawner.text) == (3, 6, "has 6")
    spawner.clear_state()
    assert (spawner.base, spawner.doubled, spawner.text) == (1, 2, "has 2")
    assert spawner.seen == [3, 1]


async def test_settings_that_are_set_follow_nothing() -> None:
    spawner = spawner_with({"base": 3}, doubled=2)
    assert spawner.text == "has 2"
    await spawner.run_pre_spawn_hook()
    assert (spawner.doubled, spawner.text) == (2, "has 2")
    spawner.clear_state()
    assert (spawner.base, spawner.doubled) == (1, 2)


async def test_an_override_that_equals_a_default_is_kept() -> None:
    spawner = spawner_with({"doubled": 2, "base": 3})
    assert spawner.doubled == 2
    await spawner.run_pre_spawn_hook()
    assert (spawner.base, spawner.doubled) == (3, 2)
    spawner.clear_state()
    assert (spawner.base, spawner.doubled) == (1, 2)


async def test_defaults_follow_what_a_hook_sets() -> None:
    def hook(spawner: Any) -> None:
        assert spawner.doubled == 6
        spawner.base = 2

    spawner = spawner_with({"base": 3}, pre_spawn_hook=hook)
    await spawner.run_pre_spawn_hook()
    await spawner._take_profile()
    assert spawner.text == "has 4"
    spawner.clear_state()
    assert (spawner.base, spawner.text) == (1, "has 2")


async def test_a_default_that_fails_leaves_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    spawner = spawner_with({"base": 3})
    spawner.log.propagate = True
    assert spawner.doubled == 2

    spawner.broken = True
    await spawner.run_pre_spawn_hook()
    assert spawner.doubled == 2
    assert "The default of doubled could not be computed" in caplog.text


async def test_a_validator_that_rejects_an_override_fails_the_start() -> None:
    spawner = spawner_with({"base": 100})
    with pytest.raises(Exception, match="Profile a can't be had: base is longer than the name"):
        await spawner.run_pre_spawn_hook()
    assert spawner.base == 1


async def test_a_container_that_is_kept_keeps_its_name() -> None:
    spawner = spawner_with({"image": "a:1"}, name_template="{username}-{imagename}")
    await spawner.run_pre_spawn_hook()
    spawner.object_id = "kept"
    assert spawner.object_name == "ann-a-1"
    spawner.clear_state()
    assert (spawner.image, spawner.object_name) == ("plain:1", "ann-a-1")


def test_a_value_is_validated_without_a_change() -> None:
    assert validated(DockerSpawner, "mem_limit", "1G") == 1024**3
    with pytest.raises(TraitError, match="The 'port' trait of a DockerSpawner instance expected an int"):
        validated(DockerSpawner, "port", "many")


async def test_a_poll_changes_no_setting() -> None:
    spawner = spawner_with({"base": 3})
    spawner.load_state({"object_id": "x", "profile": {"profile": "a"}})
    before = spawner.get_state()
    await spawner.poll()
    assert (spawner.base, spawner.get_state()["profile"]) == (1, before["profile"])


@pytest.mark.parametrize("step", ["get_url", "stop", "run_post_stop_hook"])
async def test_the_first_use_of_a_server_from_before_the_hub_has_its_profile(step: str) -> None:
    spawner = spawner_with({"base": 3})
    spawner.load_state({"object_id": "x", "profile": {"profile": "a"}})
    # The engine knows no container x.
    with contextlib.suppress(Exception):
        await getattr(spawner, step)()
    assert spawner.base == 3


async def test_a_start_ends_what_was_to_be_recalled() -> None:
    spawner = spawner_with({"base": 3}, pull_policy="skip")
    spawner.load_state({"profile": {"profile": "gone"}})
    await spawner.run_pre_spawn_hook()
    await spawner._recall_profile()
    assert spawner.base == 3
