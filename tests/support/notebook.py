"""The kit's notebook image, for tests and measurements that need no kit around it."""

from __future__ import annotations

import re
import subprocess

import docker

from support.repo import ROOT


def notebook_image() -> str:
    """The single-user image of the kit's version, whatever the project's name."""
    version = re.search(r"-singleuser:([\w.]+)", (ROOT / "compose/compose.yaml").read_text())
    assert version
    for _ in range(2):
        tags = [tag for image in docker.from_env().images.list() for tag in image.tags]
        built = [tag for tag in tags if re.fullmatch(rf"dockyard.*-singleuser:{re.escape(version[1])}", tag)]
        if built:
            return min(built, key=len)
        subprocess.run(["make", "build"], cwd=ROOT, check=True)
    raise AssertionError("make build has made no single-user image")


def kit_images() -> list[str]:
    """The images of the kit that `notebook_image` is of."""
    return [notebook_image().replace("-singleuser:", f"-{name}:") for name in ("hub", "proxy", "singleuser")]


def plain_image() -> str:
    """The same packages as they come, with neither the image's configuration nor its start."""
    built = subprocess.run(["scripts/build", "plain"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return built.stdout.strip()
