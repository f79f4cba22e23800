"""Which services `make up` recreates since a file that they read has changed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.repo import ROOT


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kit_changes", ROOT / "scripts/changes.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


changed = _loaded()
HUB = changed.Running("abc", 1000.0)


def contents(**digests: str) -> Any:
    return {name: changed.Content(digest, 500.0) for name, digest in digests.items()}


def applied(container: str = "abc", started: float = 1000.0, **digests: str) -> Any:
    return {"container": container, "started": started, "files": digests}


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (contents(a="1"), applied(a="1"), []),
        (contents(a="2"), applied(a="1"), ["a changed"]),
        (contents(a="1", b="1"), applied(a="1"), ["b is new"]),
        (contents(a="1"), applied(a="1", b="1"), ["b was removed"]),
        # Folders: what is in them counts.
        (contents(a="1", folder=""), applied(a="1"), []),
        # What a container that is not known, or was started again, has read is told by the clock.
        (contents(a="2"), applied(a="1", container="other"), []),
        (contents(a="2"), applied(a="1", started=999.0), []),
        (contents(a="2"), None, []),
        ({"a": changed.Content("1", 1001.0)}, None, ["a changed after the start of this container"]),
        ({"folder": changed.Content("", 1001.0)}, None, ["folder changed after the start of this container"]),
    ],
)
def test_changes_names_what_a_service_has_not_read(now: Any, before: Any, said: list[str]) -> None:
    assert list(changed.changes(now, HUB, before)) == said


def test_mounted_takes_files_and_folders_of_the_kit_that_are_only_read(tmp_path: Path) -> None:
    kit, outside = tmp_path / "kit", tmp_path / "outside"
    for folder in (kit / "config.d", kit / "written", outside):
        folder.mkdir(parents=True)
    for file in (kit / "Caddyfile", outside / "key", outside / "own.conf"):
        file.touch()

    def bind(path: Path, read_only: bool = True) -> dict[str, Any]:
        return {"type": "bind", "source": str(path), "target": "/x", "read_only": read_only}

    config = {
        "secrets": {"key": {"file": str(outside / "key")}, "unset": {"file": "/dev/null"}, "own": {"environment": "A"}},
        "configs": {"inline": {"content": "text"}},
        "services": {
            "edge": {"volumes": [bind(kit / "Caddyfile")], "secrets": [{"source": "key"}, {"source": "unset"}]},
            "hub": {"volumes": [bind(kit / "config.d"), bind(outside), {"type": "volume", "source": "data"}]},
            "own": {
                "volumes": [bind(outside / "own.conf", False), bind(kit / "written", False)],
                "secrets": [{"source": "own"}],
                "configs": [{"source": "inline"}],
            },
            "bare": {},
        },
    }
    assert changed.mounted(config, str(kit)) == {
        "edge": {str(kit / "Caddyfile"), str(outside / "key")},
        "hub": {str(kit / "config.d")},
        "own": {str(outside / "own.conf")},
        "bare": set(),
    }

    def own(config: Any, **environ: str) -> dict[str, str]:
        texts = changed.inline(config, environ)
        assert [name for name, given in texts.items() if given] == ["own"]
        return dict(texts["own"])

    before = own(config, A="1")
    assert set(before) == {"configs.inline", "secrets.own"}
    assert own(config, A="2")["secrets.own"] != before["secrets.own"]
    after = own(config | {"configs": {"inline": {"content": "another text"}}}, A="1")
    assert {name for name in before if after[name] != before[name]} == {"configs.inline"}


def test_mounted_leaves_out_the_folder_that_the_gate_looks_at_each_time(tmp_path: Path) -> None:
    """A file there recreates the hub only."""
    own = tmp_path / "hub/config.d"
    own.mkdir(parents=True)
    volumes = [{"type": "bind", "source": str(own), "target": "/x", "read_only": True}]
    config = {"services": {"hub": {"volumes": volumes}, "gate": {"volumes": volumes}}}
    assert changed.mounted(config, str(tmp_path)) == {"hub": {str(own)}, "gate": set()}


@pytest.mark.parametrize(
    ("path", "below", "name"),
    [
        ("/etc/mine/password", "", "USER_PASSWORD_FILE"),
        ("/kit/hub/config.d", "50-own.py", "config.d/50-own.py"),
        ("/kit/hub/config.d", "lists/names.txt", "config.d/lists/names.txt"),
        ("/kit/hub/config.d", "./", "config.d"),
        ("/kit/compose/Caddyfile", "", "compose/Caddyfile"),
        ("/kitchen/own.conf", "", "/kitchen/own.conf"),
    ],
)
def test_shown_is_what_an_operator_calls_a_file(path: str, below: str, name: str) -> None:
    settings = changed.settings_by_path("PORT=1\nUSER_PASSWORD_FILE='/etc/mine/password'\n#LOGO_FILE=\nKEY_FILE=\n")
    assert changed.shown(path, below, "/kit", settings) == name


@pytest.mark.parametrize("name", [".50-own.py.swp", "50-own.py~", "README.md"])
def test_what_editors_leave_behind_and_what_only_people_read_does_not_count(name: str) -> None:
    assert not changed.is_read(name)


def test_seconds_of_the_engines_nine_digits_or_none() -> None:
    assert changed.seconds("1970-01-01T00:00:01.250000000Z") == 1.25
    assert changed.seconds("1970-01-01T00:01:00Z") == 60.0


def test_the_digest_of_a_folder_has_its_files_and_those_below(tmp_path: Path) -> None:
    content = tmp_path / "content"
    (content / "0/below").mkdir(parents=True)
    (content / "0/__pycache__").mkdir()
    for name in ("0/a.py", "0/below/b.txt", "0/__pycache__/a.pyc", "1"):
        (content / name).write_text(name)
    program = changed.DIGEST.replace('"/content"', repr(str(content)))
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {number: sorted(files) for number, files in found.items()} == {
        "0": ["./", "a.py", "below/", "below/b.txt"],
        "1": ["."],
    }
    assert found["0"]["a.py"][0] != found["0"]["below/b.txt"][0]
    assert found["0"]["./"][0] == ""


def test_the_record_is_the_owners_alone_and_one_that_is_damaged_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert changed.load() == {}
    changed.save({"salt": "ab"})
    assert changed.load() == {"salt": "ab"}
    assert changed.APPLIED.stat().st_mode & 0o777 == 0o600
    changed.APPLIED.write_text("{")
    assert changed.load() == {}


def test_lost_asks_the_hub_for_the_names_of_running_services_on_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(tuple(command[command.index(changed.RESOLVE) + 1 :]))
        return subprocess.CompletedProcess(command, 0, "proxy\n")

    monkeypatch.setattr(changed.subprocess, "run", run)
    networks = {"hub": ["hub", "users"], "proxy": ["front", "hub"], "edge": ["front"], "postgres": ["hub"], "gate": []}
    config = {"services": {name: {"networks": dict.fromkeys(on)} for name, on in networks.items()}}
    running = dict.fromkeys(("hub", "proxy", "edge", "gate"), HUB)
    assert changed.lost(config, running) == {"proxy"}
    assert asked == [("hub", "proxy")]
    assert changed.lost(config, {"proxy": HUB}) == set()


def test_resolve_prints_the_names_that_are_not_known() -> None:
    command = [sys.executable, "-c", changed.RESOLVE, "localhost", "no such name"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "no such name\n"
