"""What a user's options mean among the profiles of a hub: which settings a server has."""

from __future__ import annotations

import heapq
import reprlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# As the value of an option: the user's own text, in the option of the same name with this suffix, counts.
UNLISTED = "unlisted-choice"
# Maximum length of a text that a user types.
LONGEST_TEXT = 1000
# Limits of user input in a message: characters of a text, and number of names.
_QUOTED, _NAMED = 80, 10
# In the overrides of an unlisted choice: the user's text.
PLACEHOLDER = "{value}"

Overrides = Mapping[str, Any]


class NotAllowed(ValueError):
    """What was chosen is not to be had; the text says so to the user."""


@dataclass(frozen=True)
class Choice:
    """One of an option's listed choices."""

    key: str
    display_name: str
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True)
class Unlisted:
    """A text of the user's own instead of a listed choice; `regex` has to match all of it, empty is any text."""

    display_name: str
    display_name_in_choices: str
    regex: str
    message: str
    overrides: Overrides


@dataclass(frozen=True)
class Option:
    """A choice within a profile; `default` is the key of a choice, empty where there is none."""

    key: str
    display_name: str
    choices: tuple[Choice, ...]
    default: str
    unlisted: Unlisted | None = None

    @property
    def text_key(self) -> str:
        """The option that has the user's own text."""
        return f"{self.key}--{UNLISTED}"


@dataclass(frozen=True)
class Profile:
    """What a server may be made of; `groups` None is for everybody."""

    slug: str
    display_name: str
    description: str = ""
    default: bool = False
    groups: frozenset[str] | None = None
    overrides: Overrides = field(default_factory=dict)
    options: tuple[Option, ...] = ()

    @property
    def decides_image(self) -> bool:
        """Does the profile, or any choice within it, say which image?"""
        within = [each.overrides for option in self.options for each in (*option.choices, option.unlisted) if each]
        return any("image" in overrides for overrides in (self.overrides, *within))


@dataclass(frozen=True)
class Chosen:
    """What a start's options come to: `options` in full, and overrides of settings, later ones over earlier ones.

    `typed` where a text of the user's own is in them.
    """

    profile: Profile
    options: Mapping[str, str]
    layers: tuple[Overrides, ...]
    typed: bool = False


# Choosing


def open_to(profiles: Iterable[Profile], groups: Collection[str]) -> tuple[Profile, ...]:
    """The profiles that a member of `groups` may have."""
    return tuple(profile for profile in profiles if profile.groups is None or profile.groups & set(groups))


def default_of(profiles: Collection[Profile]) -> Profile:
    """The default one, the first where none is."""
    return next((profile for profile in profiles if profile.default), next(iter(profiles)))


def pick(profiles: Collection[Profile], options: Mapping[str, Any]) -> Profile:
    """The profile that `options` name, the default one where they name none; NotAllowed where there is none such."""
    slug = _text(options, "profile")
    if not slug:
        return default_of(profiles)
    for profile in profiles:
        if profile.slug == slug:
            return profile
    are = ", ".join(profile.slug for profile in profiles)
    raise NotAllowed(f"There is no profile {quoted(slug)}. Available profiles: {are}.")


def texts_of(profile: Profile, options: Mapping[str, Any]) -> list[tuple[Option, str]]:
    """Return the texts that the user typed. Each must match its option's regular expression: see mismatch()."""
    found = [(option, _own_text(option, options)) for option in profile.options]
    return [(option, text) for option, text in found if text is not None]


