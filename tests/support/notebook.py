"""The kit's images, for tests and measurements that need no kit around them."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from support.kit import Kit
from support.repo import ROOT
from support.sidebyside import locked

# A name of their own: a kit that runs on this engine keeps its images. They stay, so that they are built in no time.
PROJECT = "dockyard-tests"


@cache
def notebook_image() -> str:
    """The single-user image of this checkout."""
    with locked(PROJECT), tempfile.TemporaryDirectory() as folder:
        kit = Kit(Path(folder))
        kit.write_env(COMPOSE_PROJECT_NAME=PROJECT)
        kit.make("build")
        return kit.run("bash", "-c", ". scripts/_lib.sh && image singleuser").stdout


def kit_images() -> list[str]:
    """The images of the kit that `notebook_image` is of."""
    return [notebook_image().replace("-singleuser:", f"-{name}:") for name in ("hub", "proxy", "singleuser")]


def plain_image() -> str:
    """The same packages as they come, with neither the image's configuration nor its start."""
    built = subprocess.run(["scripts/build", "plain"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return built.stdout.strip()
