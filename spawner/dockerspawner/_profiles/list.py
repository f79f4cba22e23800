"""Reading the list of profiles, and finding all that is wrong with it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dockerspawner._profiles.choice import PLACEHOLDER, UNLISTED, Choice, Option, Overrides, Profile, Unlisted, fill

# Of a setting and its value, what is wrong with them, empty where nothing is; None stands for any value.
Complaint = Callable[[str, Any], str]

# Options that mean something without any profile.
_RESERVED = ("profile", "fresh")
# Without a double hyphen, and with none at the end: the names of form fields are made with one.
_SLUG = re.compile(r"[\w.]+(-[\w.]+)*")
_KINDS: Mapping[Any, str] = {str: "a text", bool: "true or false", Mapping: "a mapping", Collection: "a list"}
PROFILE_KEYS = {
    "display_name": str,
    "slug": str,
    "description": str,
    "default": bool,
    "groups": Collection,
    "docker_override": Mapping,
    "profile_options": Mapping,
}
OPTION_KEYS = {"display_name": str, "default": str, "choices": Mapping, "unlisted_choice": Mapping}
CHOICE_KEYS = {"display_name": str, "default": bool, "docker_override": Mapping}
UNLISTED_KEYS = {
    "enabled": bool,
    "display_name": str,
    "display_name_in_choices": str,
    "validation_regex": str,
    "validation_message": str,
    "docker_override": Mapping,
}


@dataclass(frozen=True)
class Mistake:
    """Something wrong in the list, and where: `profile_list[2].profile_options.image.choices`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Mistakes(ValueError):
    """All that is wrong with a list of profiles."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def slug_of(name: str) -> str:
    """A profile's slug, made from its display name: "Größe L (GPU)" gives "grosse-l-gpu"."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]+", "-", "".join(char for char in plain if not unicodedata.combining(char))).strip("-")


def read(listed: Any, complaint: Complaint, root: str = "profile_list") -> tuple[Profile, ...]:
    """The profiles of a list, or of a mapping by slug. Mistakes, all of them, where there are some.

    `complaint` judges the settings that are overridden; `root` is how the paths of mistakes begin.
    """
    reader = _Reader(complaint)
    if isinstance(listed, Mapping):
        entries = {f"{root}.{slug}": reader.profile(f"{root}.{slug}", entry, slug) for slug, entry in listed.items()}
    elif isinstance(listed, list | tuple):
        entries = {f"{root}[{n}]": reader.profile(f"{root}[{n}]", entry) for n, entry in enumerate(listed)}
    else:
        raise Mistakes([Mistake(root, f"takes a list, a mapping by slug, or a callable, not {listed!r}")])
    reader.compare(entries)
    if reader.mistakes:
        raise Mistakes(reader.mistakes)
    return tuple(entries.values())


