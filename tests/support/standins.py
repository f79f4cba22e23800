"""The official images that overlays name; where they can't be pulled, stand-ins of Debian's packages."""

from __future__ import annotations

import re
from contextlib import closing

import docker
import docker.errors

from support.repo import ROOT, base_image

IMAGES = ROOT / "tests/support/images"


def stand_in(name: str) -> str:
    """The stand-in's own tag; it is built where it is missing. Another Dockerfile wants another tag."""
    client = docker.from_env()
    tag = f"dockyard-test/{name}:1"
    try:
        if not client.images.list(tag):
            client.images.build(path=str(IMAGES / name), tag=tag, rm=True, buildargs={"BASE": base_image()})
    finally:
        client.close()
    return tag


def official(name: str) -> str:
    """What to name as the image of an overlay, caddy or postgres: the one that it names, or what stands for it here."""
    setting = {"caddy": "EDGE_IMAGE", "postgres": "POSTGRES_IMAGE"}[name]
    (reference,) = re.findall(rf"^#{setting}=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    with closing(docker.from_env()) as client:
        try:
            client.images.pull(reference)
        except docker.errors.APIError:
            return stand_in(name)
    return str(reference)
