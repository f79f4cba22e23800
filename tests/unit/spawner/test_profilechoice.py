"""What a user's options mean in a profile."""

from __future__ import annotations

import reprlib
from typing import Any

import pytest

from dockerspawner._profiles.choice import (
    Choice,
    Chosen,
    NotAllowed,
    Option,
    Profile,
    Unlisted,
    choose,
    default_of,
    fill,
    merged,
    mismatch,
    open_to,
    pick,
    texts_of,
)

MEMORY = Option("memory", "Memory", (Choice("2g", "2 GB", {"mem_limit": "2G"}), Choice("4g", "4 GB")), "4g")
IMAGE = Option(
    "image",
    "Image",
    (Choice("own", "Own", {"image": "own:1"}),),
    "own",
    Unlisted("Other", "Other...", r"reg/\w+", "From our registry, please.", {"image": "{value}", "cmd": None}),
)
NAME = Option("name", "Name", (), "", Unlisted("Name", "", "", "", {"environment": {"NAME": "{value}"}}))
SMALL = Profile("small", "Small")
LARGE = Profile("large", "Large", default=True, overrides={"cpu_limit": 4}, options=(MEMORY, IMAGE))
STAFF = Profile("staff", "Staff", groups=frozenset({"staff", "admins"}), options=(NAME,))
PROFILES = (SMALL, LARGE, STAFF)


def test_who_sees_which() -> None:
    assert open_to(PROFILES, {"students"}) == (SMALL, LARGE)
    assert open_to(PROFILES, {"students", "staff"}) == PROFILES


def test_the_default_is_the_one_that_says_so_or_the_first() -> None:
    assert default_of(PROFILES) is LARGE
    assert default_of((STAFF, SMALL)) is STAFF


@pytest.mark.parametrize(
    ("options", "profile"),
    [({}, LARGE), ({"profile": ""}, LARGE), ({"profile": None}, LARGE), ({"profile": "small"}, SMALL)],
)
def test_picking(options: dict[str, Any], profile: Profile) -> None:
    assert pick(PROFILES, options) is profile


@pytest.mark.parametrize(
    ("slug", "why"),
    [
        ("huge", "There is no profile huge. Available profiles: small, large."),
        ("staff", "There is no profile staff. Available profiles: small, large."),
        (["small"], "The option profile is not a text: ['small']."),
    ],
)
def test_a_profile_that_is_not_to_be_had(slug: Any, why: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        pick(open_to(PROFILES, ()), {"profile": slug})
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("profile", "options", "chosen"),
    [
        (SMALL, {}, Chosen(SMALL, {"profile": "small"}, ({},))),
        (SMALL, {"fresh": True}, Chosen(SMALL, {"profile": "small"}, ({},))),
        (
            LARGE,
            {},
            Chosen(
                LARGE, {"profile": "large", "memory": "4g", "image": "own"}, ({"cpu_limit": 4}, {}, {"image": "own:1"})
            ),
        ),
        (
            LARGE,
            {"profile": "large", "memory": "2g", "image": "own", "image--unlisted-choice": ""},
            Chosen(
                LARGE,
                {"profile": "large", "memory": "2g", "image": "own"},
                ({"cpu_limit": 4}, {"mem_limit": "2G"}, {"image": "own:1"}),
            ),
        ),
        *(
            (
                LARGE,
                {**given, "image--unlisted-choice": "reg/mine"},
                Chosen(
                    LARGE,
                    {"profile": "large", "memory": "4g", "image--unlisted-choice": "reg/mine"},
                    ({"cpu_limit": 4}, {}, {"image": "reg/mine", "cmd": None}),
                    typed=True,
                ),
            )
            for given in ({}, {"image": "unlisted-choice"})
        ),
        (
            STAFF,
            {"name--unlisted-choice": "Ann"},
            Chosen(
                STAFF,
                {"profile": "staff", "name--unlisted-choice": "Ann"},
                ({}, {"environment": {"NAME": "Ann"}}),
                typed=True,
            ),
        ),
    ],
)
def test_choosing(profile: Profile, options: dict[str, Any], chosen: Chosen) -> None:
    assert choose(profile, options, {"fresh"}) == chosen


