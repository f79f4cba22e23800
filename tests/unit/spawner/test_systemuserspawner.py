from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from dockerspawner import SwarmSystemUserSpawner, SystemUserSpawner
from dockerspawner._storage.accounts import Account, account_in, account_number, groups_in
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
# a comment
ann:x:1500:1600:Ann,,,:/srv/homes/ann:/bin/bash
broken:x:many::
"""


def spawner_of(username: str = "ann", **traits: Any) -> Any:
    return make_spawner(username, cls=SystemUserSpawner, engine=fake_engine(FakeClient()), **traits)


@pytest.fixture
def passwd_file(tmp_path: Path) -> str:
    path = tmp_path / "passwd"
    path.write_text(PASSWD)
    return str(path)


def test_accounts() -> None:
    assert account_in(PASSWD, "ann") == Account(1500, 1600, "/srv/homes/ann")
    assert account_in(PASSWD, "broken") is None
    assert account_in(PASSWD, "nobody") is None


def test_the_passwd_database() -> None:
    me = pwd.getpwuid(os.getuid())
    spawner = spawner_of(me.pw_name, host_homedir_format_string="")
    assert (spawner.user_id, spawner.group_id, spawner.host_homedir) == (me.pw_uid, me.pw_gid, me.pw_dir)


async def test_the_first_that_knows_counts(passwd_file: str) -> None:
    spawner = spawner_of(passwd_file=passwd_file, auth_state_uid_key="uid", auth_state_gid_key="group")
    spawner.load_state({"user_id": 7, "group_id": 8})
    assert (spawner.user_id, spawner.group_id) == (7, 8)
    await spawner.run_auth_state_hook(None)
    assert (spawner.user_id, spawner.group_id) == (1500, 1600)
    await spawner.run_auth_state_hook({"uid": "21", "group": 22, "gid": 23})
    assert (spawner.user_id, spawner.group_id) == (21, 22)
    assert spawner.get_state() == {"user_id": 21, "group_id": 22}


@pytest.mark.parametrize("value", [0, 1, "7", ["ann"], None])
async def test_auth_state_uid_without_its_setting_is_ignored(passwd_file: str, value: Any) -> None:
    spawner = spawner_of(passwd_file=passwd_file)
    await spawner.run_auth_state_hook({"uid": value, "gid": value})
    assert (spawner.user_id, spawner.group_id) == (1500, 1600)


UNUSABLE = [
    0, "0", -1, "-1", True, 1000.0, 2**31, 10**30, "9" * 5000, "", "ann", " 7", "7\n", "007", "+7", "0x7", "\uff17",
    b"1000", ["ann"], [1000], [b"1000"], {}, {"uid": 7},
]  # fmt: skip


@pytest.mark.parametrize("value", UNUSABLE, ids=range(len(UNUSABLE)))
@pytest.mark.parametrize("setting", ["auth_state_uid_key", "auth_state_gid_key"])
async def test_auth_state_uid_that_is_no_ordinary_number_fails_the_start(setting: str, value: Any) -> None:
    assert account_number(value) is None
    spawner = spawner_of("no-such-user", **{setting: "number"})
    with pytest.raises(Exception, match=f"Ask an administrator .* {setting}"):
        await spawner.run_auth_state_hook({"number": value})
    assert spawner.get_state() == {}


async def test_auth_state_uid_that_is_missing_leaves_the_other_sources(passwd_file: str) -> None:
    spawner = spawner_of(passwd_file=passwd_file, auth_state_uid_key="uid", auth_state_groups_key="groups")
    for auth_state in (None, {}, {"uid": None, "groups": None}):
        await spawner.run_auth_state_hook(auth_state)
        assert (spawner.user_id, spawner._groups()) == (1500, [])


def test_load_state_with_numbers_that_are_none_keeps_the_hub_running() -> None:
    spawner = spawner_of("no-such-user")
    spawner.load_state({"user_id": ["ann"], "group_id": "many"})
    assert (spawner.user_id, spawner.group_id) == (-1, -1)
    spawner.load_state({"user_id": "1000", "group_id": 100})
    assert (spawner.user_id, spawner.group_id) == (1000, 100)


@pytest.mark.parametrize("number", [0, "0", -1, "-5", True, False, 2**31, "00", 0.0, None])
async def test_load_state_with_an_unusable_number_looks_the_user_up_again(passwd_file: str, number: Any) -> None:
    spawner = spawner_of(passwd_file=passwd_file)
    spawner.load_state({"user_id": number, "group_id": number})
    assert (spawner.user_id, spawner.group_id) == (1500, 1600)
    assert spawner.get_state().items() >= {"user_id": 1500, "group_id": 1600}.items()
    assert (await spawner._create_kwargs())["user"] == "1500:1600"


def test_get_state_never_keeps_root() -> None:
    spawner = spawner_of(user_id=0, group_id=0)
    assert not {"user_id", "group_id"} & spawner.get_state().keys()


GROUP = """\
root:x:0:ann
# a comment
staff:x:50:bob,ann
ann:x:1600:
physics:x:2000:ann
annex:x:2001:anna
broken:x:many:ann
"""


async def group_add(spawner: Any) -> Any:
    return (await spawner._create_kwargs())["host_config"].get("GroupAdd")


async def test_supplementary_groups_by_their_source(tmp_path: Path, passwd_file: str) -> None:
    assert groups_in(GROUP, "ann") == [50, 2000]
    assert groups_in(GROUP, "an") == []
    group_file = tmp_path / "group"
    group_file.write_text(GROUP)
    assert await group_add(spawner_of(passwd_file=passwd_file)) is None
    spawner = spawner_of(passwd_file=passwd_file, group_file=str(group_file), auth_state_groups_key="gids")
    assert await group_add(spawner) == ["50", "2000"]
    await spawner.run_auth_state_hook({"gids": [300, "200", 200]})
    assert await group_add(spawner) == ["200", "300"]
    await spawner.run_auth_state_hook({"gids": []})
    assert await group_add(spawner) is None
    for gids in ([300, 0], "300", 300, [["300"]], {"300": 1}):
        with pytest.raises(Exception, match="auth_state_groups_key"):
            await spawner.run_auth_state_hook({"gids": gids})


async def test_supplementary_groups_beside_those_of_extra_host_config(tmp_path: Path) -> None:
    group_file = tmp_path / "group"
    group_file.write_text(GROUP)
    spawner = spawner_of(user_id=1, group_file=str(group_file), extra_host_config={"group_add": ["video"]})
    assert await group_add(spawner) == ["video", "50", "2000"]


async def test_supplementary_groups_in_a_file_that_is_missing_name_the_setting() -> None:
    with pytest.raises(Exception, match="setting group_file can't be read"):
        await spawner_of(user_id=1, group_file="/nonexistent").start()


async def test_supplementary_groups_in_the_group_database() -> None:
    me = pwd.getpwuid(os.getuid())
    expected = set(os.getgrouplist(me.pw_name, me.pw_gid)) - {0, me.pw_gid}
    assert set(spawner_of(me.pw_name, lookup_groups=True)._groups()) == expected
    assert spawner_of("no-such-user", lookup_groups=True)._groups() == []


async def test_supplementary_groups_on_a_swarm(tmp_path: Path) -> None:
    group_file = tmp_path / "group"
    group_file.write_text(GROUP)
    spawner = make_spawner(
        cls=SwarmSystemUserSpawner, engine=fake_engine(FakeClient()), user_id=1, group_file=str(group_file)
    )
    spec = await spawner._create_kwargs()
    assert spec["task_template"]["ContainerSpec"]["Groups"] == ["50", "2000"]


async def test_what_a_server_is_made_of(passwd_file: str) -> None:
    spawner = spawner_of(passwd_file=passwd_file, homedir_bind_propagation="rshared", mem_limit=lambda s: "1G")
    await spawner._pin_limits()
    spec = await spawner._create_kwargs()
    environment = {
        name: spec["environment"][name] for name in ("USER", "NB_USER", "NB_UID", "NB_GID", "USER_ID", "HOME")
    }
    assert environment == {
        "USER": "ann", "NB_USER": "ann", "NB_UID": "1500", "NB_GID": "1600", "USER_ID": "1500", "HOME": "/home/ann",
    }  # fmt: skip
    assert (spec["user"], spec["working_dir"]) == ("1500:1600", "/home/ann")
    assert spec["host_config"]["Binds"] == ["/home/ann:/home/ann:rw,rshared"]
    assert spec["host_config"]["Memory"] == 1024**3
    assert spawner._home() == "/home/ann"


async def test_the_operator_has_the_last_word(passwd_file: str) -> None:
    async def extra(spawner: Any) -> dict[str, Any]:
        return {"user": "5", "working_dir": "/tmp"}

    spec = await spawner_of(passwd_file=passwd_file, extra_create_kwargs=extra)._create_kwargs()
    assert (spec["user"], spec["working_dir"]) == ("5", "/tmp")


async def test_as_root() -> None:
    spec = await spawner_of("no-such-user", run_as_root=True)._create_kwargs()
    assert spec["user"] == "0"
    assert "NB_UID" not in spec["environment"]


async def test_homes_at_other_places(passwd_file: str) -> None:
    spawner = spawner_of(
        passwd_file=passwd_file, host_homedir_format_string="", image_homedir_format_string="/h/{username}"
    )
    assert spawner.volume_binds == {"/srv/homes/ann": {"bind": "/h/ann", "mode": "rw"}}
    assert spawner.volume_mount_points == ["/h/ann"]


def test_a_home_that_is_mounted_elsewhere_too() -> None:
    spawner = spawner_of(volumes={"/home/ann": "/backup"}, user_id=1)
    assert spawner.volume_binds == {"/home/ann": {"bind": "/backup", "mode": "rw"}}
    (mount,) = spawner.mount_binds
    assert (mount["Source"], mount["Target"], mount["Type"]) == ("/home/ann", "/home/ann", "bind")


async def test_mount_binds_of_a_subclass_without_the_home_adds_none() -> None:
    class Own(SystemUserSpawner):
        @property
        def volume_binds(self) -> Any:
            return {"home-ann": {"bind": "/home/ann", "mode": "rw"}}

    spawner: Any = make_spawner(cls=Own, engine=fake_engine(FakeClient()), user_id=1000, group_id=1000)
    spec = await spawner._create_kwargs()
    assert spec["host_config"]["Binds"] == ["home-ann:/home/ann:rw"]
    assert "Mounts" not in spec["host_config"]


async def test_a_user_whom_nobody_knows_is_named() -> None:
    with pytest.raises(Exception, match="no system user no-such-user whose uid the hub knows"):
        await spawner_of("no-such-user").start()
    with pytest.raises(Exception, match="whose home the hub knows"):
        await spawner_of("no-such-user", host_homedir_format_string=None, user_id=1).start()
    assert spawner_of("no-such-user").get_state() == {}


async def test_a_passwd_file_that_is_missing_is_named() -> None:
    with pytest.raises(Exception, match=r"passwd_file can't be read: .*/nonexistent"):
        await spawner_of(passwd_file="/nonexistent").run_auth_state_hook({})
