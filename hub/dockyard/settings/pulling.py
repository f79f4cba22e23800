"""Pull policies that ask a registry for an image that no registry has: one that the kit or the operator builds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dockyard.settings.names import canonical
from dockyard.settings.overrides import overrides

_INSTEAD = "write ifnotpresent, or name an image of a registry"
# From scripts/check: images of the engine that came from no registry, a line each.
LOCAL = "LOCAL_IMAGES"


def mistakes(settings: Any, profiles: Any) -> Iterator[str]:
    """Yield mistakes in PULL_POLICY and in pull_policy of the profiles, as the spawner takes them, on one host."""
    for asks, images in _always(settings, profiles):
        if own := next((image for image in images if _is_own(image, settings)), ""):
            yield f"{asks} a registry for {own}, which this kit builds and no registry has: {_INSTEAD}"


def hints(settings: Any, profiles: Any) -> Iterator[str]:
    """Yield images that are pulled at each start, although the engine has them from no registry.

    A registry may have such an image all the same, for example if it was loaded from a file here.
    """
    local = {_plain(name) for name in os.environ.get(LOCAL, "").split()}
    for asks, images in _always(settings, profiles):
        for image in dict.fromkeys(images):
            if _plain(image) in local and not _is_own(image, settings):
                yield (
                    f"{asks} a registry for {image} at each start, and this engine has that image from no registry. "
                    f"If no registry has it, all its starts fail: {_INSTEAD}"
                )


def _plain(image: str) -> str:
    """Return one spelling for all spellings of an image's name."""
    return re.sub(r"^((index\.)?docker\.io/)?(library/)?", "", canonical(image))


def _is_own(image: str, settings: Any) -> bool:
    return _plain(image).startswith(f"{settings.compose_project_name}-singleuser:")


def _always(settings: Any, profiles: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield what asks a registry at each start, and for which images."""
    notebook = settings.notebook_image or f"{settings.compose_project_name}-singleuser"
    if settings.pull_policy == "always":
        yield "PULL_POLICY=always asks", [*settings.allowed_images, *([] if profiles else [notebook])]
    for profile in profiles.values() if isinstance(profiles, Mapping) else profiles:
        general = profile.get("docker_override") or {}
        special = [override for override, _ in overrides(profile.get("profile_options"))]
        policies = {one.get("pull_policy") for one in special} | {general.get("pull_policy", settings.pull_policy)}
        images = [one["image"] for one in special if isinstance(one.get("image"), str)]
        if not _chooses_the_image(profile):
            images.append(general.get("image") or notebook)
        if "always" in policies:
            yield (
                f"PULL_POLICY, or pull_policy in the profile {profile.get('display_name')!r}, is always and asks",
                images,
            )


def _chooses_the_image(profile: Any) -> bool:
    """Whether a profile has an option whose choices all name an image."""
    options = (profile.get("profile_options") or {}).values()
    choices = [list((option.get("choices") or {}).values()) for option in options]
    return any(found and all("image" in (choice.get("docker_override") or {}) for choice in found) for found in choices)
