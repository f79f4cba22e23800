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


LOCAL = "our/notebook:2 <none>:<none> lab-singleuser:0.1.0 python:3.13"


def hinted(monkeypatch: pytest.MonkeyPatch, profiles: Any = (), **settings: Any) -> list[str]:
    given = {"compose_project_name": "lab", "notebook_image": "", "allowed_images": (), **ALWAYS, **settings}
    monkeypatch.setenv("LOCAL_IMAGES", LOCAL)
    return list(pulling.hints(SimpleNamespace(**given), profiles))


@pytest.mark.parametrize("image", ["our/notebook:2", "docker.io/our/notebook:2", "docker.io/library/python:3.13"])
def test_pulling_an_image_of_this_engine_alone_is_reported(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    start = f"PULL_POLICY=always asks a registry for {image} at each start, and this engine has that image from no"
    (line,) = hinted(monkeypatch, notebook_image=image)
    assert line.startswith(start)
    (line,) = hinted(monkeypatch, notebook_image="quay.io/a:1", allowed_images=(image,))
    assert line.startswith(start)
    assert hinted(monkeypatch, notebook_image=image, pull_policy="ifnotpresent") == []


@pytest.mark.parametrize(
    ("image", "policy", "lines"),
    [("our/notebook:2", "always", 1), ("our/notebook:2", "never", 0), ("our/notebook:3", "always", 0)],
)
def test_pulling_is_reported_for_profiles(monkeypatch: pytest.MonkeyPatch, image: str, policy: str, lines: int) -> None:
    profile = {"display_name": "A", "docker_override": {"image": image, "pull_policy": policy}}
    found = hinted(monkeypatch, [profile], pull_policy="ifnotpresent")
    assert ["the profile 'A'" in line for line in found] == [True] * lines


@pytest.mark.parametrize(
    "image", ["", "our/notebook:1", "our/notebook", "our/notebook@sha256:12", "quay.io/our/notebook:2"]
)
def test_pulling_other_images_is_not_reported(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    """The kit's own is refused."""
    assert hinted(monkeypatch, notebook_image=image) == []
