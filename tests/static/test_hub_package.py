"""The hub's package: its folders have an order, and a module imports only from its own folder and from lower ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from support.repo import ROOT

PACKAGE = ROOT / "hub/dockyard"
# What each folder may import from, besides itself.
BELOW = {"settings": set[str](), "signin": {"settings"}, "hub": {"settings", "signin"}, "gate": {"settings"}}
# The check of config.d computes what the gate allows.
OF_THE_GATE = {"dockyard.hub.envcheck", "dockyard.hub.ownlimits"}
MODULES = {
    ".".join(path.relative_to(ROOT / "hub").with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, wherever in it, but for what only type checkers read."""
    tree = ast.parse(path.read_text())
    for_types = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node not in for_types and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if (found := name if name in MODULES else node.module) in MODULES:
                    yield found


def test_a_folder_imports_only_from_lower_ones() -> None:
    for name, path in MODULES.items():
        folder = name.split(".")[1] if "." in name else ""
        others = {one.split(".")[1] for one in imported(path)} - {folder}
        also = {"gate"} if name in OF_THE_GATE else set[str]()
        assert others <= BELOW.get(folder, set()) | also, name


def test_no_modules_import_each_other() -> None:
    graph = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)


def test_the_folder_has_only_the_package_and_the_configuration() -> None:
    assert {path.name for path in (ROOT / "hub").glob("*.py")} == {"jupyterhub_config.py"}
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == set(BELOW)
