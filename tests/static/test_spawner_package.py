"""The folders of the spawner package: their order, their privacy, and that the wheel contains them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import seams
from support.repo import ROOT

PACKAGE = ROOT / "spawner" / "dockerspawner"
PUBLIC = {"dockerspawner.py", "swarmspawner.py", "systemuserspawner.py", "volumenamingstrategy.py"}
# From the lowest to the highest.
ORDER = [
    *("_errors", "_records", "_settings", "_engine", "_profiles"),
    *("_networks", "_images", "_storage", "_start", "_swarm"),
]


def test_each_wing_imports_only_from_lower_ones() -> None:
    edges = seams.wings(PACKAGE)
    assert {wing for wing in edges if (PACKAGE / wing).is_dir()} == set(ORDER)
    for wing in ORDER:
        higher = set(ORDER[ORDER.index(wing) :]) & set(edges[wing])
        assert not higher, f"{wing} imports from {higher}: {[edges[wing][one] for one in higher]}"
    assert seams.print_wings(edges)


def test_all_but_the_promised_modules_are_private() -> None:
    names = {path.name for path in PACKAGE.iterdir() if not path.name.startswith((".", "_"))}
    assert names == PUBLIC


def test_every_mixin_inherits_from_the_core() -> None:
    """mypy accepts any name of a class whose base it does not know."""
    found = seams.seams(PACKAGE)
    names = {one.name for one in found.classes} | {"Core", "SwarmCore"}
    assert [one.name for one in found.classes if not one.bases or not set(one.bases) <= names | {"Spawner"}] == []


def test_core_declares_only_what_a_class_takes() -> None:
    assert seams.seams(PACKAGE).unused == set()


def test_wheel_contains_every_folder() -> None:
    """setuptools finds the folders that have an __init__.py and match `include`."""
    project = (PACKAGE.parent / "pyproject.toml").read_text()
    found = re.search(r"^\[tool\.setuptools\.packages\.find\]\ninclude = (\[.*\])$", project, re.MULTILINE)
    assert found
    assert json.loads(found[1]) == ["dockerspawner", "dockerspawner.*"]
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_seams_counts_what_a_class_takes_from_another(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        """
class One:
    limit = 1

    def begin(self):
        self.state = self._ask()
        return self.limit

    def get_state(self):
        return super().get_state()
"""
    )
    (tmp_path / "two.py").write_text(
        """
class Two:
    state = ""

    def _ask(self):
        self.state = ""
        return self.begin()

    def get_state(self):
        return {}
"""
    )
    (tmp_path / "__init__.py").write_text(
        """
from dockerspawner.one import One
from dockerspawner.two import Two

class DockerSpawner(One, Two):
    def start(self):
        return self.begin()
"""
    )
    found = seams.seams(tmp_path)
    assert found.undeclared == {("One", "Two"): {"_ask"}, ("Two", "One"): {"begin"}}
    assert found.taken == {**found.undeclared, ("DockerSpawner", "One"): {"begin"}}
    assert (found.count(found.undeclared), found.count(found.taken)) == (2, 3)
    assert found.mutual == [("One", "Two")]
    assert found.two_writers == {"state": {"one", "two"}}
    assert found.chained == {"get_state": ["One"]}
