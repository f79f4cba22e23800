from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from dockerspawner import SystemUserSpawner
from dockerspawner.accounts import Account, account_in
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
    spawner = spawner_of(passwd_file=passwd_file, auth_state_gid_key="group")
    spawner.load_state({"user_id": 7, "group_id": 8})
    assert (spawner.user_id, spawner.group_id) == (7, 8)
    await spawner.run_auth_state_hook(None)
    assert (spawner.user_id, spawner.group_id) == (1500, 1600)
    await spawner.run_auth_state_hook({"uid": "21", "group": 22, "gid": 23})
    assert (spawner.user_id, spawner.group_id) == (21, 22)
    assert spawner.get_state() == {"user_id": 21, "group_id": 22}


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


async def test_a_user_whom_nobody_knows_is_named() -> None:
    with pytest.raises(Exception, match="no system user no-such-user whose uid the hub knows"):
        await spawner_of("no-such-user").start()
    with pytest.raises(Exception, match="whose home the hub knows"):
        await spawner_of("no-such-user", host_homedir_format_string=None, user_id=1).start()
    assert spawner_of("no-such-user").get_state() == {}


async def test_a_passwd_file_that_is_missing_is_named() -> None:
    with pytest.raises(Exception, match=r"passwd_file can't be read: .*/nonexistent"):
        await spawner_of(passwd_file="/nonexistent").run_auth_state_hook({})