@pytest.mark.parametrize(
    ("profile", "options", "why"),
    [
        (SMALL, {"colour": "red", "a": 1}, "Profile small has no option a, colour. Available options: fresh."),
        (SMALL, {"memory": "2g"}, "Profile small has no option memory. Available options: fresh."),
        (LARGE, {"memory": "8g"}, "The option memory has no choice 8g. Available choices: 2g, 4g."),
        (LARGE, {"memory": 8}, "The option memory is not a text: 8."),
        (
            LARGE,
            {"memory": "unlisted-choice"},
            "The option memory has no choice unlisted-choice. Available choices: 2g, 4g.",
        ),
        (
            LARGE,
            {"memory--unlisted-choice": "3g"},
            "The option memory takes only what is listed: there is no memory--unlisted-choice.",
        ),
        (
            LARGE,
            {"image": "own", "image--unlisted-choice": "reg/a"},
            "The option image is given twice: as choice own and as text reg/a.",
        ),
        (LARGE, {"image": "unlisted-choice"}, "The option image--unlisted-choice is empty. From our registry, please."),
        (
            LARGE,
            {"image--unlisted-choice": ""},
            "The option image--unlisted-choice is empty. From our registry, please.",
        ),
        (LARGE, {"image--unlisted-choice": ["reg/a"]}, "The option image--unlisted-choice is not a text: ['reg/a']."),
        (STAFF, {}, "The option name--unlisted-choice is missing."),
        (STAFF, {"name": "Ann"}, "The option name has no choice Ann. Available choices: none."),
        (
            STAFF,
            {"name--unlisted-choice": "{prefix}"},
            "The option name can't be {prefix}: it must not contain braces.",
        ),
    ],
)
def test_what_is_refused(profile: Profile, options: dict[str, Any], why: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        choose(profile, options, {"fresh"})
    assert str(refused.value) == why


def test_mismatch_says_what_the_text_has_to_be() -> None:
    assert str(mismatch(IMAGE, "evil/a")) == "The option image can't be evil/a. From our registry, please."
    plain = Unlisted("Other", "Other...", "[a-z]+", "", {})
    tag = Option("tag", "Tag", (), "", plain)
    assert str(mismatch(tag, "1")) == "The option tag can't be 1. It must match [a-z]+."


LONG = "x" * 1_000_000


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else LONG


@pytest.mark.parametrize(
    "options",
    [
        {"profile": LONG},
        {"profile": {LONG: LONG}},
        {"profile": nested(200)},
        {LONG: "1"},
        {f"option-{number}": "1" for number in range(100_000)},
        {"memory": LONG},
        {"memory": [LONG] * 1_000},
        {"memory--unlisted-choice": LONG},
        {"image": LONG, "image--unlisted-choice": LONG},
        {"image--unlisted-choice": LONG},
        {"image--unlisted-choice": "{" + "x" * 999},
        {"image--unlisted-choice": 10**4_000},
    ],
    ids=lambda options: reprlib.repr(options)[:40],
)
def test_choose_whatever_is_sent_the_refusal_is_short(options: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed) as refused:
        choose(pick(PROFILES, options), options)
    assert len(str(refused.value)) < 1_200


def test_choose_a_text_may_have_1000_characters() -> None:
    text = "x" * 1_000
    assert texts_of(STAFF, {"name--unlisted-choice": text}) == [(NAME, text)]
    with pytest.raises(NotAllowed, match=r"name--unlisted-choice has 1001 characters; the limit is 1000"):
        choose(STAFF, {"name--unlisted-choice": text + "x"})


def test_which_profiles_decide_about_the_image() -> None:
    assert [profile.decides_image for profile in PROFILES] == [False, True, False]
    assert Profile("a", "A", overrides={"image": "a:1"}).decides_image


def test_the_users_text_goes_where_the_placeholder_is() -> None:
    template = {"{value}-x": ["{value}", ("{value}{value}", 7)], "other": "{username} {value}"}
    assert fill(template, "t") == {"t-x": ["t", ("tt", 7)], "other": "{username} t"}


def test_mappings_are_merged_and_none_takes_away() -> None:
    below = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
    above = {"b": {"c": None, "f": {"g": None, "h": 5}}, "e": None, "i": [6]}
    assert merged(below, above) == {"a": 1, "b": {"d": 3, "f": {"h": 5}}, "i": [6]}
    assert below == {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