class _Reader:
    """Reads what it can, and notes what is wrong."""

    def __init__(self, complaint: Complaint) -> None:
        self.mistakes: list[Mistake] = []
        self._complaint = complaint

    def wrong(self, path: str, message: str) -> None:
        self.mistakes.append(Mistake(path, message))

    def fields(self, path: str, entry: Any, known: Mapping[str, Any]) -> dict[str, Any]:
        """The known fields of `entry` that are of their kind; None is as good as absent."""
        if not isinstance(entry, Mapping):
            self.wrong(path, f"takes a mapping, not {entry!r}")
            return {}
        found = {}
        for key, value in entry.items():
            if key not in known:
                self.wrong(f"{path}.{key}", f"is unknown{suggestion(key, known) or '; known are: ' + ', '.join(known)}")
            elif value is not None and not _is(value, known[key]):
                self.wrong(f"{path}.{key}", f"takes {_KINDS[known[key]]}, not {value!r}")
            elif value is not None:
                found[key] = value
        return found

    def profile(self, path: str, entry: Any, slug: Any = None) -> Profile:
        given = self.fields(path, entry, PROFILE_KEYS)
        name = given.get("display_name", "")
        if not name.strip() and isinstance(entry, Mapping) and not self._noted(f"{path}.display_name"):
            self.wrong(f"{path}.display_name", "is missing")
        if slug is not None and given.setdefault("slug", slug) != slug:
            self.wrong(f"{path}.slug", f"is {given['slug']!r}, but the profile is listed as {slug!r}")
        slug = given.get("slug", slug_of(name))
        if name and not (isinstance(slug, str) and _SLUG.fullmatch(slug)):
            rule = "a slug has letters, digits, '.', '_', and single '-' between them"
            self.wrong(f"{path}.slug", f"is {slug!r}: {rule}" if slug else f"can't be made from {name!r}: give one")
        groups = given.get("groups")
        if groups is not None and not (groups and all(isinstance(group, str) for group in groups)):
            self.wrong(f"{path}.groups", "takes names of groups, one at least; leave it out for everybody")
            groups = ()
        return Profile(
            slug=str(slug),
            display_name=name,
            description=given.get("description", ""),
            default=given.get("default", False),
            groups=None if groups is None else frozenset(groups),
            overrides=self.overrides(path, given),
            options=tuple(
                self.option(f"{path}.profile_options.{key}", key, option)
                for key, option in given.get("profile_options", {}).items()
            ),
        )

    def option(self, path: str, key: Any, entry: Any) -> Option:
        key = self.key(path, key, _RESERVED)
        if key.endswith(f"--{UNLISTED}"):
            self.wrong(path, f"an option's name can't end with --{UNLISTED}")
        given = self.fields(path, entry, OPTION_KEYS)
        unlisted = self.unlisted(f"{path}.unlisted_choice", given)
        listed = given.get("choices", {})
        choices = {}
        flagged = []
        for name, value in listed.items():
            place = f"{path}.choices.{name}"
            found = self.fields(place, value, CHOICE_KEYS)
            name = self.key(place, name, (UNLISTED,))
            choices[name] = Choice(name, found.get("display_name", name), self.overrides(place, found))
            flagged += [name] if found.get("default") else []
        if not (choices or unlisted or self._noted(path)):
            self.wrong(path, "offers nothing: it has neither choices nor an unlisted_choice that is enabled")
        default = given.get("default") or next(iter(flagged), next(iter(choices), ""))
        if default and default not in choices:
            self.wrong(f"{path}.default", f"is {default!r}, which is none of its choices: {', '.join(choices)}")
        elif set(flagged) - {default}:
            self.wrong(f"{path}.choices", f"has more than one default: {', '.join(sorted({default, *flagged}))}")
        return Option(key, given.get("display_name", key), tuple(choices.values()), default, unlisted)

    def unlisted(self, path: str, option: Mapping[str, Any]) -> Unlisted | None:
        given = self.fields(path, option.get("unlisted_choice", {}), UNLISTED_KEYS)
        regex = given.get("validation_regex", "")
        try:
            re.compile(regex)
        except re.error as error:
            self.wrong(f"{path}.validation_regex", f"{regex!r} is no regular expression: {error}")
        overrides = self.overrides(path, given)
        if not given.get("enabled"):
            return None
        if not overrides and not self._noted(path):
            self.wrong(path, f"has no docker_override, where {PLACEHOLDER} stands for the user's text")
        return Unlisted(
            display_name=given.get("display_name", "Other"),
            display_name_in_choices=given.get("display_name_in_choices", "Other..."),
            regex=regex,
            message=given.get("validation_message", ""),
            overrides=overrides,
        )

    def overrides(self, path: str, given: Mapping[str, Any]) -> Overrides:
        overrides: Overrides = given.get("docker_override", {})
        for name, value in overrides.items():
            has_placeholder = fill(value, "") != value
            if message := self._complaint(name, None if has_placeholder else value):
                self.wrong(f"{path}.docker_override.{name}", message)
        return overrides

    def key(self, path: str, key: Any, reserved: Collection[str]) -> str:
        if not isinstance(key, str) or not key:
            self.wrong(path, f"its name {key!r} is no text: put it in quotes")
        elif key in reserved:
            self.wrong(path, f"the name {key} has a meaning of its own: take another")
        return str(key)

    def compare(self, entries: Mapping[str, Profile]) -> None:
        for what in ("slug", "display_name"):
            seen: dict[str, str] = {}
            for path, profile in entries.items():
                value = getattr(profile, what)
                if value and (first := seen.setdefault(value, path)) != path:
                    self.wrong(f"{path}.{what}", f"is {value!r}, as that of {first}: give it another")
        defaults = [path for path, profile in entries.items() if profile.default]
        for path in defaults[1:]:
            self.wrong(f"{path}.default", f"there is one default, and that is {defaults[0]}")

    def _noted(self, path: str) -> bool:
        """Is something wrong there already, or within?"""
        return any(f"{mistake.path}.".startswith(f"{path}.") for mistake in self.mistakes)


def suggestion(name: Any, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence; empty where nothing is like it."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _is(value: Any, kind: Any) -> bool:
    if kind is Collection:
        return isinstance(value, list | tuple | set | frozenset)
    return isinstance(value, kind)
