"""Pull policies that ask a registry for an image that the kit builds, which no registry has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dockyard.gate.policy.allowed import canonical, overrides

_INSTEAD = "write ifnotpresent, or name an image of a registry"


def mistakes(settings: Any, profiles: Any) -> Iterator[str]:
    """Yield mistakes in PULL_POLICY and in pull_policy of the profiles, as the spawner takes them, on one host."""

    def is_own(image: str) -> bool:
        name = re.sub(r"^(docker\.io/)?(library/)?", "", canonical(image))
        return name.startswith(f"{settings.compose_project_name}-singleuser:")

    notebook = settings.notebook_image or f"{settings.compose_project_name}-singleuser"
    images = [*settings.allowed_images, *([] if profiles else [notebook])]
    if settings.pull_policy == "always" and (own := next(filter(is_own, images), "")):
        yield f"PULL_POLICY=always asks a registry for {own}, which this kit builds and no registry has: {_INSTEAD}"
    for profile in profiles.values() if isinstance(profiles, Mapping) else profiles:
        general = profile.get("docker_override") or {}
        special = [override for override, _ in overrides(profile.get("profile_options"))]
        policies = {one.get("pull_policy") for one in special} | {general.get("pull_policy", settings.pull_policy)}
        images = [one["image"] for one in special if isinstance(one.get("image"), str)]
        if not _chooses_the_image(profile):
            images.append(general.get("image") or notebook)
        if "always" in policies and (own := next(filter(is_own, images), "")):
            yield (
                f"PULL_POLICY, or pull_policy in the profile {profile.get('display_name')!r}, is always and asks a "
                f"registry for {own}, which this kit builds and no registry has: {_INSTEAD}"
            )


def _chooses_the_image(profile: Any) -> bool:
    """Whether a profile has an option whose choices all name an image."""
    options = (profile.get("profile_options") or {}).values()
    choices = [list((option.get("choices") or {}).values()) for option in options]
    return any(found and all("image" in (choice.get("docker_override") or {}) for choice in found) for found in choices)
