"""What the hub has on record of a server, in a database of its own making."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dockerspawner._records import database
from dockerspawner._records.database import forget_tokens
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/jupyterhub.sqlite")
    orm.Base.metadata.create_all(engine)
    # As the hub's own.
    with Session(engine, expire_on_commit=False) as session:
        session.add_all(orm.OAuthClient(identifier=name) for name in ("jupyterhub", "client of ann", "client of bob"))
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def of(db: Any) -> Callable[..., Any]:
    """Makes a user's spawner, whose hub has a token for each of `starts` on record; the last is the spawner's own."""

    def of(name: str, server: str = "", starts: tuple[str, ...] = (), **traits: Any) -> Any:
        spawner: Any = make_spawner(name, server, oauth_client_id=f"client of {name}", **traits)
        row = db.query(orm.User).filter_by(name=name).first() or orm.User(name=name)
        db.add(row)
        db.commit()
        spawner.user = SimpleNamespace(**vars(spawner.user), db=db, orm_user=row, base_url=f"/user/{name}")
        for token in starts:
            note = f"Server at /user/{name}/{server}/" if server else f"Server at /user/{name}/"
            orm.APIToken.new(token=token, user=row, scopes=[], note=note)
            spawner.api_token = token
        return spawner

    return of


def left(db: Any) -> dict[str, int]:
    """The number of tokens, by their notes."""
    notes = [note for (note,) in db.query(orm.APIToken.note)]
    return {note: notes.count(note) for note in sorted(set(notes))}


def clients(db: Any) -> set[str]:
    return {name for (name,) in db.query(orm.OAuthClient.identifier)}


def test_tokens_of_a_server_go_and_no_others(db: Any, of: Callable[..., Any]) -> None:
    ann = of("ann", starts=("of-an-earlier-hub", "of-this-one"))
    of("ann", "lab", starts=("of-the-lab-start",))
    of("bob", starts=("of-bobs-start",))
    orm.APIToken.new(token="made-by-hand", user=ann.user.orm_user, scopes=[], note="mine")
    forget_tokens(ann)
    assert left(db) == {"Server at /user/ann/lab/": 1, "Server at /user/bob/": 1, "mine": 1}
    assert clients(db) == {"jupyterhub", "client of bob"}


def test_the_one_that_is_used_stays(db: Any, of: Callable[..., Any]) -> None:
    ann = of("ann", starts=("of-an-earlier-hub", "of-this-one"))
    forget_tokens(ann, but="of-this-one")
    assert left(db) == {"Server at /user/ann/": 1}
    assert orm.APIToken.find(db, "of-this-one")
    assert clients(db) >= {"client of ann"}


@pytest.mark.parametrize(("remove", "tokens"), [(True, 0), (False, 1)])
async def test_a_server_that_is_stopped_leaves_the_token_of_what_can_be_resumed(
    db: Any, of: Callable[..., Any], port: int, remove: bool, tokens: int
) -> None:
    """Also where this hub has not started it."""
    settings = {"image": "tiny", "network_name": "users", "port": port, "remove": remove}
    ann = of("ann", starts=("of-a-replaced-container", "of-this-one"), engine=fake_engine(FakeClient()), **settings)
    await ann.start()
    if not remove:
        assert left(db) == {"Server at /user/ann/": 1}
    ann.api_token = ""
    await ann.stop()
    await ann.run_post_stop_hook()
    assert sum(left(db).values()) == tokens
    assert ("client of ann" in clients(db)) == bool(tokens)


# States


@pytest.fixture
def row(db: Any) -> Callable[..., Any]:
    """Create the hub's record of a server, running if `running`."""

    def row(name: str, server: str = "", running: bool = False, **state: Any) -> Any:
        user = db.query(orm.User).filter_by(name=name).first() or orm.User(name=name)
        made = orm.Spawner(name=server, user=user, state=state, server=orm.Server() if running else None)
        db.add_all([user, made])
        db.commit()
        return made

    return row


def saved(db: Any, column: Any = orm.Spawner.state) -> list[Any]:
    """Read the database, without uncommitted changes of the session."""
    with Session(db.get_bind()) as other:
        return [getattr(one, column.key) for one in other.scalars(select(orm.Spawner).order_by(orm.Spawner.id))]


def test_servers_on_record_has_those_that_run_or_sleep(db: Any, row: Callable[..., Any]) -> None:
    """Any warning of SQLAlchemy's is an error here."""
    row("ann", running=True, object_id="1")
    row("ann", "lab", paused_at=1.0)
    row("bob", object_id="2")
    row("cleo", running=True)
    assert database.servers_on_record(db) == [((1, ""), {"object_id": "1"}), ((1, "lab"), {"paused_at": 1.0})]
    assert database.servers_on_record(None) == []


@pytest.mark.parametrize(("server", "names"), [("", {"of-bob"}), ("lab", {"of-ann", "of-bob"})])
def test_volumes_of_others_leaves_out_what_goes_along(
    db: Any, of: Callable[..., Any], row: Callable[..., Any], server: str, names: set[str]
) -> None:
    """When a user is deleted, all of the user's servers are deleted."""
    row("ann", volumes={"a": "of-ann"})
    row("ann", "lab", volumes={"a": "of-lab"})
    row("bob", volumes={"a": "of-bob"})
    row("cleo")
    assert database.volumes_of_others(of("ann", server)) == names