def choose(profile: Profile, options: Mapping[str, Any], others: Collection[str] = ()) -> Chosen:
    """What `options` mean in `profile`; NotAllowed, naming the option, where they mean nothing.

    `others` are options that somebody else sees to.
    """
    own = {key for option in profile.options for key in (option.key, option.text_key)}
    if strangers := options.keys() - own - {"profile", *others}:
        has = ", ".join([*(option.key for option in profile.options), *sorted(others)]) or "none"
        raise NotAllowed(f"Profile {profile.slug} has no option {names_of(strangers)}. Available options: {has}.")
    taken, layers, typed = {"profile": profile.slug}, [profile.overrides], False
    for option in profile.options:
        text = _own_text(option, options)
        if text is None:
            choice = _listed(option, options)
            taken[option.key] = choice.key
            layers.append(choice.overrides)
        else:
            assert option.unlisted is not None
            taken[option.text_key], typed = text, True
            layers.append(fill(option.unlisted.overrides, text))
    return Chosen(profile, taken, tuple(layers), typed)


def mismatch(option: Option, text: str) -> NotAllowed:
    """Create the error for a text that does not match the regular expression of its option."""
    assert option.unlisted is not None
    why = option.unlisted.message or f"It must match {option.unlisted.regex}."
    return NotAllowed(f"The option {option.key} can't be {quoted(text)}. {why}")


def quoted(text: str) -> str:
    """Shorten a user's text for a message."""
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def names_of(names: Collection[str]) -> str:
    """List names that a user sent for a message; only the first ones if there are many."""
    first = ", ".join(quoted(str(name)) for name in heapq.nsmallest(_NAMED, names))
    return first if len(names) <= _NAMED else f"{first} and {len(names) - _NAMED} more"


def _text(options: Mapping[str, Any], key: str) -> str | None:
    value = options.get(key)
    if value is None or isinstance(value, str):
        return value
    raise NotAllowed(f"The option {key} is not a text: {reprlib.repr(value)}.")


def _listed(option: Option, options: Mapping[str, Any]) -> Choice:
    key = _text(options, option.key)
    if key is None:
        key = option.default
        if not key:
            raise NotAllowed(f"The option {option.text_key} is missing.")
    for choice in option.choices:
        if choice.key == key:
            return choice
    has = ", ".join(choice.key for choice in option.choices) or "none"
    raise NotAllowed(f"The option {option.key} has no choice {quoted(key)}. Available choices: {has}.")


def _own_text(option: Option, options: Mapping[str, Any]) -> str | None:
    """The user's own text for an option; None where a listed choice counts."""
    listed, text = _text(options, option.key), _text(options, option.text_key)
    is_listed = listed not in (None, UNLISTED)
    if not option.unlisted:
        if text is not None:
            raise NotAllowed(f"The option {option.key} takes only what is listed: there is no {option.text_key}.")
        return None
    if is_listed and text:
        both = f"as choice {quoted(str(listed))} and as text {quoted(text)}"
        raise NotAllowed(f"The option {option.key} is given twice: {both}.")
    if is_listed or (listed is None and text is None):
        return None
    if not text:
        raise NotAllowed(f"The option {option.text_key} is empty. {option.unlisted.message}".rstrip())
    if len(text) > LONGEST_TEXT:
        raise NotAllowed(f"The option {option.text_key} has {len(text)} characters; the limit is {LONGEST_TEXT}.")
    # A setting may be a template; of what it is filled with, nothing but the placeholder is known.
    if "{" in text or "}" in text:
        raise NotAllowed(f"The option {option.key} can't be {quoted(text)}: it must not contain braces.")
    return text


def fill(value: Any, text: str) -> Any:
    """`value` with `text` for each placeholder in it, in keys too."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, text)
    if isinstance(value, Mapping):
        return {fill(key, text): fill(inner, text) for key, inner in value.items()}
    return type(value)(fill(inner, text) for inner in value) if isinstance(value, list | tuple) else value


def copied(value: Any) -> Any:
    """Copy `value` with new mappings, lists and sets; their elements are the same objects."""
    kind = type(value)
    if kind is dict:
        return {key: copied(inner) for key, inner in value.items()}
    if kind in (list, tuple):
        return kind(copied(inner) for inner in value)
    return set(value) if kind is set else value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` overridden by `above`, mappings within them too; None in `above` takes an entry away."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result
