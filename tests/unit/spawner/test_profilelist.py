"""Reading a list of profiles, and each mistake in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner._profiles.choice import Choice, Option, Profile, Unlisted
from dockerspawner._profiles.list import Mistakes, read, slug_of

LISTED: list[dict[str, Any]] = [
    {"display_name": "Small", "description": "For a class", "default": True},
    {
        "display_name": "Größe L (GPU)",
        "groups": ["gpu", "staff"],
        "docker_override": {"image": "large:1", "environment": {"SIZE": "l"}},
        "profile_options": {
            "memory": {
                "display_name": "Memory",
                "choices": {
                    "2g": {"display_name": "2 GB", "docker_override": {"mem_limit": "2G"}},
                    "4g": {"default": True, "docker_override": {"mem_limit": "4G"}},
                },
            },
            "image": {
                "choices": {"own": {}},
                "unlisted_choice": {
                    "enabled": True,
                    "display_name": "Another image",
                    "validation_regex": "registry/.+",
                    "validation_message": "From our registry, please.",
                    "docker_override": {"image": "{value}"},
                },
            },
        },
    },
]

PROFILES = (
    Profile("small", "Small", "For a class", default=True),
    Profile(
        "grosse-l-gpu",
        "Größe L (GPU)",
        groups=frozenset({"gpu", "staff"}),
        overrides={"image": "large:1", "environment": {"SIZE": "l"}},
        options=(
            Option(
                "memory",
                "Memory",
                (Choice("2g", "2 GB", {"mem_limit": "2G"}), Choice("4g", "4g", {"mem_limit": "4G"})),
                default="4g",
            ),
            Option(
                "image",
                "image",
                (Choice("own", "own"),),
                default="own",
                unlisted=Unlisted(
                    "Another image", "Other...", "registry/.+", "From our registry, please.", {"image": "{value}"}
                ),
            ),
        ),
    ),
)


def complaint(name: str, value: Any) -> str:
    return "" if name in ("image", "environment", "mem_limit") and value != "lots" else "is not a setting"


def test_a_list() -> None:
    assert read(LISTED, complaint) == PROFILES


def test_a_mapping_by_slug() -> None:
    by_slug = {"small": LISTED[0], "large": {**LISTED[1], "slug": "large"}}
    assert [profile.slug for profile in read(by_slug, complaint)] == ["small", "large"]


def test_nothing_is_no_mistake() -> None:
    assert read([], complaint) == read({}, complaint) == ()
    assert read([{"display_name": "A", "groups": None, "description": None}], complaint) == (Profile("a", "A"),)


def test_an_unlisted_choice_that_is_not_enabled_is_none() -> None:
    option = {"choices": {"a": {}}, "unlisted_choice": {"docker_override": {"image": "{value}"}}}
    (profile,) = read([{"display_name": "A", "profile_options": {"o": option}}], complaint)
    assert profile.options == (Option("o", "o", (Choice("a", "a"),), "a"),)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Small", "small"), ("  Deep -- Learning! ", "deep-learning"), ("Crème brûlée", "creme-brulee"), ("日本", "日本")],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def profile(**fields: Any) -> list[dict[str, Any]]:
    return [{"display_name": "A", **fields}]


def option(**fields: Any) -> list[dict[str, Any]]:
    return profile(profile_options={"o": fields})


def unlisted(**fields: Any) -> list[dict[str, Any]]:
    given = {"enabled": True, "docker_override": {"image": "{value}"}, **fields}
    return option(unlisted_choice=given)


O = "profile_list[0].profile_options.o"  # noqa: E741


@pytest.mark.parametrize(
    ("listed", "mistakes"),
    [
        ("small", ["profile_list: takes a list, a mapping by slug, or a callable, not 'small'"]),
        (["small"], ["profile_list[0]: takes a mapping, not 'small'"]),
        ([{}], ["profile_list[0].display_name: is missing"]),
        (profile(display_name=7), ["profile_list[0].display_name: takes a text, not 7"]),
        (
            profile(kubespawner_override={}),
            ["profile_list[0].kubespawner_override: is unknown: did you mean docker_override?"],
        ),
        (
            profile(zzz=1),
            [
                "profile_list[0].zzz: is unknown; known are: display_name, slug, description, default, groups, "
                "docker_override, profile_options"
            ],
        ),
        (profile(default="yes"), ["profile_list[0].default: takes true or false, not 'yes'"]),
        (
            profile(slug="a--b"),
            ["profile_list[0].slug: is 'a--b': a slug has letters, digits, '.', '_', and single '-' between them"],
        ),
        (profile(display_name="!!"), ["profile_list[0].slug: can't be made from '!!': give one"]),
        (
            {"b": {"display_name": "A", "slug": "a"}},
            ["profile_list.b.slug: is 'a', but the profile is listed as 'b'"],
        ),
        (
            profile(groups=[]),
            ["profile_list[0].groups: takes names of groups, one at least; leave it out for everybody"],
        ),
        (profile(groups="staff"), ["profile_list[0].groups: takes a list, not 'staff'"]),
        (
            [{"display_name": "A"}, {"display_name": "A", "slug": "b"}, {"display_name": "B"}],
            [
                "profile_list[2].slug: is 'b', as that of profile_list[1]: give it another",
                "profile_list[1].display_name: is 'A', as that of profile_list[0]: give it another",
            ],
        ),
        (
            [{"display_name": "A", "default": True}, {"display_name": "B", "default": True}],
            ["profile_list[1].default: there is one default, and that is profile_list[0]"],
        ),
        (profile(docker_override={"imgae": "a:1"}), ["profile_list[0].docker_override.imgae: is not a setting"]),
        (profile(docker_override={"image": "lots"}), ["profile_list[0].docker_override.image: is not a setting"]),
        (option(), [f"{O}: offers nothing: it has neither choices nor an unlisted_choice that is enabled"]),
        (
            option(choices={"a": {}}, default="b"),
            [f"{O}.default: is 'b', which is none of its choices: a"],
        ),
        (
            option(choices={"a": {"default": True}, "b": {"default": True}}),
            [f"{O}.choices: has more than one default: a, b"],
        ),
        (
            option(choices={"a": {"default": True}, "b": {}}, default="b"),
            [f"{O}.choices: has more than one default: a, b"],
        ),
        (option(choices={"a": {"docker_override": {"x": 1}}}), [f"{O}.choices.a.docker_override.x: is not a setting"]),
        (option(choices={3.11: {}}), [f"{O}.choices.3.11: its name 3.11 is no text: put it in quotes"]),
        (
            option(choices={"unlisted-choice": {}}),
            [f"{O}.choices.unlisted-choice: the name unlisted-choice has a meaning of its own: take another"],
        ),
        (
            profile(profile_options={"fresh": {"choices": {"a": {}}}}),
            ["profile_list[0].profile_options.fresh: the name fresh has a meaning of its own: take another"],
        ),
        (
            profile(profile_options={"a--unlisted-choice": {"choices": {"a": {}}}}),
            [
                "profile_list[0].profile_options.a--unlisted-choice: an option's name can't end with --unlisted-choice",
            ],
        ),
        (
            unlisted(validation_regex="(a"),
            [
                f"{O}.unlisted_choice.validation_regex: '(a' is no regular expression: "
                "missing ), unterminated subpattern at position 0"
            ],
        ),
        (
            unlisted(docker_override={}),
            [f"{O}.unlisted_choice: has no docker_override, where {{value}} stands for the user's text"],
        ),
        (
            unlisted(docker_override={"imgae": "{value}"}),
            [f"{O}.unlisted_choice.docker_override.imgae: is not a setting"],
        ),
        (
            [{"display_name": 1, "slug": "a"}, {"display_name": "B", "colour": "red", "docker_override": {"x": 1}}],
            [
                "profile_list[0].display_name: takes a text, not 1",
                "profile_list[1].colour: is unknown; known are: display_name, slug, description, default, groups, "
                "docker_override, profile_options",
                "profile_list[1].docker_override.x: is not a setting",
            ],
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(listed: Any, mistakes: list[str]) -> None:
    with pytest.raises(Mistakes) as found:
        read(listed, complaint)
    assert [str(mistake) for mistake in found.value.mistakes] == mistakes


KEYS = st.sampled_from(
    ["display_name", "slug", "default", "groups", "docker_override", "profile_options", "choices", "unlisted_choice"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING)
def test_whatever_is_in_the_list_is_read_or_told(listed: Any) -> None:
    try:
        told = len(read(listed, complaint)) == len(listed)
    except Mistakes as found:
        told = bool(found.mistakes)
    assert told
