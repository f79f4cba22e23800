"""What profiles set for their servers, by itself, choice by choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def overrides(profiles: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every docker_override in the profiles, with what the text that a user writes there has to match."""
    if isinstance(profiles, Mapping):
        if isinstance(override := profiles.get("docker_override"), Mapping):
            yield override, profiles.get("validation_regex") or ".*"
        for value in profiles.values():
            yield from overrides(value)
    elif isinstance(profiles, list):
        for value in profiles:
            yield from overrides(value)
