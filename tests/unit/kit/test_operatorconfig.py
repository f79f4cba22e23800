"""Files of hub/config.d: run with the hub's own configuration; a failure names the file, the line and the reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from dockyard.hub import operatorconfig
from dockyard.settings.sources import Mistakes


def kit() -> Any:
    config = Config()
    config.DockerSpawner.volumes = {"home-{username}": "/home/jovyan"}
    config.JupyterHub.load_roles = [{"name": "culler"}]
    return config


def run(folder: Path, **files: str | bytes) -> Any:
    """The configuration after files, whose names are given without their end."""
    for name, content in files.items():
        (folder / f"{name}.py").write_bytes(content.encode() if isinstance(content, str) else content)
    config = kit()
    operatorconfig.run(config, folder)
    return config


def failure(folder: Path, **files: str | bytes) -> str:
    with pytest.raises(Mistakes) as failed:
        run(folder, **files)
    return "\n".join(failed.value.lines)


def test_a_file_changes_what_the_kit_has_set(tmp_path: Path) -> None:
    config = run(
        tmp_path,
        a='c.DockerSpawner.volumes["/x"] = "/y"\nc.JupyterHub.load_roles.append({"name": "mine"})',
        b='get_config().DockerSpawner.volumes.update({"/z": "/w"})\nassert c is get_config()',
        c='assert __file__.endswith("c.py")\nc.DockerSpawner.mem_limit = "1G"',
    )
    assert config.DockerSpawner.volumes == {"home-{username}": "/home/jovyan", "/x": "/y", "/z": "/w"}
    assert config.JupyterHub.load_roles == [{"name": "culler"}, {"name": "mine"}]
    assert config.DockerSpawner.mem_limit == "1G"


def test_an_item_of_a_trait_that_is_not_set_yet(tmp_path: Path) -> None:
    config = run(tmp_path, a='c.Spawner.environment["A"] = "b"\nc.Spawner.environment.update({"C": "d"})')
    assert config.Spawner.environment.get_value({"E": "f"}) == {"A": "b", "C": "d", "E": "f"}


def test_load_subconfig_runs_with_the_same_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "one.conf").write_text('c.DockerSpawner.volumes["/one"] = "/1"')
    config = run(tmp_path, a=f'load_subconfig("more/one.conf")\nload_subconfig("none.py", "{folder}")')
    assert config.DockerSpawner.volumes["/one"] == "/1"
    (folder / "one.conf").write_text("\n\n1 / 0")
    said = failure(tmp_path, a='load_subconfig("more/one.conf")')
    assert said == "hub/config.d/more/one.conf, line 3: ZeroDivisionError: division by zero"
    (folder / "one.conf").write_text("\n)")
    assert failure(tmp_path).startswith("hub/config.d/more/one.conf, line 2: SyntaxError: unmatched ')'")


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    config = run(tmp_path, b="c.A.order = [*c.A.order, 'b']", a="c.A.order = ['a']", c="c.A.order.append('c')")
    assert config.A.order == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\nc.JupyterHub.x = (", "hub/config.d/a.py, line 2: SyntaxError: '(' was never closed"),
        ("if True:\nx = 1", "hub/config.d/a.py, line 2: IndentationError: expected an indented block"),
        ("def f():\n    raise KeyError('x')\n\nf()", "hub/config.d/a.py, line 2: KeyError: 'x'"),
        ("import json\njson.loads('{')", "hub/config.d/a.py, line 2: JSONDecodeError: Expecting property name"),
        ("import nothing_of_that_name", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("import sys\nsys.exit(0)", "hub/config.d/a.py, line 2: it ends the hub with exit(0): remove that call"),
        ("import sys\nsys.exit('no')", "line 2: it ends the hub with exit('no')"),
        ("raise SystemExit", "line 1: it ends the hub with exit()"),
        ("raise KeyboardInterrupt", "hub/config.d/a.py, line 1: KeyboardInterrupt"),
        ("raise ValueError", "hub/config.d/a.py, line 1: ValueError"),
        ("raise ValueError('one\\ntwo')", "hub/config.d/a.py, line 1: ValueError: one"),
        ("open('/nonexistent/file')", "line 1: FileNotFoundError: [Errno 2] No such file or directory"),
        (b"x = 1\ny = 'caf\xe9'\n", "hub/config.d/a.py, line 2: is not UTF-8 text"),
        ("x = 1".encode("utf-16"), "hub/config.d/a.py: is not UTF-8 text"),
    ],
)
def test_a_file_that_fails_is_named_with_line_and_reason(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in failure(tmp_path, a=content)


@pytest.mark.parametrize(
    "content",
    [
        b"c.A.b = 1\r\nif True:\r\n    c.A.b = 2\r\n",
        b"\xef\xbb\xbfc.A.b = 2\n",
        b"# -*- coding: latin-1 -*-\nc.A.name = 'caf\xe9'\nc.A.b = 2\n",
        b"from __future__ import annotations\nx: undefined = 1\nc.A.b = 2",
        # The future statements of the module that runs it are not the file's.
        b"def f(x: int): ...\nassert f.__annotations__['x'] is int\nc.A.b = 2",
    ],
)
def test_a_file_of_another_system_or_encoding_is_run(tmp_path: Path, content: bytes) -> None:
    assert run(tmp_path, a=content).A.b == 2


@pytest.mark.parametrize("body", ["while True: pass", "while True:\n    try: 1 / 0\n    except Exception: pass"])
def test_a_file_that_does_not_end_is_interrupted(tmp_path: Path, body: str) -> None:
    with operatorconfig.within(0.2):
        said = failure(tmp_path, a=body)
    assert "it has not ended within 0.2 s: remove the loop or the wait" in said
    assert said.startswith("hub/config.d/a.py, line ")


def test_all_files_that_are_not_python_are_named_before_any_is_run(tmp_path: Path) -> None:
    said = failure(tmp_path, a="raise SystemExit", b="(", c=")")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "hub/config.d/b.py, line 1",
        "hub/config.d/c.py, line 1",
    ]


def test_a_file_that_needs_a_network_or_writes_is_not_known_to_be_wrong(tmp_path: Path) -> None:
    def of_the_place(content: str) -> bool:
        (tmp_path / "a.py").write_text(content)
        with pytest.raises(operatorconfig.Failed) as failed:
            operatorconfig.run(kit(), tmp_path)
        return failed.value.of_the_place

    refused = "import socket\nsocket.create_connection(('127.0.0.1', 1), 1)"
    assert of_the_place(refused)
    assert of_the_place(f"try:\n    exec({refused!r})\nexcept OSError as error:\n    raise RuntimeError from error")
    assert of_the_place("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')")
    assert of_the_place("raise OSError(30, 'Read-only file system')")
    assert not of_the_place("open('/nonexistent')")
    assert not of_the_place("1 / 0")


def test_a_folder_that_cannot_be_read_is_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", denied)
    said = failure(tmp_path)
    assert said == (
        f"hub/config.d can't be read by the hub's user, uid {os.getuid()} (Permission denied): chmod o+rx hub/config.d"
    )


def test_a_missing_folder_is_empty_and_a_file_in_its_place_a_mistake(tmp_path: Path) -> None:
    assert operatorconfig.files(tmp_path / "none") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistakes, match="make hub/config\\.d a folder"):
        operatorconfig.files(tmp_path / "file")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").symlink_to("/nonexistent/a.py")
    (tmp_path / "b.py").mkdir()
    said = failure(tmp_path)
    assert "hub/config.d/a.py: is a symbolic link to /nonexistent/a.py, which the hub's container lacks" in said
    assert "hub/config.d/b.py: is a folder" in said


def test_files_that_are_not_loaded(tmp_path: Path) -> None:
    ignored = ["50-a.PY", "50-b.py.txt", "config"]
    quiet = ["README.md", "data.json", "50-c.py~", "50-d.py.bak", ".50-e.py.swp", "#50-f.py#", "g.pyc"]
    for name in [*ignored, *quiet, ".#50-h.py", "._50-i.py"]:
        (tmp_path / name).write_text("1 / 0")
    (tmp_path / "__pycache__").mkdir()
    assert operatorconfig.files(tmp_path) == []
    assert operatorconfig.hints(tmp_path) == [
        f"hub/config.d/{name} is not loaded: a file's name must end in .py" for name in sorted(ignored)
    ]


def test_the_traceback_begins_at_the_operators_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("import json\njson.loads('{')")
    with pytest.raises(Mistakes) as failed:
        operatorconfig.run(kit(), tmp_path)
    operatorconfig.report_failure(failed.value, tmp_path)
    said = capsys.readouterr().err
    assert f'File "{tmp_path}/a.py", line 2' in said
    assert "json/decoder.py" in said
    assert "operatorconfig.py" not in said
