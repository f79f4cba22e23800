"""Check that the tables of the hub's database are those of this JupyterHub."""

from __future__ import annotations

from pathlib import Path

import jupyterhub
from alembic.script import ScriptDirectory
from jupyterhub import orm
from sqlalchemy import create_engine, inspect, text

from dockyard.hub import database

# Run on the kit's host while the hub waits.
UPGRADE = "docker compose exec hub python3 -m dockyard.hub.start upgrade-db --config /srv/dockyard/jupyterhub_config.py"


def mistake(url: str) -> str:
    """Return why JupyterHub can't use the tables, with the fix; empty if it can, or if there are none.

    Raises SQLAlchemyError if the database can't be asked.
    """
    engine = create_engine(url, **database.options(url))
    try:
        tables = set(inspect(engine).get_table_names())
        if not tables.intersection(orm.Base.metadata.tables):
            return ""
        found = ""
        if "alembic_version" in tables:
            with engine.connect() as connection:
                found = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
    finally:
        engine.dispose()
    scripts = ScriptDirectory(str(Path(jupyterhub.__file__).parent / "alembic"))
    wanted = scripts.get_current_head()
    if found == wanted:
        return ""
    if found and found not in {revision.revision for revision in scripts.walk_revisions()}:
        return (
            f"a newer JupyterHub than {jupyterhub.__version__} has changed its tables (schema {found}). Start the "
            "release of Dockyard that did so, or restore an older backup"
        )
    return (
        f"an older JupyterHub created its tables, and {jupyterhub.__version__} needs other ones (schema "
        f"{found or 'unknown'} to {wanted}). Make a backup, then run: {UPGRADE}"
    )
