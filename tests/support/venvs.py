"""Virtual environments beside the tests' own: an older JupyterHub, and the predecessor of our spawner."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.metadata import version

from support.repo import ROOT
from support.sidebyside import locked

FOLDER = ROOT / ".artifacts" / "venvs"


def _ours(*names: str) -> list[str]:
    """Packages in the versions that the tests' own environment has."""
    return [f"{name}=={version(name)}" for name in names]


# What each has, as pip is told. `predecessor` runs on our JupyterHub, so that both are compared on the same hub;
# `jupyterhub5` has what the spawner's unit tests need, too.
REQUIREMENTS = {
    "predecessor": ["dockerspawner==14.0.0", *_ours("jupyterhub", "docker")],
    "jupyterhub5": [
        "jupyterhub==5.5.4",
        *_ours("docker", "hypothesis", "pytest", "pytest-asyncio", "pytest-docker"),
        "--editable",
        str(ROOT / "spawner"),
    ],
}


@cache
def python_of(name: str) -> str:
    """The Python of the environment `name`, a key of REQUIREMENTS; it is made where it is missing or out of date."""
    folder = FOLDER / name
    # What an editable package says of itself, its entry points above all, is copied when it is installed.
    wanted = "\n".join([*REQUIREMENTS[name], (ROOT / "spawner/pyproject.toml").read_text()])
    stamp = folder / "requirements.txt"
    with locked(f"venv-{name}"):
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, *REQUIREMENTS[name]], check=True)
            stamp.write_text(wanted)
    return str(folder / "bin/python")
