"""The repository's own files."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository (new ones included) that match git's `patterns`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@cache
def base_image() -> str:
    """The base of the kit's images, the real one or the one that stands for it; pulled or built where it is missing."""
    build = subprocess.run([ROOT / "scripts/build", "base"], check=True, stdout=subprocess.PIPE, text=True)
    return build.stdout.split()[-1]
