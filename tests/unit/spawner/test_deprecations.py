from __future__ import annotations

import logging
from typing import Any

import pytest
from traitlets.config import Config

from dockerspawner import DockerSpawner
from dockerspawner._settings.deprecations import IGNORED, RENAMED
from support.spawners import make_spawner

LOG = logging.getLogger("old-names")

VALUES: dict[str, Any] = {
    "container_ip": "10.0.0.1",
    "container_port": 9999,
    "container_image": "other:1",
    "container_prefix": "other",
    "container_name_template": "{prefix}-x-{username}",
    "remove_containers": True,
    "image_whitelist": {"a": "a:1"},
}


def configured(name: str, value: Any) -> DockerSpawner:
    return DockerSpawner(config=Config(DockerSpawner={name: value}), log=LOG)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_works_and_says_its_new_one(old: str, caplog: pytest.LogCaptureFixture) -> None:
    new, _ = RENAMED[old]
    spawner = configured(old, VALUES[old])
    assert getattr(spawner, new) == VALUES[old]
    (record,) = caplog.records
    assert f"DockerSpawner.{old} is deprecated" in record.getMessage()
    assert f"use DockerSpawner.{new} instead" in record.getMessage()


def test_both_names_alike_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    DockerSpawner(config=Config(DockerSpawner={"container_port": 9999, "port": 9999}), log=LOG)
    assert not caplog.records


def test_an_old_name_works_at_any_time() -> None:
    spawner = make_spawner()
    spawner.remove_containers = True
    assert spawner.remove


def test_an_old_name_that_nobody_has_set_reads_as_the_new_one() -> None:
    spawner = make_spawner(image="a:1")
    assert (spawner.container_image, spawner.container_prefix) == ("a:1", "jupyter")


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_ignored_says_what_to_do(name: str, caplog: pytest.LogCaptureFixture) -> None:
    configured(name, "something")
    (record,) = caplog.records
    assert IGNORED[name] in record.getMessage()


async def test_an_old_method() -> None:
    spawner = make_spawner(allowed_images={"new": "a:1"})
    with pytest.deprecated_call(match="use DockerSpawner.check_allowed"):
        assert await spawner.check_image_whitelist("new") == "a:1"
