from __future__ import annotations

from typing import Any

import pytest
from traitlets.config import Config

from dockerspawner import DockerSpawner
from dockerspawner._storage.volume_owners import configured_sources, is_named_folder, is_own_folder
from support.spawners import make_spawner


@pytest.mark.parametrize(
    ("username", "template", "path", "is_named", "is_own"),
    [
        ("ann", "/srv/{username}", "/srv/ann", True, True),
        ("ann", "/srv/{username}/", "/srv/ann/", True, True),
        ("ann", "/srv/x-{raw_username}", "/srv/x-ann", True, True),
        ("ann", "/srv/{username}/work", "/srv/ann/work", True, False),
        ("ann", "/srv/{username}/{username}", "/srv/ann/ann", True, False),
        # A folder above is called as the user is.
        ("home", "/home/{username}", "/home/home", True, True),
        ("ann", "/srv/shared", "/srv/shared", False, False),
        # What a hook sets, or what extra_host_config has.
        ("ann", "", "/srv/ann", True, True),
        ("ann", "", "/srv/anna", False, False),
        ("data", "", "/srv/data/course1", True, False),
        ("data", "", "/srv/data/data", True, False),
        ("ann", "", "C:\\homes\\ann", True, True),
        ("ann", "/srv/group/ann", "/srv/group/ann", False, False),
    ],
)
def test_is_own_folder_only_if_the_last_part_alone_has_the_users_name(
    username: str, template: str, path: str, is_named: bool, is_own: bool
) -> None:
    spawner = make_spawner(username, config=Config(DockerSpawner={"volumes": {"/srv/group/ann": "/group"}}))
    assert is_named_folder(spawner, path, template) is is_named
    assert is_own_folder(spawner, path, template) is is_own


def test_is_own_folder_of_a_format_that_gives_another_name_is_false() -> None:
    spawner = make_spawner("ann", format_volume_name=lambda template, spawner: "/srv/team")
    assert not is_own_folder(spawner, "/srv/team", "/srv/{username}")


class Attributes(DockerSpawner):
    volumes = {"shared-ann": "/shared"}
    mounts = [{"source": "typed-ann", "target": "/typed"}]


class Properties(DockerSpawner):
    @property
    def volumes(self) -> dict[str, str]:
        return {"home-ann": "/home"}

    @property
    def read_only_volumes(self) -> dict[str, str]:
        return {}


@pytest.mark.parametrize(
    ("cls", "names", "own"), [(Attributes, {"shared-ann", "typed-ann"}, False), (Properties, set(), True)]
)
def test_configured_sources_of_a_subclass_without_traits(cls: Any, names: set[str], own: bool) -> None:
    spawner = make_spawner("ann", cls=cls)
    assert configured_sources(spawner) == names
    assert all(("dockyard.user" in spawner._labels_of(bind.template)) is own for bind in spawner._binds())


def test_configured_sources_has_the_default_of_a_subclass() -> None:
    from traitlets import Dict

    class Default(DockerSpawner):
        volumes = Dict({"shared-ann": "/shared"}, config=True)

    assert "dockyard.user" not in make_spawner("ann", cls=Default)._labels_of("shared-ann")
