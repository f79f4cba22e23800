"""Ways to fill the templates of volumes' names."""

from __future__ import annotations

from typing import Any

from dockerspawner._settings.templates import fill


def default_format_volume_name(template: str, spawner: Any) -> str:
    """Fill the placeholders of `template` from the spawner's template_namespace()."""
    return fill(template, spawner.template_namespace())


def escaped_format_volume_name(template: str, spawner: Any) -> str:
    """The same, with {username} escaped whatever the namespace says."""
    return fill(template, {**spawner.template_namespace(), "username": spawner.escaped_name})


# What fills placeholders and does nothing else.
STANDARD = (default_format_volume_name, escaped_format_volume_name)
