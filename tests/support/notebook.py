"""The kit's notebook image, for tests and measurements that need no kit around it."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing

import docker

from support.repo import ROOT
from support.sidebyside import locked


def notebook_image() -> str:
    """The single-user image of the kit's version, whatever the project's name."""
    version = re.search(r"-singleuser:([\w.]+)", (ROOT / "compose/compose.yaml").read_text())
    assert version
    # Not those of a kit of a test, which go with it.
    name = re.compile(rf"(?!dockyard-test-)dockyard.*-singleuser:{re.escape(version[1])}")
    with locked("kit"), closing(docker.from_env()) as client:
        for _ in range(2):
            tags = [tag for image in client.api.images() for tag in image["RepoTags"] or ()]
            if built := [tag for tag in tags if name.fullmatch(tag)]:
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
