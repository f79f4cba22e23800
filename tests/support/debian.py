"""Images for the tests: the kit's base image and packages of its Debian release."""

from __future__ import annotations

import io
from contextlib import closing

import docker

from support.repo import base_image
from support.sidebyside import locked


def debian_image(tag: str, *packages: str) -> str:
    """`tag`; it is built where it is missing. Other packages want another tag."""
    with locked(tag.replace("/", "-")), closing(docker.from_env()) as client:
        if not client.images.list(tag):
            install = f"apt-get update -q && apt-get install -qy --no-install-recommends {' '.join(packages)}"
            recipe = f"FROM {base_image()}\nRUN {install} && rm -rf /var/lib/apt/lists/*\n"
            client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=tag, rm=True)
    return tag
