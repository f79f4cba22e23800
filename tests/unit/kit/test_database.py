"""The hub's database: waiting for it, a connection that was lost between two uses, a disk without room."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import Engine, Integer, create_engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dockyard.hub import database, start


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


@pytest.fixture
def reconnecting() -> Iterator[None]:
    database.reconnect()
    yield
    event.remove(Session, "do_orm_execute", database._ping)


@pytest.fixture
def session(tmp_path: Any) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path}/test.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Thing(id=1))
        session.commit()
        assert session.scalars(select(Thing.id)).all() == [1]
        session.info.clear()
        yield session
    engine.dispose()


def lose_connection(session: Session) -> None:
    """What the session holds does not work any more, as after a restart of a server; what it gets anew does."""
    assert session.in_transaction()
    engine = session.connection().engine
    held = session.connection().connection.dbapi_connection

    def fail(connection: Any, *arguments: Any) -> None:
        if connection.connection.dbapi_connection is held:
            raise OperationalError("select", {}, Exception("terminating connection"), connection_invalidated=True)

    def replace(connection: Any) -> None:
        connection.invalidate()

    event.listen(engine, "before_cursor_execute", fail)
    event.listen(engine, "rollback", replace)


@pytest.mark.usefixtures("reconnecting")
def test_a_lost_connection_is_replaced_at_the_next_use(session: Session) -> None:
    lose_connection(session)
    assert session.scalars(select(Thing.id)).all() == [1]


def test_without_it_the_next_use_fails(session: Session) -> None:
    lose_connection(session)
    with pytest.raises(OperationalError, match="terminating connection"):
        session.scalars(select(Thing.id)).all()


@pytest.mark.usefixtures("reconnecting")
def test_what_is_being_written_is_not_dropped(session: Session) -> None:
    lose_connection(session)
    session.add(Thing(id=2))
    with pytest.raises(OperationalError, match="terminating connection"):
        session.scalars(select(Thing.id)).all()


def test_waiting_says_why_once_and_no_password(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    refused, wrong = "connection refused", 'FATAL:  password authentication failed for user "hub"'
    answers = [refused, refused, wrong, wrong, ""]
    monkeypatch.setattr(database, "why_not", lambda url: answers.pop(0))
    monkeypatch.setattr(start, "outdated", lambda url: "")
    monkeypatch.setattr(start, "others", lambda url: "")
    start.wait("postgresql+psycopg://hub:s3cret@db.test/jupyter", pause=0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("start] ")[1] for line in lines] == [
        "Waiting for the database jupyter at db.test: connection refused",
        "Waiting for the database jupyter at db.test: the password in DB_URL or POSTGRES_PASSWORD is not the one that"
        f" the database has; a database keeps the password that it was created with ({wrong})",
    ]


@pytest.fixture
def explaining() -> Iterator[None]:
    database.explain()
    yield
    event.remove(Engine, "handle_error", database._name_the_cause)
    event.remove(Session, "before_flush", database._spare_room)


@pytest.mark.usefixtures("explaining")
def test_a_full_disk_is_called_that(session: Session) -> None:
    # As many pages as it has are all that it may have.
    session.execute(text("pragma max_page_count = 1"))
    with pytest.raises(OperationalError, match="disk is full") as failed:
        session.execute(text("create table more (id integer)"))
    assert failed.value.jupyterhub_message == database.FULL


@pytest.mark.usefixtures("explaining")
def test_other_failures_are_not_called_that(session: Session) -> None:
    with pytest.raises(OperationalError) as failed:
        session.execute(text("select * from nowhere"))
    assert not hasattr(failed.value, "jupyterhub_message")


@pytest.fixture
def hub_session(tmp_path: Path) -> Iterator[Session]:
    """JupyterHub's own tables, with a user, a server, and tokens of the user and of a service."""
    engine = create_engine(f"sqlite:///{tmp_path}/hub.sqlite")
    orm.Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=False) as session:
        ann, culler = orm.User(name="ann"), orm.Service(name="culler")
        session.add_all([ann, culler, orm.Spawner(name="", user=ann)])
        session.add_all([orm.APIToken(user=ann, token="a" * 32), orm.APIToken(service=culler, token="b" * 32)])
        session.commit()
        yield session
    engine.dispose()


@pytest.mark.usefixtures("explaining")
@pytest.mark.parametrize(("free", "expected"), [(database._ROOM, "aacs"), (database._ROOM - 1, "cs")])
def test_on_a_full_disk_nobodys_activity_is_written_but_servers_and_services(
    hub_session: Session, monkeypatch: pytest.MonkeyPatch, free: int, expected: str
) -> None:
    """Whoever is signed in would be refused for want of room for that; what the culler goes by is written, or fails."""
    monkeypatch.setattr(database, "disk_usage", lambda folder: SimpleNamespace(free=free))
    active = [("a", hub_session.scalars(select(orm.User)).one()), ("s", hub_session.scalars(select(orm.Spawner)).one())]
    active += [("a" if token.user_id else "c", token) for token in hub_session.scalars(select(orm.APIToken))]
    for _, one in active:
        one.last_activity = datetime(2026, 1, 1)
    hub_session.commit()
    hub_session.expire_all()
    assert "".join(sorted(kind for kind, one in active if one.last_activity)) == expected


def test_a_database_that_is_there(tmp_path: Any) -> None:
    assert database.why_not(f"sqlite:///{tmp_path}/new.sqlite") == ""
    assert "unable to open" in database.why_not(f"sqlite:///{tmp_path}/nosuch/new.sqlite")


def test_only_postgres_has_options() -> None:
    assert database.options("sqlite:////x") == {}
    options = database.options("postgresql+psycopg://a:b@c/d")
    assert options["pool_pre_ping"] is True
    assert options["connect_args"]["connect_timeout"] <= 5
