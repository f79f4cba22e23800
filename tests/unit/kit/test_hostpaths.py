"""Symbolic links on the host in BIND_PATHS are followed, and treated as the path that they lead to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dockyard.settings import hints, hostpaths
from dockyard.settings.binds import bind_paths
from support.repo import ROOT

Found = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Found:
    """Mistakes and hints of BIND_PATHS, with what the script on the host finds out."""
    environ: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.setattr(hints, "MEMINFO", tmp_path / "missing")

    def found(*entries: object, socket: str = "/run/docker.sock", folder: str = "") -> tuple[list[str], list[str]]:
        listed = ",".join(map(str, entries))
        command = [sys.executable, str(ROOT / "scripts/host_paths.py"), listed, socket, folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": os.defpath})
        environ.update(BIND_PATHS=listed, HOST_PATHS=done.stdout)
        return list(hostpaths.mistakes(bind_paths(map(str, entries)))), hints.hints()

    return found


def test_hostpaths_folders_that_are_no_links_pass(found: Found, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "a").symlink_to(tmp_path / "data")
    assert found(tmp_path / "data", f"{tmp_path}/teams/*:ro", tmp_path / "missing") == ([], [])
    assert found(tmp_path / "data", f"{tmp_path}/missing/*") == ([], [])


@pytest.mark.parametrize("target", ["/etc", "/root", "/home", "/var", "/proc"])
@pytest.mark.parametrize("ending", ["", "/", ":ro", "/*", "/*:ro"])
def test_hostpaths_link_to_a_folder_of_the_host_is_reported(
    found: Found, tmp_path: Path, target: str, ending: str
) -> None:
    (tmp_path / "data").symlink_to(target)
    mistakes, (said, *_) = found(f"{tmp_path}/data{ending}")
    assert (mistakes == []) is (target != "/var" or "*" not in ending or not Path("/var/run").is_symlink())
    shown = f"{tmp_path}/data{ending.rstrip('/')}"
    assert said.startswith(
        f"BIND_PATHS has {shown}, and a symbolic link leads from {tmp_path}/data to {target}, where the host's users"
    )


def test_hostpaths_parent_that_is_a_link_is_reported(found: Found, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/etc")
    _, (said,) = found(tmp_path / "data" / "ssl")
    assert f"a symbolic link leads from {tmp_path}/data/ssl to /etc/ssl, where the host's users" in said


def test_hostpaths_link_in_a_folder_of_folders_is_reported(found: Found, tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    (tmp_path / "eve").symlink_to("/root")
    _, (said,) = found(f"{tmp_path}/*")
    assert f"BIND_PATHS has {tmp_path}/*, and a symbolic link leads from {tmp_path}/eve to /root, where" in said
    (tmp_path / "eve").unlink()
    (tmp_path / "eve").symlink_to("/run")
    (said,), _ = found(f"{tmp_path}/*:ro")
    assert f"a symbolic link leads from {tmp_path}/eve to /run, where the engine's socket is" in said


def test_hostpaths_link_to_the_socket_or_to_all_of_the_host_is_a_mistake(found: Found, tmp_path: Path) -> None:
    for name, target in (("run", "/run"), ("chain", tmp_path / "run"), ("root", "/"), ("own", tmp_path / "engine")):
        (tmp_path / name).symlink_to(target)
    for name in ("run", "chain"):
        (said,), _ = found(tmp_path / name)
        assert f"leads from {tmp_path}/{name} to /run, where the engine's socket is. Who has that socket" in said
    (said,), _ = found(f"{tmp_path}/root:ro")
    assert f"leads from {tmp_path}/root to /, which gives servers all of the host: remove it" in said
    (tmp_path / "engine").mkdir()
    (said,), _ = found(tmp_path / "own", socket=f"{tmp_path}/engine/docker.sock")
    assert f"to {tmp_path}/engine, where the engine's socket is" in said


def test_hostpaths_link_into_another_entry_is_a_mistake(found: Found, tmp_path: Path) -> None:
    (tmp_path / "data" / "team").mkdir(parents=True)
    (tmp_path / "team").symlink_to(tmp_path / "data" / "team")
    (said,), _ = found(tmp_path / "data", tmp_path / "team")
    assert f"{tmp_path}/data is above or below that: a link in one could lead anywhere" in said


@pytest.mark.parametrize("below", ["", "/..", "/volumes"])
def test_hostpaths_the_engines_own_folder_is_reported(found: Found, tmp_path: Path, below: str) -> None:
    (tmp_path / "disk" / "docker" / "volumes").mkdir(parents=True)
    path = os.path.normpath(f"{tmp_path}/disk/docker{below}")
    (said,) = found(path, folder=f"{tmp_path}/disk/docker")[1]
    assert said.startswith(f"BIND_PATHS has {path}, where the host's users and programs")
    (tmp_path / "link").symlink_to(path)
    (said,) = found(tmp_path / "link", folder=f"{tmp_path}/disk/docker")[1]
    assert f"leads from {tmp_path}/link to {path}, where the host's users" in said


def test_hostpaths_links_of_macos_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    found = '{"links": [["/etc", "/etc", "/private/etc"], ["/data", "/data", "/private/etc"]], "own": []}'
    monkeypatch.setenv("HOST_PATHS", found)
    assert hostpaths.links() == [("/data", "/data", "/etc")]
