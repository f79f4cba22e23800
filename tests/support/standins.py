"""The official images that overlays name; where they can't be pulled, stand-ins of Debian's packages for the while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def official(reference: str) -> Iterator[str]:
    """Have the image `reference`, such as postgres:17-trixie, on this engine: it, or what stands for it."""
    client = docker.from_env()
    repository, _, tag = reference.partition(":")
    try:
        try:
            client.images.get(reference)
            ours = False
        except docker.errors.ImageNotFound:
            try:
                client.images.pull(repository, tag)
                ours = False
            except docker.errors.APIError:
                client.images.get(stand_in(repository)).tag(repository, tag)
                ours = True
        yield reference
        if ours:
            client.images.remove(reference)
    finally:
        client.close()


def image_of(overlay: str, service: str) -> str:
    """The image that a service of compose/compose.<overlay>.yaml names."""
    lines = (ROOT / f"compose/compose.{overlay}.yaml").read_text().split(f"\n  {service}:\n", 1)[1].splitlines()
    return next(line.split("image:")[1].strip() for line in lines if "image:" in line)
