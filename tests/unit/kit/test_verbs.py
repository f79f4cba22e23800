"""Every verb first looks whether it can read .env: without it, a verb would act on the kit with the default name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.repo import ROOT, tracked

DEVELOP = {"test", "test-unit", "test-long", "bench", "lint", "settings", "lock", "audit", "engine", "help"}
MAKEFILE = (ROOT / "Makefile").read_text()
VERBS = sorted(set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) - DEVELOP)
SCRIPTS = sorted({re.findall(rf"^{verb}:.*\n\t@.*scripts/([\w-]+)$", MAKEFILE, re.MULTILINE)[0] for verb in VERBS})


@pytest.fixture
def clone() -> Iterator[Path]:
    """A copy of the kit that any user may read."""
    with TemporaryDirectory() as folder:
        for source in tracked("scripts", "compose", ".env.example"):
            target = Path(folder) / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield Path(folder)


def refused(clone: Path, script: str, *command: str) -> str:
    done = subprocess.run(
        [*command, f"scripts/{script}"], cwd=clone, env=os.environ | {"DOCKER_HOST": "unix:///nonexistent.sock"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    # The sentence and nothing else: nothing was tried.
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


def test_the_verbs_that_use_settings() -> None:
    assert {"up", "down", "destroy", "status", "logs", "doctor", "build", "pin", "stack-deploy"} <= set(SCRIPTS)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
@pytest.mark.parametrize("script", SCRIPTS)
def test_unreadable_env_is_named_with_its_owner(clone: Path, script: str) -> None:
    (clone / ".env").write_text("COMPOSE_PROJECT_NAME=lab\n")
    (clone / ".env").chmod(0o600)
    said = refused(clone, script, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert f"can't read {clone}/.env, which belongs to root" in said


@pytest.mark.parametrize("script", ["up", "status"])
def test_env_that_is_no_file_is_refused(clone: Path, script: str) -> None:
    env = clone / ".env"
    env.symlink_to("/nonexistent/env")
    assert "/.env is a link to /nonexistent/env, which does not exist" in refused(clone, script)
    env.unlink()
    env.mkdir()
    assert "/.env is not a file" in refused(clone, script)
    env.rmdir()
    os.mkfifo(env)
    assert "/.env is not a file" in refused(clone, script)


@pytest.mark.parametrize(
    "name",
    [
        " COMPOSE_PROJECT_NAME=lab",
        "export COMPOSE_PROJECT_NAME=lab",
        "COMPOSE_PROJECT_NAME = lab",
        "\ufeffCOMPOSE_PROJECT_NAME=lab",
    ],
)
@pytest.mark.parametrize("script", ["up", "down"])
def test_kit_name_that_only_compose_would_read_is_refused(clone: Path, script: str, name: str) -> None:
    (clone / ".env").write_text(f"{name}\nPORT=8001\n")
    assert "COMPOSE_PROJECT_NAME in a form that is read in several ways" in refused(clone, script)


@pytest.mark.parametrize("script", ["up", "down"])
def test_env_that_is_not_text_is_refused(clone: Path, script: str) -> None:
    (clone / ".env").write_bytes("COMPOSE_PROJECT_NAME=lab\n".encode("utf-16"))
    assert "/.env is not UTF-8 text" in refused(clone, script)


def test_folder_that_is_reached_by_a_link_is_the_same_kit(clone: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(clone)
    done = subprocess.run(
        ["bash", "-c", ". scripts/_lib.sh && env | grep ^PWD="], cwd=link, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == f"PWD={clone.resolve()}\n"


def test_files_of_an_operator_are_ignored_and_no_tracked_file_is() -> None:
    def git(*arguments: str) -> list[str]:
        return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.split()

    own = [
        ".env", "hub/config.d/50-quiet.py", "compose/compose.mine.yaml", "compose/stack.mine.yaml", "profiles.yaml",
        "fullchain.pem", "privkey.pem", "compose/privkey.pem", "config.json",
    ]  # fmt: skip
    assert git("check-ignore", *own) == own
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
    assert git("check-ignore", "--no-index", "hub/config.d/README.md", "compose/compose.tls.yaml", ".env.example") == []


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "NPM_REGISTRY", "DEBIAN_MIRROR"])
@pytest.mark.parametrize(
    "url",
    [
        "ann:s3cret/word@mirror.test/simple",
        "mirror.test/simple?token=s3cret-of-ann",
        "mirror.test/simple#s3cret-of-ann",
    ],
)
def test_build_refuses_credentials_without_showing_them(clone: Path, name: str, url: str) -> None:
    (clone / ".env").write_text(f"{name}='https://{url}'\n")
    said = refused(clone, "build")
    assert f"{name} in .env contains a user name, a password or a query" in said
    assert "s3cret" not in said
    assert "ann" not in said
