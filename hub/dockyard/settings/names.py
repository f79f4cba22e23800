"""Names of images and volumes: how they are written, and what a template for them can become."""

from __future__ import annotations

import re

# What an escaped name of a user, of a server or of whatever else a template has in braces may consist of.
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
FILLED = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
# No name of an image or a volume is longer, and what is takes a pattern of two placeholders hours.
_LONGEST = 512


def canonical(image: str) -> str:
    """An image reference as repository:tag or repository@digest, whichever of its parts were written."""
    repository, at, digest = image.partition("@")
    folder, slash, last = repository.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}@{digest}" if at else f"{folder}{slash}{name}:{tag or 'latest'}"


def filled(template: str, **values: str) -> str:
    """A pattern of the texts that a template can become; each of `values` is a pattern of one placeholder's."""
    parts = re.split(r"(\{[^{}]*\})", template)
    # The unnamed server's name is empty.
    patterns = {f"{{{name}}}": pattern for name, pattern in {"servername": f"(?:{FILLED})?", **values}.items()}
    return "".join(patterns.get(part, FILLED) if _PLACEHOLDER.fullmatch(part) else re.escape(part) for part in parts)


def begins_with_a_name(template: str) -> bool:
    """Whether a volume's name begins with the kit's name or the operator's own text, and a separator.

    A name that begins with a user's text could be the name of any volume of the engine. So could `x{username}`.
    """
    before, braces, _ = re.sub(r"\{prefix\}", "kit", template).partition("{")
    return not braces or re.fullmatch(r"[A-Za-z0-9].*[-_.]", before) is not None


def matched(pattern: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, text, re.ASCII) if len(text) <= _LONGEST else None
