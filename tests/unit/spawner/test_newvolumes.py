from __future__ import annotations

import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import TraitError

from dockerspawner._engine.archive import first_entry, may_write, packed, text_of
from dockerspawner._storage.accounts import Identity, identity, notebook_user
from dockerspawner._storage.preparation import SCRIPT, helper
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner

PASSWD = "root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/bash\nbroken:x::\n"
GROUP = "root:x:0:\nusers:x:100:\n"


def test_a_helper_can_do_nothing_but_change_owners_on_one_volume() -> None:
    assert helper("image", "name", "home-ann", Identity(1234, 5678), "/etc/skel", {"dockyard.helper": "hub"}) == {
        "image": "image",
        "name": "name",
        "entrypoint": ["sh", "-c", SCRIPT, "sh", "1234:5678", "/dockyard-volume", "/etc/skel"],
        "command": [],
        "user": "0:0",
        "working_dir": "/",
        "labels": {"dockyard.helper": "hub"},
        "host_config": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN", "DAC_OVERRIDE"],
            "SecurityOpt": ["no-new-privileges"],
            "Mounts": [
                {
                    "Target": "/dockyard-volume",
                    "Source": "home-ann",
                    "Type": "volume",
                    "ReadOnly": False,
                    "VolumeOptions": {"NoCopy": True},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("user", "who"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("jovyan", (1000, 100)),
        ("1000", (1000, 100)),
        ("1234", (1234, 0)),
        ("1234:5678", (1234, 5678)),
        ("jovyan:5678", (1000, 5678)),
        ("1234:users", (1234, 100)),
        ("nobody", None),
        ("jovyan:nobody", None),
        ("broken", None),
    ],
)
def test_who_a_server_runs_as(user: str, who: Any) -> None:
    assert identity(user, PASSWD, GROUP) == who


def test_identity_of_files_that_a_user_has_filled_with_digits() -> None:
    """Python does not convert more than 4,300 digits, and is slow for fewer."""
    digits = "9" * 5_000
    passwd, group = f"ann:x:{digits}:100::/:\nbob:x:1:{digits}::/:\n{PASSWD}", f"many:x:{digits}:\n{GROUP}"
    assert identity("jovyan:users", passwd, group) == (1000, 100)
    for user in ("ann", "bob", "jovyan:many", digits, f"1000:{digits}"):
        assert identity(user, passwd, group) is None
    assert notebook_user({"NB_UID": digits}) is None
    assert notebook_user({"NB_UID": "1000", "NB_GID": digits}) == (1000, 0)


def test_who_a_server_becomes_that_starts_as_root() -> None:
    assert notebook_user({"NB_UID": "1234", "NB_GID": "5678"}) == (1234, 5678)
    assert notebook_user({"NB_UID": "1234"}) == (1234, 0)
    assert notebook_user({"NB_UID": "jovyan"}) is None
    assert notebook_user({}) is None


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "may"),
    [
        (1000, 9, 0o755, True),
        (1000, 9, 0o577, False),
        (0, 100, 0o775, True),
        (0, 100, 0o757, False),
        (0, 0, 0o777, True),
        (0, 0, 0o775, False),
    ],
)
def test_who_may_write(uid: int, gid: int, mode: int, may: bool) -> None:
    entry = tarfile.TarInfo()
    entry.uid, entry.gid, entry.mode = uid, gid, mode
    assert may_write(entry, 1000, 100) is may
    assert may_write(entry, 0, 0)


def test_archives_are_read_no_further_than_needed() -> None:
    content = packed({"passwd": PASSWD.encode(), "more": b"x" * 100_000}, 3_000_000, 7, 0o600)
    chunks = iter([content[:100], content[100:6000], content[6000:]])
    entry = first_entry(chunks)
    assert entry is not None
    assert (entry.name, entry.uid, entry.gid, entry.mode) == ("passwd", 3_000_000, 7, 0o600)
    assert len(list(chunks)) == 1
    assert text_of([content]) == PASSWD


@pytest.mark.parametrize(
    "traits", [{"volume_owner": "jovyan"}, {"volume_owner": "1000:"}, {"volume_owner": "-1"}, {"skeleton": "etc/skel"}]
)
def test_settings_that_make_no_sense(traits: dict[str, str]) -> None:
    with pytest.raises(TraitError, match=next(iter(traits))):
        make_spawner(**traits)


class Client(FakeClient):
    """With a container that an earlier process has left."""

    helpers = ["old-helper"]

    def containers(self, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        if filters["label"] != ["dockyard.helper=hub"]:
            return super().containers(all, filters)
        return [{"Id": helper} for helper in self.helpers]

    def remove_container(self, key: str, v: bool, force: bool) -> None:
        if key not in self.helpers:
            super().remove_container(key, v, force)
            return
        self.calls.append(f"remove {key}")

    def remove_volume(self, name: str) -> None:
        self.calls.append("remove_volume")
        raise api_error(409, "volume is in use")


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "port": port, "instance": "hub", "remove": True}
    return make_spawner(engine=fake_engine(client), volumes={"home-{username}": "/home"}, **settings, **traits)


async def test_a_volume_whose_start_ended_with_the_hub_is_seen_to_by_the_next_one(port: int) -> None:
    commits: list[Any] = []
    row = SimpleNamespace(name="", state={"more": 1}, server=None)
    db = SimpleNamespace(commit=lambda: commits.append(row.state))
    client = Client()
    killed = spawner_on(client, orm_spawner=row)
    killed.user.db = db
    killed._begin_volumes()
    await killed._have_volumes(None)
    mark = client.volumes["home-ann"]["dockyard.start"]
    assert commits == [{"more": 1, "unprepared": {"home-ann": mark}}]

    # Somebody who has no record of it leaves it alone.
    other = spawner_on(client, port)
    await other.start()
    await other.stop()
    assert "remove old-helper" not in client.calls

    spawner = spawner_on(client, port)
    spawner.load_state(row.state)
    asked = client.calls.count("get_archive")
    await spawner.start()
    assert client.calls.count("get_archive") == asked + 1
    assert client.calls.index("remove old-helper") < client.calls.index("get_archive")
    assert "unprepared" not in spawner.get_state()
    await spawner.stop()
    await spawner.start()
    assert client.calls.count("get_archive") == asked + 1
    assert client.calls.count("remove old-helper") == 1


async def test_a_volume_that_a_failed_start_could_not_remove_is_seen_to_by_the_next_one(port: int) -> None:
    client = Client()
    client.fail = {"create_container": [api_error(500, "oops")] * 2}
    spawner = spawner_on(client, port)
    for _ in range(2):
        with pytest.raises(Exception, match="oops"):
            await spawner.start()
        spawner.clear_state()
        assert list(spawner.get_state()["unprepared"]) == ["home-ann"]
        # By the start that has made it only: since then somebody may have used it.
        assert client.calls.count("remove_volume") == 1
    await spawner.start()
    assert client.calls.count("get_archive") == 1
    assert "unprepared" not in spawner.get_state()
