"""Servers and volumes on the engine that the hub does not know, as after the loss of its database.

`python -m dockyard.hub.orphans` prints them.

On standard input there is a line for each running server and each volume: `server`, or `service` where it is one of a
swarm, or `volume`; its name, its user and its server's name, with tabs between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from jupyterhub import orm
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from dockyard.hub import database
from dockyard.hub.start import SHEET, take
from dockyard.signin.choice import load


@dataclass(frozen=True)
class Known:
    """Names of users, and which servers run: user and server."""

    users: frozenset[str]
    servers: frozenset[tuple[str, str]]


def known(url: str) -> Known:
    """What the hub's database has on record. A server that is about to start counts."""
    engine = create_engine(url, **database.options(url))
    try:
        with Session(engine) as session:
            users = session.scalars(select(orm.User.name))
            servers = session.execute(
                select(orm.User.name, orm.Spawner.name).join(orm.Spawner.user).where(orm.Spawner.server_id.is_not(None))
            )
            return Known(frozenset(users), frozenset((user, server) for user, server in servers))
    finally:
        engine.dispose()


def told(lines: Iterable[str], known: Known) -> list[str]:
    """What is to be said of that: a sentence for the servers, one for the volumes, none where all is known."""
    servers, volumes, end = [], [], "docker rm --force"
    for line in lines:
        kind, name, user, server = line.rstrip("\n").split("\t")
        if kind != "volume" and (user, server) not in known.servers:
            servers.append(name)
            end = "docker service rm" if kind == "service" else end
        # Those that users share are of no user.
        if kind == "volume" and user and user not in known.users:
            volumes.append(name)
    said = []
    if servers:
        said.append(
            "Servers that run and that the hub does not know of; each is replaced when its user starts one, "
            f"and '{end} NAME' ends it: {' '.join(sorted(servers))}"
        )
    if volumes:
        said.append(
            "Volumes of users whom the hub does not know; each is its user's when they sign in, "
            f"and 'docker volume rm NAME' deletes it: {' '.join(sorted(volumes))}"
        )
    return said


if __name__ == "__main__":
    take(SHEET)
    for sentence in told(sys.stdin, known(load().database)):
        print(f"  ~ {sentence}")
