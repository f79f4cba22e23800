"""Only one module of the spawner uses JupyterHub's database, and documents why and how."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.repo import ROOT

PACKAGE = ROOT / "spawner" / "dockerspawner"
ALLOWED = PACKAGE / "_records" / "database.py"
# Packages, and attributes that lead from JupyterHub's objects to its records and its session.
MODULES = {"sqlalchemy", "jupyterhub.orm", "jupyterhub.dbutil"}
NAMES = {
    *("db", "_deprecated_db_session", "db_factory", "session_factory", "object_session"),
    *("orm", "orm_user", "orm_spawner", "orm_spawners", "_orm_spawners", "orm_server", "orm_token", "orm_oauth_client"),
    *("commit", "rollback", "no_autoflush", "expunge", "scalars"),
}


def uses(source: str) -> Iterator[str]:
    """List uses of JupyterHub's database in `source`, each with its line."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        for name in _named(node):
            is_module = any(name == module or name.startswith(f"{module}.") for module in MODULES)
            if is_module or name in NAMES:
                yield f"{line}: {name}"


def _named(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names):
            yield str(module)
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.Constant(value=str(name)):
            # An attribute by getattr(), a key of JupyterHub's settings, a module by import_module().
            yield name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_but_one_uses_the_hubs_database(path: Path) -> None:
    found = list(uses(path.read_text()))
    if path == ALLOWED:
        assert found, "the one module that may use JupyterHub's database does not: has it another name?"
    else:
        assert found == [], f"{path.name}: put this into {ALLOWED.name}, whose docstring says what it takes"


@pytest.mark.parametrize(
    "source",
    [
        "import sqlalchemy",
        "from sqlalchemy.orm import Session",
        "from jupyterhub import orm",
        "from jupyterhub import orm as records",
        "import jupyterhub.orm",
        "import jupyterhub\njupyterhub.orm.User",
        "importlib.import_module('jupyterhub.orm')",
        "self.db.query(User)",
        "self.user.db",
        "db = getattr(self.user, 'db', None)",
        "self.user.settings['db']",
        "self.user.settings['app'].db",
        "self.user.settings['users'].db_factory()",
        "self._deprecated_db_session",
        "self.orm_spawner.state = {}",
        "setattr(self, 'orm_spawner', None)",
        "self.user.orm_user.id",
        "self.user.orm_spawners['']",
        "self.server.orm_server.ip",
        "session.commit()",
        "make(db=db)",
    ],
)
def test_uses_a_way_to_the_database_is_found(source: str) -> None:
    assert list(uses(source))


@pytest.mark.parametrize(
    "source",
    [
        "from jupyterhub.utils import url_path_join",
        "self.user.name, self.user.settings['proxy'], self.server.ip",
        "from dockerspawner._records.database import save, session_of\nsave(self)",
        "urlsplit(url).query",
        '"""Tells of the db and of orm_spawner, in a sentence."""',
    ],
)
def test_uses_what_is_no_database_is_none(source: str) -> None:
    assert list(uses(source)) == []
