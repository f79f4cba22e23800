"""What the hub has on record of a server, in a database of its own making."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from dockerspawner.records import forget_tokens
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

pytestmark = pytest.mark.filterwarnings("ignore:TypeDecorator JSON")


@pytest.fixture
def db() -> Iterator[Any]:
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    with Session(engine) as session:
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
