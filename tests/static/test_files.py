"""Rules for whole files: Dockerfiles, scripts, compose, lengths."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from support.repo import ROOT, tracked

DOCKERFILES = tracked("*Dockerfile")
SCRIPTS = list(tracked("scripts/*", ".ci/run", "hub/proxy/run"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_top_level() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders == {"spawner", "hub", "singleuser", "compose", "scripts", "tests"}


def test_lengths() -> None:
    limits = {"README.md": 150, "spawner/dockerspawner/*.py": 400, "hub/*.py": 400, "scripts/*": 110}
    for pattern, limit in limits.items():
        for path in tracked(pattern):
            assert len(path.read_text().splitlines()) <= limit, name(path)


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_dockerfile(path: Path) -> None:
    text = path.read_text()
    assert not text.startswith("# syntax"), "a front end would be fetched from a registry"
    assert ":latest" not in text
    assert not re.search(r"^ADD ", text, re.MULTILINE), "COPY says what it does"
    final = re.split(r"^FROM ", text, flags=re.MULTILINE)[-1]
    assert re.search(r"^USER (?!root|0)", final, re.MULTILINE), "the image must not run as root"
    assert "HEALTHCHECK" in final
    assert "org.opencontainers.image.title" in final
    for command in re.findall(r"apt-get .*?install .*", text):
        assert "--no-install-recommends" in command
    for command in re.findall(r"pip install .*requirements.*", text):
        assert "--require-hashes" in command


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_script(path: Path) -> None:
    _first, second, *rest = path.read_text().splitlines()
    executable = bool(path.stat().st_mode & 0o100)
    if path.name == "_lib.sh":
        assert not executable
        return
    assert executable
    assert second.startswith("# "), "the second line says what it does"
    assert any(line in {"set -euo pipefail", "set -eu"} for line in rest[:4])
    assert not re.search(r"\bsleep \d", path.read_text())


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed: apt-get install shellcheck")
def test_shellcheck() -> None:
    command = ["shellcheck", "--external-sources", *map(str, SCRIPTS)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_verb_has_its_script_and_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help"}
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) - {"help"}  # type: ignore[index]
    helped = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert verbs == phony == helped
    for script in re.findall(r"scripts/([\w-]+)", makefile):
        assert (ROOT / "scripts" / script).is_file()
    recipes = re.findall(r"^[a-z-]+:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert all(recipe.count("\n") <= 3 for recipe in recipes)


def test_compose_is_hardened() -> None:
    services = yaml.safe_load((ROOT / "compose/compose.yaml").read_text())["services"]
    for service in ("hub", "proxy"):
        spec = services[service]
        assert spec["read_only"] is True
        assert spec["cap_drop"] == ["ALL"]
        assert spec["security_opt"] == ["no-new-privileges"]
        assert {"mem_limit", "cpus", "pids_limit", "restart"} <= set(spec)
        assert "container_name" not in spec
        assert "user" not in spec
    assert "hub" in services["proxy"]["networks"]
    assert services["proxy"]["networks"]["hub"] == {"aliases": ["proxy-api"]}
