"""The tables of the hub's database: those of this JupyterHub, of an older or of a newer one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jupyterhub
import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, text

from dockyard.hub import database_lock, schema
from support.repo import ROOT

# Of JupyterHub 5.
OLD = "4621fec11365"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that this JupyterHub has made."""
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    orm.new_session_factory(url)().close()
    return url


def change(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_database_of_this_jupyterhub_and_an_empty_one_are_fine(url: str, tmp_path: Path) -> None:
    assert schema.mistake(url) == ""
    assert schema.mistake(f"sqlite:///{tmp_path}/empty.sqlite") == ""
    change(f"sqlite:///{tmp_path}/other.sqlite", "CREATE TABLE of_another_program (id INTEGER)")
    assert schema.mistake(f"sqlite:///{tmp_path}/other.sqlite") == ""


@pytest.mark.parametrize(
    "statement", [f"UPDATE alembic_version SET version_num = '{OLD}'", "DELETE FROM alembic_version"]
)
def test_a_database_of_an_older_jupyterhub_names_the_command(url: str, statement: str) -> None:
    change(url, statement)
    said = schema.mistake(url)
    assert f"an older JupyterHub created its tables, and {jupyterhub.__version__} needs other ones" in said
    assert said.endswith("Make a backup, then run: " + schema.UPGRADE)


def test_a_database_of_a_newer_jupyterhub_is_not_to_be_upgraded(url: str) -> None:
    change(url, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    said = schema.mistake(url)
    assert f"a newer JupyterHub than {jupyterhub.__version__} has changed its tables (schema ffffffffffff)" in said
    assert "restore an older backup" in said
    assert schema.UPGRADE not in said


def test_the_hub_waits_for_the_upgrade_without_the_lock(url: str) -> None:
    head = version(url)
    change(url, f"UPDATE alembic_version SET version_num = '{OLD}'")
    program = f"from dockyard.hub import start; start.line = lambda url, why: why; start.wait({url!r}, 0.05)"
    hub = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT / "hub", stderr=subprocess.PIPE, text=True)
    with hub:
        assert hub.stderr
        assert schema.UPGRADE in hub.stderr.readline()
        # What upgrades the database has the lock meanwhile.
        assert database_lock.lock_of(url).take() == ""
        change(url, f"UPDATE alembic_version SET version_num = '{head}'")
        assert "uses it" in hub.stderr.readline()
        hub.kill()


def version(url: str) -> str:
    engine = create_engine(url)
    with engine.begin() as connection:
        found = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    engine.dispose()
    return found
