from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._records.ownership import Owner
from dockerspawner._storage.deletion import staying
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner

ANN = Owner("hub", "ann", "")
LAB = Owner("hub", "ann", "lab")


def volume(name: str = "v", options: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    made = {"instance": "hub", "user": "ann", **labels}
    return {"Name": name, "Labels": {f"dockyard.{key}": value for key, value in made.items()}, "Options": options}


@pytest.mark.parametrize(
    ("found", "owner"),
    [
        (volume(), ANN),
        (volume(server=""), ANN),
        (volume(server="lab"), ANN),
        (volume(server="lab"), LAB),
        (volume("of-a-renamed-server", server="old"), LAB),
        (volume(options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}), ANN),
    ],
)
def test_volumes_that_go(found: dict[str, Any], owner: Owner) -> None:
    assert staying(found, owner, used={"of-a-renamed-server"}) is None


@pytest.mark.parametrize(
    ("found", "owner", "why"),
    [
        ({"Name": "v", "Labels": None}, ANN, "not made for this user"),
        ({"Name": "v", "Labels": {"dockyard.instance": "hub"}}, ANN, "not made for this user"),
        (volume(user="bob"), ANN, "not made for this user"),
        (volume(instance="other"), ANN, "not made for this user by this hub"),
        (volume(), LAB, "the user's, not the server's"),
        (volume(server="old"), LAB, "another server's"),
        (volume(server=""), LAB, "another server's"),
        (volume("in-use"), ANN, "another server uses it"),
        (volume("in-use", server="lab"), LAB, "another server uses it"),
        (volume(options={"type": "none", "o": "bind", "device": "/srv/data"}), ANN, "its files are at /srv/data"),
        (volume(options={"type": "nfs", "o": "addr=nas", "device": ":/homes"}), ANN, "its files are at :/homes"),
    ],
)
def test_volumes_that_stay(found: dict[str, Any], owner: Owner, why: str) -> None:
    assert why in (staying(found, owner, used_by_others={"in-use"}) or "")


def test_volumes_of_a_former_instance_of_this_hub_go_and_those_of_another_hub_stay() -> None:
    former = volume(instance="former")
    assert staying(former, ANN, instances={"former"}) is None
    assert staying(former, ANN, used={"v"}, instances={"another"}) is not None


def test_volumes_of_a_renamed_user_go_where_they_are_on_record() -> None:
    bob = Owner("hub", "bob", "")
    assert staying(volume("home"), bob, used={"home"}, former_users={"ann"}) is None
    # Those of a new user of the former name.
    assert staying(volume("home"), bob, used={"other"}, former_users={"ann"}) is not None
    assert staying(volume("home"), bob, used={"home"}) is not None


@pytest.mark.parametrize(("policy", "said"), [("keep", ""), ("delete", "; volumes home-ann")])
async def test_an_engine_that_is_away_leaves_what_the_error_names(policy: str, said: str) -> None:
    client = FakeClient()
    client.fail["containers"] = [api_error(500, "no") for _ in range(9)]
    spawner = make_spawner(
        engine=fake_engine(client),
        delete_policy=policy,
        volumes={"home-{username}": "/home", "shared": "/shared", "/srv": "/srv"},
    )
    with pytest.raises(Exception, match=f"stay behind of ann: whatever there is of container jupyter-ann, .*{said}"):
        await spawner.delete_forever()


async def test_delete_forever_where_format_volume_name_fails_deletes_what_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeClient()
    names = client.volumes
    mine = {"dockyard.instance": "hub", "dockyard.user": "ann"}
    names |= {"labelled": mine, "recorded": mine, "other": {"dockyard.instance": "hub", "dockyard.user": "bob"}}

    class Client:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def volumes(self, filters: dict[str, Any]) -> dict[str, Any]:
            return {"Volumes": [{"Name": "labelled", "Labels": mine}]}

    def by_team(template: str, spawner: Any) -> str:
        raise KeyError("ann")

    spawner: Any = make_spawner(
        engine=fake_engine(Client()),  # type: ignore[arg-type]
        instance="hub",
        delete_policy="delete",
        volumes={"home-{username}": "/home"},
        format_volume_name=by_team,
    )
    spawner.load_state({"volumes": {"/work": "recorded"}})
    with pytest.raises(Exception, match=r"stay behind of ann: .*format_volume_name give no names .*home-"):
        await spawner.delete_forever()
    assert set(names) == {"other"}
    assert "format_volume_name" in caplog.text
