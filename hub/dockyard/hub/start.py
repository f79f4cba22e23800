"""The hub's process.

`python -m dockyard.hub.start ARGUMENT...` waits for the database, then runs JupyterHub with ARGUMENT....

`python -m dockyard.hub.start upgrade-db --config FILE` upgrades the database of an older JupyterHub.

On a swarm, `.env` is one secret, whose values this process adds to its environment. If the database does not answer
yet, or another hub uses it, the process does not exit. It logs the reason twice a minute, and when the reason changes.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path

from jupyterhub.app import main as jupyterhub
from sqlalchemy.exc import SQLAlchemyError

from dockyard.hub import database, database_lock, gateaccess, gatelists, schema
from dockyard.settings import db_url, envfile, profilesfile
from dockyard.settings.gatelink import token
from dockyard.settings.sources import Mistakes
from dockyard.signin.choice import load

SHEET = Path("/run/secrets/env")

MENDS = {
    "password authentication failed": "the password in DB_URL or POSTGRES_PASSWORD is not the one that the database "
    "has; a database keeps the password that it was created with",
    "resolve host": "no such host",
}


def line(url: str, why: str) -> str:
    where = db_url.parse(url)
    if not where.host:
        return f"Waiting for the database {where.database}: {why}"
    mend = next((mend for sign, mend in MENDS.items() if sign in why), "")
    said = f"{mend} ({why})" if mend else why
    return f"Waiting for the database {where.database} at {where.host}: {said}"


def log(text: str) -> None:
    print(f"[W {datetime.now():%Y-%m-%d %H:%M:%S} start] {text}", file=sys.stderr, flush=True)


def wait(url: str, pause: float = 1, remind: float = 30) -> None:
    """Return when only this hub can use the database. Until then, log why it can't."""
    said, said_at = "", 0.0
    while why := database.why_not(url) or outdated(url) or others(url):
        now = time.monotonic()
        if why != said or now > said_at + remind:
            log(line(url, why))
            said, said_at = why, now
        time.sleep(pause)


def outdated(url: str) -> str:
    """Return why this JupyterHub can't use the database's tables; empty if it can, or if this process upgrades them.

    A hub that waits for the upgrade does not hold the lock.
    """
    if sys.argv[1:2] == ["upgrade-db"]:
        return ""
    try:
        return schema.mistake(url)
    except SQLAlchemyError as error:
        return str(error).splitlines()[0]


def others(url: str) -> str:
    """Take the lock of the database. Return why not, if another hub holds it; empty if this hub holds it."""
    lock = database_lock.lock_of(url)
    try:
        if who := lock.take():
            return f"{who} uses it, and only one hub can use a database"
    except SQLAlchemyError as error:
        return str(error).splitlines()[0]
    lock.keep()
    return ""


def take(sheet: Path) -> None:
    """Add the values of a `.env` file, if it exists, to the environment. Raises `Mistakes` with its wrong lines."""
    if sheet.exists():
        values, mistakes = envfile.read(sheet.read_text())
        if mistakes:
            raise Mistakes(mistakes)
        envfile.adopt(values)


def main(arguments: list[str]) -> None:
    try:
        take(SHEET)
        settings = load()
        profilesfile.load(settings.profiles_file)
    except Mistakes as mistakes:
        sys.exit("The hub does not start. Wrong in .env:\n" + "\n".join(f"  - {line}" for line in mistakes.lines))
    try:
        gateaccess.use_token(token())
    except (OSError, ValueError) as error:
        sys.exit(f"The hub does not start. The token of hub and gate can't be used: {error}")
    wait(settings.database)
    # On a swarm, hub and gate have the same config object, which is immutable.
    may_differ = settings.profiles_file and (settings.spawner, settings.engine_access) == ("docker", "gate")
    if may_differ and (why := gatelists.agree(profilesfile.MOUNTED)):
        log(f"The gate may refuse to start servers: {why}. Run `make up`")
    # In this process, which has the lock.
    jupyterhub(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
