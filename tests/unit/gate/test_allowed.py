"""What settings allow."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from dockerspawner import newvolumes, ownership
from gate import checks, models
from gate.allowed import Allowed, allowed, bind_paths, canonical

SETTINGS = {
    "compose_project_name": "kit",
    "notebook_image": "kit-singleuser:0.1.0",
    "allowed_images": ("registry.test:5000/lab/r",),
    "gpus": "",
    "home_volume": "{prefix}-home-{username}",
    "bind_paths": (),
}


def rules(profiles: Any = (), **settings: Any) -> Allowed:
    return allowed(SimpleNamespace(**{**SETTINGS, **settings}), profiles)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("r", "r:latest"),
        ("r:1", "r:1"),
        ("host:5000/r", "host:5000/r:latest"),
        ("host:5000/a/r:1", "host:5000/a/r:1"),
        ("host:5000/r:1@sha256:ab", "host:5000/r@sha256:ab"),
        ("r@sha256:ab", "r@sha256:ab"),
    ],
)
def test_an_image_by_its_full_name(given: str, expected: str) -> None:
    assert canonical(given) == expected


PROFILES = [
    {
        "display_name": "All",
        "docker_override": {"gpus": 1, "volumes": {"lab-{username}": "/lab", "/srv/data": "/data"}},
        "profile_options": {
            "image": {
                "choices": {"r": {"docker_override": {"image": "quay.io/jupyter/r-notebook:1"}}},
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "[a-z]+|evil",
                    "docker_override": {"image": "quay.io/lab/{value}:2", "mounts": [{"source": "more-{username}"}]},
                },
            }
        },
    }
]


@pytest.mark.parametrize(
    ("image", "may"),
    [
        ("kit-singleuser:0.1.0", True),
        ("kit-singleuser", False),
        ("kit-singleuserX0.1.0", False),
        ("registry.test:5000/lab/r:latest", True),
        ("registry.test:5000/lab/r", True),
        ("registry.test:5000/lab/r:2", False),
        ("quay.io/jupyter/r-notebook:1", True),
        ("quay.io/lab/py:2", True),
        ("quay.io/lab/py:3", False),
        ("quay.io/lab/a/b:2", False),
        ("evil:2", False),
        ("quay.io/lab/evil:2\n", False),
    ],
)
def test_images_of_settings_and_profiles(image: str, may: bool) -> None:
    assert rules(PROFILES).image(image) is may


@pytest.mark.parametrize(
    ("volume", "may"),
    [
        ("kit-home-ada", True),
        ("kit-shared-data", True),
        ("lab-ada", True),
        ("more-ada", True),
        ("kit_hub-data", False),
        ("lab-ada/x", False),
        ("lab-", False),
        ("others", False),
    ],
)
def test_volumes_of_settings_and_profiles(volume: str, may: bool) -> None:
    assert rules(PROFILES).volume(volume) is may


def test_gpus_where_a_setting_or_a_profile_has_them() -> None:
    assert not rules().gpus
    assert not rules(gpus="0").gpus
    assert rules(gpus="all").gpus
    assert rules(PROFILES).gpus


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/srv/data", True),
        ("/home/ada", True),
        ("/srv/data/", False),
        ("/srv", False),
        ("/srv/data/x", False),
        ("/home", False),
        ("/home/", False),
        ("/home/ada/x", False),
        ("/home/..", False),
        ("/home/.", False),
        ("//home/ada", False),
        ("/", False),
        ("srv/data", False),
        ("", False),
    ],
)
def test_paths_of_the_host(path: str, may: bool) -> None:
    assert rules(bind_paths=bind_paths(("/srv/data/", "/home/*"))).bind(path) is may


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (("srv",), "no absolute path"),
        (("/srv/../etc",), "no absolute path"),
        (("/srv/*/x",), "no absolute path"),
        (("/",), "no absolute path"),
        (("/srv", "/srv/data"), "one below the other"),
        (("/srv/data", "/srv"), "one below the other"),
        (("/srv/*", "/srv/data"), "one below the other"),
        (("/srv", "/srv/*"), "one below the other"),
    ],
)
def test_paths_that_would_lead_elsewhere(entries: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bind_paths(entries)


def test_a_drivers_options_are_those_that_settings_give() -> None:
    nfs = {"type": "nfs", "o": r"addr=10\.0\.0\.1", "device": r":/homes/[a-z0-9-]+"}
    given = Allowed("kit", (), drivers=(("local", nfs),))
    options = {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/homes/ada"}
    assert given.driver("local", options)
    assert given.driver("", {})
    assert not given.driver("local", options | {"device": ":/"})
    assert not given.driver("local", options | {"x": "y"})
    assert not given.driver("other", options)


def test_gate_and_spawner_speak_of_the_same() -> None:
    assert hashlib.sha256(newvolumes.SCRIPT.encode()).hexdigest() == models.HELPER_SCRIPT
    assert (checks.INSTANCE, checks.HELPER) == (ownership.INSTANCE, ownership.HELPER)
