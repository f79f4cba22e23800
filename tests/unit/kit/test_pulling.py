"""Pull policies that ask a registry for an image that the kit builds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockyard.settings import pulling

ALWAYS = {"pull_policy": "always"}
R = {"docker_override": {"image": "quay.io/jupyter/r-notebook:1"}}


def said(profiles: Any = (), **settings: Any) -> list[str]:
    given = {"compose_project_name": "lab", "notebook_image": "", "allowed_images": (), "pull_policy": "ifnotpresent"}
    return list(pulling.mistakes(SimpleNamespace(**{**given, **settings}), profiles))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"notebook_image": "lab-singleuser:0.1.0"},
        {"notebook_image": "lab-singleuser"},
        {"notebook_image": "docker.io/library/lab-singleuser:0.1.0"},
        {"notebook_image": "quay.io/jupyter/r-notebook:1", "allowed_images": ("lab-singleuser:0.1.0",)},
    ],
)
def test_the_kits_own_image_is_never_pulled(settings: dict[str, Any]) -> None:
    assert said(**settings) == []
    (line,) = said(**settings, **ALWAYS)
    assert line.startswith("PULL_POLICY=always asks a registry for ")
    assert "lab-singleuser" in line


def test_an_image_of_a_registry_may_always_be_pulled() -> None:
    assert said(**ALWAYS, notebook_image="quay.io/jupyter/r-notebook:1") == []
    assert said(**ALWAYS, notebook_image="registry.test:5000/lab-singleuser:1") == []


@pytest.mark.parametrize(
    ("profile", "settings", "refused"),
    [
        ({}, ALWAYS, True),
        (R, ALWAYS, False),
        ({"docker_override": ALWAYS}, {}, True),
        ({"docker_override": {"pull_policy": "ifnotpresent"}}, ALWAYS, False),
        ({"docker_override": {"image": "lab-singleuser:0.1.0"}}, ALWAYS, True),
        ({"profile_options": {"image": {"choices": {"r": R}}}}, ALWAYS, False),
        ({"profile_options": {"image": {"choices": {"r": R, "plain": {}}}}}, ALWAYS, True),
        ({"profile_options": {"size": {"choices": {"big": {"docker_override": {"mem_limit": "4G"}}}}}}, ALWAYS, True),
        ({}, {**ALWAYS, "notebook_image": "quay.io/jupyter/r-notebook:1"}, False),
    ],
)
def test_profiles_are_judged_by_the_images_that_they_have(
    profile: dict[str, Any], settings: dict[str, Any], refused: bool
) -> None:
    for profiles in ([{"display_name": "A", **profile}], {"a": {"display_name": "A", **profile}}):
        assert [line for line in said(profiles, **settings) if "the profile 'A'" in line] == said(profiles, **settings)
        assert bool(said(profiles, **settings)) is refused
