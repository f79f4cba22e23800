"""The form: what is in it, that it shows every text as it is, and what it gives."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner._profiles import form as profile_form
from dockerspawner._profiles.choice import Choice, Option, Profile, Unlisted

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"

# Longer than any text that is made up.
ANOTHER = "another" * 3


def profiles(text: str) -> list[Profile]:
    unlisted = Unlisted(text, text, text, text, {"image": text})
    own = Option(text, text, (), "", Unlisted(text, text, text, text, {"image": text}))
    listed = Option(f"{text}2", text, (Choice(text, text), Choice(ANOTHER, "b")), ANOTHER, unlisted)
    return [Profile(text, text, text, options=(listed, own)), Profile(ANOTHER, "Other", options=(own,))]


class Tags(HTMLParser):
    """A document's tags, with the names of their attributes, and all of its texts and values."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(name for name, _ in attrs)))
        self.texts += [value for _, value in attrs if value]

    def handle_endtag(self, tag: str) -> None:
        self.shape.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# What HTML itself changes in a text, line ends and characters that it does not have, is left out.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(str.strip)


@given(TEXTS | st.just(HOSTILE), TEXTS)
def test_any_text_is_shown_as_it_is_and_makes_no_element(text: str, last: str) -> None:
    options = {"profile": text, f"{text}--unlisted-choice": last}
    shown = Tags(profile_form.form(profiles(text), options))
    harmless = Tags(profile_form.form(profiles("a"), {"profile": "a", "a--unlisted-choice": "b"}))
    assert shown.shape == harmless.shape
    assert {text, last} <= set(shown.texts)


def chosen_in(form: str) -> set[str]:
    """Values that are checked, selected or filled in."""

    class Values(HTMLParser):
        found: set[str] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            if {"checked", "selected"} & given.keys() or (given.get("type") == "text" and given["value"]):
                self.found.add(given["value"] or "")

    values = Values()
    values.found = set()
    values.feed(form)
    return values.found


SMALL = Profile("small", "Small")
SIZES = Option(
    "size", "Size", (Choice("m", "M"), Choice("l", "L")), "l", Unlisted("Other", "Other...", "x+", "Only x.", {})
)
LARGE = Profile("large", "Large", default=True, options=(SIZES,))


@pytest.mark.parametrize(
    ("last", "chosen"),
    [
        ({}, {"large", "l"}),
        ({"profile": "gone", "size": "m"}, {"large", "l"}),
        ({"profile": "large", "size": "gone"}, {"large", "l"}),
        ({"profile": "large", "size": ["m"]}, {"large", "l"}),
        ({"profile": "large", "size": "m"}, {"large", "m"}),
        ({"profile": "large", "size--unlisted-choice": "xx"}, {"large", "unlisted-choice", "xx"}),
        ({"profile": "large", "size--unlisted-choice": ""}, {"large", "unlisted-choice"}),
        ({"profile": "small"}, {"small", "l"}),
    ],
)
def test_the_last_choice_is_remembered(last: dict[str, Any], chosen: set[str]) -> None:
    assert chosen_in(profile_form.form([SMALL, LARGE], last)) == chosen


def test_one_option_in_full() -> None:
    assert profile_form._option("p", "f--", SIZES, {"size": "m"}) == (
        '<div class="mb-2" data-option><label class="form-label mb-1" for="p">Size</label>'
        '<select class="form-select" id="p" name="f--size"><option value="m" selected>M</option>'
        '<option value="l">L</option><option value="unlisted-choice">Other...</option></select>'
        '<fieldset class="mt-2" data-text><label class="form-label mb-1" for="p-text">Other</label>'
        '<input type="text" class="form-control" id="p-text" name="f--size--unlisted-choice" value="" maxlength="1000" '
        'pattern="x+" title="Only x."><div class="form-text">Only x.</div></fieldset></div>'
    )


LARGE_FIELDS = {"profile": ["large"], "profile-option-large--size": ["m"], "profile-option-other--size": ["z"]}


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"profile": ["large"], "size": ["m"]}, {"profile": "large", "size": "m"}),
        (LARGE_FIELDS, {"profile": "large", "size": "m"}),
        # As a browser without scripts sends it: all that is there.
        ({**LARGE_FIELDS, "profile-option-large--size--unlisted-choice": ["x"]}, {"profile": "large", "size": "m"}),
        (
            {
                **LARGE_FIELDS,
                "profile-option-large--size": ["unlisted-choice"],
                "profile-option-large--size--unlisted-choice": [" x "],
            },
            {"profile": "large", "size--unlisted-choice": "x"},
        ),
        (
            {"profile": ["large"], "profile-option-large--name--unlisted-choice": ["x"]},
            {"profile": "large", "name--unlisted-choice": "x"},
        ),
        ({"_xsrf": ["secret"], "image": ["a", "b"], "fresh": ["1"]}, {"image": "a", "fresh": True}),
        ({"fresh": ["0"]}, {}),
        ({"profile": []}, {}),
    ],
)
def test_what_the_form_gives(fields: dict[str, list[str]], options: dict[str, Any]) -> None:
    assert profile_form.options_of(fields) == options
