"""The repository's own files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import docker

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository (new ones included) that match git's `patterns`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def base_image() -> str:
    """The base of the kit's images that is on this engine: the real one, or the one that stands for it."""
    standard = re.search(r"^ARG PYTHON_IMAGE=(\S+)", (ROOT / "hub/Dockerfile").read_text(), re.MULTILINE)
    stand_in = re.search(r"^readonly stand_in=(\S+)", (ROOT / "scripts/build").read_text(), re.MULTILINE)
    assert standard
    assert stand_in
    names = [standard[1], stand_in[1]]
    here = [name for name in names if docker.from_env().images.list(name)]
    assert here, f"none of {names} is on this engine: make build"
    return here[0]
