"""The text of a variable to the value of a trait, strictly."""

from __future__ import annotations

import json
from typing import Any

from traitlets import Bool, Callable, Container, Dict, TraitError, TraitType, Union


def parse(trait: TraitType[Any, Any], text: str) -> Any:
    """The value that `text` stands for. Lists have commas between their items, dictionaries `key=value` as items, and
    either may be JSON. Raises ValueError, to be read after the variable's name, where it is not of the trait's type.
    The text, which may be a secret, is not in it.
    """
    try:
        value = _read(trait, text)
        # Items of containers are checked one by one as they are read.
        composed = isinstance(trait, Container | Dict | Union)
        return value if composed or not hasattr(trait, "validate") else trait.validate(None, value)
    except (TraitError, ValueError, TypeError, AttributeError):
        raise ValueError(f"must be {_wanted(trait)}") from None


def _read(trait: TraitType[Any, Any], text: str) -> Any:
    if isinstance(trait, Union):
        for choice in trait.trait_types:
            try:
                return parse(choice, text)
            except ValueError:
                continue
        raise ValueError
    if isinstance(trait, Bool):
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if isinstance(trait, Container | Dict):
        if text[0] in "[{":
            value = json.loads(text)
            if isinstance(trait, Dict) != isinstance(value, dict):
                raise ValueError
            return value if isinstance(trait, Dict) else trait.klass(value)  # type: ignore[misc]
        items = [item.strip() for item in text.split(",") if item.strip()]
        return trait.from_string_list(items)
    if isinstance(trait, Callable):
        raise ValueError
    return trait.from_string(text)


def _wanted(trait: TraitType[Any, Any]) -> str:
    if isinstance(trait, Union):
        wanted = [_wanted(choice) for choice in trait.trait_types if not isinstance(choice, Callable)]
        return " or ".join(wanted)
    if isinstance(trait, Bool):
        return "true or false"
    if isinstance(trait, Dict):
        return "key=value with commas between, or JSON"
    if isinstance(trait, Container):
        return "items with commas between, or JSON"
    if isinstance(trait, Callable):
        return "a function, which only a file in hub/config.d or an overlay can give"
    return str(trait.info())
