"""Filling of {placeholders} in settings."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# A user's text may become part of a template: a width such as 1000000000 would exhaust the hub's memory.
_WIDE = re.compile(r"\d{4}")
_CONVERSIONS = (None, "r", "s", "a")

# An action of a Go template, such as {{.Name}}: two braces on each side, and braces inside only in strings.
_GO_ACTION = re.compile(r'(?<!\{)\{\{(?!\{)((?:[^{}"`]|"[^"]*"|`[^`]*`)*)\}\}(?!\})')
_GO_STRING = re.compile(r'"[^"]*"|`[^`]*`')
# A field or the dot alone; a variable; a comment; a keyword that stands alone.
_IN_GO_ONLY = re.compile(
    r"(?:^-?|[\s(|,])\.(?:[A-Za-z_]|[\s)|-]|$)"
    r"|^-?\s*(?:\$[A-Za-z_]\w*(?:\s|\.|$)|/\*|(?:else|end|break|continue)\s*-?$)"
)
# {{key: value}} is an escaped object, as jq takes.
_OBJECT = re.compile(r"\s*[\w-]*\s*:(?!=)")


class TemplateError(ValueError):
    """A template can't be filled; the message is a sentence without a full stop."""


class _Formatter(string.Formatter):
    """Like str.format, but without positions, attributes of strings, private attributes and large widths."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        name, *further = re.split(r"(?=[.\[])", field_name)
        if name not in kwargs:
            raise TemplateError(_unknown(name, kwargs))
        # A subclass may add objects to the namespace; the standard values are strings.
        for step in further:
            if step.startswith("._") or (step.startswith(".") and isinstance(kwargs[name], str)):
                raise TemplateError(f"{{{field_name}}} is not a placeholder: {{{name}}} has no attributes")
        try:
            return super().get_field(field_name, args, kwargs)  # type: ignore[no-any-return]
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            raise TemplateError(f"{{{field_name}}} can't be filled: {error}") from None

    def format_field(self, value: Any, format_spec: str) -> str:
        if _WIDE.search(format_spec):
            raise TemplateError(f"the format {format_spec[:20]!r} is too wide")
        try:
            return str(super().format_field(value, format_spec))
        except (TypeError, ValueError) as error:
            raise TemplateError(f"the format {format_spec!r} can't be used: {error}") from None


_FORMATTER = _Formatter()


def fill(template: str, namespace: Mapping[str, Any]) -> str:
    """Fill the {placeholders} of `template` from `namespace`; `{{` and `}}` become single braces.

    Go template actions do not change, because the engine fills them: `{{.Name}}`, `{{ index .Labels "x" }}`, `{{end}}`.
    If filling fails, TemplateError names the known placeholders.
    """
    if not isinstance(template, str):
        raise TemplateError("it is not a string")
    filled, begin = [], 0
    for found in _GO_ACTION.finditer(template):
        if _is_go(found[1]):
            filled += [_filled(template[begin : found.start()], namespace), "{{", _filled(found[1], namespace), "}}"]
            begin = found.end()
    return "".join([*filled, _filled(template[begin:], namespace)])


def _is_go(action: str) -> bool:
    bare = _GO_STRING.sub("", action)
    return bool(_IN_GO_ONLY.search(bare)) and not _OBJECT.match(bare)


def _filled(template: str, namespace: Mapping[str, Any]) -> str:
    try:
        fields = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise TemplateError(f"{error} (write a literal brace as {{{{ or }}}})") from None
    for _, name, spec, conversion in fields:
        if "{" in (spec or ""):
            raise TemplateError(f"{{{name}}} contains a placeholder in its format")
        if conversion not in _CONVERSIONS:
            raise TemplateError(f"{{{name}!{conversion}}} has an unknown conversion")
    return _FORMATTER.vformat(template, (), namespace)


def render(value: Any, namespace: Mapping[str, Any]) -> Any:
    """Fill `{placeholders}` in every text inside `value`, keys too; a text that is no template stays."""

    def fill_if_template(text: str) -> str:
        try:
            return fill(text, namespace)
        # JSON in braces, as of a seccomp profile, is such a text.
        except TemplateError:
            return text

    return _with_texts(value, fill_if_template)


def render_strictly(value: Any, namespace: Mapping[str, Any]) -> Any:
    """Fill `{placeholders}` in every string inside `value`, including keys; TemplateError if that fails."""
    return _with_texts(value, lambda text: fill(text, namespace))


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_with_texts(key, change): _with_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_texts(inner, change) for inner in value)
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the most similar known name, empty if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    what = "" if not name or name.isdigit() else name
    meant = f"the nearest is {{{near}}}; " if (near := nearest(what, known)) else ""
    names = ", ".join(f"{{{one}}}" for one in sorted(known))
    return f"{{{name}}} is not a placeholder ({meant}known placeholders: {names})"