def test_volumes_of_others_has_those_of_all_starts(db: Any, of: Callable[..., Any], row: Callable[..., Any]) -> None:
    row("ann", volumes_by_profile={"p": {"/home": "of-ann"}})
    row("bob", volumes={"/a": "homes/bob"}, volumes_by_profile={"p": {"/team": "team"}}, earlier_volumes=["old"])
    assert database.volumes_of_others(of("ann")) == {"homes/bob", "homes", "team", "old"}
    for name in ("homes", "homes/bob", "team", "old"):
        assert database.is_volume_of_other_user(of("ann"), name)
    for name in ("home", "of-ann", "tea"):
        assert not database.is_volume_of_other_user(of("ann"), name)


def test_volumes_of_former_namesakes_are_those_of_users_who_had_that_name(
    db: Any, of: Callable[..., Any], row: Callable[..., Any]
) -> None:
    row("bob", object_id="1", volumes={"a": "home-ann"}, owners=[["hub", "ann", ""], ["hub", "bob", ""]])
    # A teacher, who reads ann's files.
    row("cleo", object_id="2", volumes={"a": "notes-ann"}, owners=[["hub", "cleo", ""]])
    assert database.volumes_of_former_namesakes(of("ann")) == {"home-ann"}
    assert database.volumes_of_former_namesakes(of("bob")) == set()
    assert database.instances_on_record(of("ann")) == {"hub"}
    assert database.containers_of_other_users(of("ann")) == database.containers_of_others(of("ann")) == {"1", "2"}


@pytest.mark.parametrize(
    "read",
    [lambda spawner: database.servers_on_record(database.session_of(spawner)), database.volumes_of_others],
    ids=["servers", "volumes"],
)
def test_a_read_writes_nothing_that_others_have_changed(
    db: Any, of: Callable[..., Any], row: Callable[..., Any], read: Callable[..., Any]
) -> None:
    spawner, other = of("ann"), row("bob", object_id="1")
    other.state = {"object_id": "2"}
    read(spawner)
    assert other in db.dirty


def test_forget_sleep_changes_no_other_container(db: Any, row: Callable[..., Any]) -> None:
    row("ann", object_id="1", paused_at=1.0)
    database.forget_sleep(db, "2")
    database.forget_sleep(None, "1")
    assert saved(db) == [{"object_id": "1", "paused_at": 1.0}]
    database.forget_sleep(db, "1")
    assert saved(db) == [{"object_id": "1"}]


def test_what_is_saved_is_there_when_the_hub_is_killed(
    db: Any, of: Callable[..., Any], row: Callable[..., Any]
) -> None:
    spawner = of("ann", orm_spawner=row("ann", object_id="1"))
    assert database.saved_options(spawner) == {}
    database.save_state(spawner, unprepared={"home": "mark"})
    database.save_options(spawner, {"profile": "small"})
    assert saved(db) == [{"object_id": "1", "unprepared": {"home": "mark"}}]
    assert saved(db, orm.Spawner.user_options) == [database.saved_options(spawner)] == [{"profile": "small"}]


@pytest.mark.parametrize(
    "change",
    [
        lambda spawner: database.save_state(spawner, more=1),
        lambda spawner: database.save_options(spawner, {"profile": "small"}),
        lambda spawner: database.forget_sleep(spawner.user.db, "1"),
        forget_tokens,
    ],
    ids=["state", "options", "sleep", "tokens"],
)
def test_a_change_that_fails_leaves_the_hub_a_session_that_works(
    db: Any, of: Callable[..., Any], row: Callable[..., Any], change: Callable[..., Any]
) -> None:
    before = {"object_id": "1", "paused_at": 1.0}
    record = row("ann", **before)
    spawner = of("ann", starts=("of-this-one",), orm_spawner=record)
    db.execute(text("PRAGMA query_only = ON"))
    with pytest.raises(OperationalError, match="readonly"):
        change(spawner)
    assert (record.state, db.query(orm.User).count()) == (before, 1)
    db.execute(text("PRAGMA query_only = OFF"))
    change(spawner)


OF_ANN = {"dockyard.instance": "hub", "dockyard.user": "ann"}


async def home(spawner: Any) -> list[str]:
    await spawner._find_volumes()
    return list(spawner.volume_binds)


async def test_find_volumes_new_server_of_a_renamed_user_has_the_volume_of_the_others(
    of: Callable[..., Any], row: Callable[..., Any]
) -> None:
    row("anne", volumes={"/home": "home-ann"}, owners=[["hub", "ann", ""], ["hub", "anne", ""]])
    client = FakeClient()
    client.volumes = {"home-ann": OF_ANN}
    settings = {"engine": fake_engine(client), "instance": "hub", "volumes": {"home-{username}": "/home"}}
    assert await home(of("anne", "lab", **settings)) == ["home-ann"]
    # A new user of the former name.
    assert (await home(of("ann", **settings)))[0].startswith("home-ann-x")


async def test_find_volumes_of_users_who_swapped_names_stay_theirs(
    of: Callable[..., Any], row: Callable[..., Any]
) -> None:
    client = FakeClient()
    client.volumes = {"home-ann": OF_ANN, "home-bob": {**OF_ANN, "dockyard.user": "bob"}}
    for name, former in (("ann", "bob"), ("bob", "ann")):
        row(name, volumes={"/home": f"home-{former}"}, owners=[["hub", former, ""], ["hub", name, ""]])
    for name, former in (("ann", "bob"), ("bob", "ann")):
        spawner = of(name, engine=fake_engine(client), instance="hub", volumes={"home-{username}": "/home"})
        spawner.load_state({"volumes": {"/home": f"home-{former}"}, "owners": [["hub", former, ""], ["hub", name, ""]]})
        assert await home(spawner) == [f"home-{former}"]
