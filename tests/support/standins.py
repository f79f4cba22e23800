"""The official images that the kit names; where they can't be pulled, stand-ins of Debian's packages."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing

import docker
import docker.errors

from support.repo import ROOT, base_image

IMAGES = ROOT / "tests/support/images"
SETTINGS = {"caddy": "EDGE_IMAGE", "postgres": "POSTGRES_IMAGE", "python": "PYTHON_IMAGE"}


def stand_in(name: str) -> str:
    """The stand-in's own tag; it is built where it is missing. Another Dockerfile wants another tag."""
    tag = f"dockyard-test/{name}:1"
    with closing(docker.from_env()) as client:
        if not client.images.list(tag):
            # Not by docker-py: BuildKit builds stages side by side.
            build = ["docker", "build", "--quiet", "--tag", tag, "--build-arg", f"BASE={base_image()}", IMAGES / name]
            subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return tag


def official(name: str) -> str:
    """What to name as the image caddy, postgres or python: the one that the kit names, or what stands for it here."""
    (reference,) = re.findall(rf"^#{SETTINGS[name]}=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    with closing(docker.from_env()) as client:
        try:
            client.images.pull(reference)
        except docker.errors.APIError:
            return stand_in(name)
    return str(reference)
