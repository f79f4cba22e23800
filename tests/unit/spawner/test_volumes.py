from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockerspawner import DockerSpawner
from dockerspawner._storage import volumes
from dockerspawner._storage.mounts import subpath_of
from dockerspawner._storage.volumes import Bind, binds
from dockerspawner.volumenamingstrategy import default_format_volume_name, escaped_format_volume_name
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner


def test_every_form_of_an_entry() -> None:
    settings = {
        "home-{u}": "/home/{u}",
        "/srv/{u}": {"bind": "/srv", "mode": "ro", "propagation": "rshared"},
    }
    assert binds(settings, "rw", lambda template: template.format(u="ann")) == [
        Bind("home-ann", "/home/ann", "rw", template="home-{u}"),
        Bind("/srv/ann", "/srv", "ro", "rshared", template="/srv/{u}"),
    ]


@pytest.mark.parametrize(
    "path",
    [r"C:\Users\{u}", "c:/Users/{u}", r"\\server\share\{u}", "//wsl$/Ubuntu/home/{u}", r"\\.\pipe\docker_engine"],
)
def test_binds_windows_paths_are_paths_of_the_host(path: str) -> None:
    (bind,) = binds({path: "/data"}, "rw", lambda template: template.replace("{u}", "ann"))
    assert (bind.source, bind.is_volume) == (path.replace("{u}", "ann"), False)
    assert bind.as_mount()["Type"] == "bind"
    spawner = make_spawner(volumes={path.replace("{u}", "{username}"): "/data"})
    assert list(spawner.volume_binds) == [bind.source]


def test_a_name_that_the_engine_takes_is_never_cut() -> None:
    (bind,) = binds({"v" * 255: "/x"}, "rw", str)
    assert bind.source == "v" * 255


def test_a_name_that_no_engine_takes_is_cut_and_stays_unique() -> None:
    one, other = binds({"v" * 256: "/x", "v" * 257: "/y", "/" + "p" * 300: "/z"}, "rw", str)[:2]
    assert len(one.source) <= 255
    assert one.source != other.source


def test_volume_binds_of_a_spawner() -> None:
    spawner = make_spawner(
        "a.b", "lab", volumes={"{username}-{servername}": "/home"}, read_only_volumes={"data": "/data"}
    )
    assert spawner.volume_binds == {
        "a-2eb-lab": {"bind": "/home", "mode": "rw"},
        "data": {"bind": "/data", "mode": "ro"},
    }
    assert spawner.volume_mount_points == ["/data", "/home"]
    assert spawner.mount_binds == []


def test_one_source_at_two_targets() -> None:
    spawner = make_spawner(volumes={"data": "/rw", "/srv": "/srv"}, read_only_volumes={"data": "/ro"})
    assert spawner.volume_binds["data"] == {"bind": "/rw", "mode": "rw"}
    assert spawner.mount_binds == [{"Target": "/ro", "Source": "data", "Type": "volume", "ReadOnly": True}]


def test_format_volume_name_decides() -> None:
    spawner = make_spawner(
        "ann",
        volumes={"home": "/home"},
        format_volume_name=lambda template, spawner: f"{template}x{spawner.user.name}",
    )
    assert list(spawner.volume_binds) == ["homexann"]
    assert default_format_volume_name("{prefix}-{username}", spawner) == "jupyter-ann"


def test_one_source_at_a_list_of_targets() -> None:
    spawner = make_spawner(volumes={"data": ["/a", {"bind": "/b", "mode": "ro"}]})
    assert spawner.volume_binds == {"data": {"bind": "/a", "mode": "rw"}}
    assert [(mount["Target"], mount["ReadOnly"]) for mount in spawner.mount_binds] == [("/b", True)]


OURS = {"dockyard.instance": "hub"}


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        (
            {"source": "home-{username}", "target": "/home/{username}"},
            {"Source": "home-ann", "Target": "/home/ann", "Type": "volume", "ReadOnly": False,
             "VolumeOptions": {"Labels": {**OURS, "dockyard.user": "ann"}}},
        ),
        (
            {"source": "/srv", "target": "/srv", "read_only": True, "propagation": "rslave"},
            {"Source": "/srv", "Target": "/srv", "Type": "bind", "ReadOnly": True,
             "BindOptions": {"Propagation": "rslave"}},
        ),
        (
            {"source": "nfs", "target": "/nfs", "labels": {"of-{username}": "{username}"}, "driver_config":
                {"name": "local", "options": {"type": "nfs", "device": ":/homes/{username}"}}},
            {"Source": "nfs", "Target": "/nfs", "Type": "volume", "ReadOnly": False,
             "VolumeOptions": {"Labels": {**OURS, "of-ann": "ann"},
                               "DriverConfig": {"Name": "local",
                                                "Options": {"type": "nfs", "device": ":/homes/ann"}}}},
        ),
        (
            {"target": "/fast", "tmpfs_size": "64m", "tmpfs_mode": 0o1777},
            {"Source": None, "Target": "/fast", "Type": "tmpfs", "ReadOnly": False,
             "TmpfsOptions": {"Mode": 0o1777, "SizeBytes": 64 * 1024**2}},
        ),
        (
            {"source": "nfs", "target": "/nfs", "no_copy": True, "labels": {"mine": "1"},
             "driver_config": {"name": "local", "options": {"type": "nfs", "device": ":/x"}}},
            {"Source": "nfs", "Target": "/nfs", "Type": "volume", "ReadOnly": False,
             "VolumeOptions": {"NoCopy": True, "Labels": {**OURS, "mine": "1"},
                               "DriverConfig": {"Name": "local", "Options": {"type": "nfs", "device": ":/x"}}}},
        ),
    ],
)  # fmt: skip
def test_mounts_are_typed(settings: dict[str, Any], sent: dict[str, Any]) -> None:
    spawner = make_spawner(instance="hub", mounts=[settings])
    assert spawner.mount_binds == [sent]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "x"}, "the target is missing"),
        ({"target": "/x", "source": "x", "readonly": True}, "readonly"),
        ({"target": "/x", "source": "x", "tmpfs_size": 1}, "Incompatible options"),
        ({"target": "/x", "source": "/x", "type": "bind", "driver_config": {"name": "local"}}, "Incompatible options"),
    ],
)
def test_what_is_no_mount_is_shown(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said) as failed:
        _ = make_spawner(mounts=[settings]).mount_binds
    assert "The setting mounts has an invalid entry {'" in str(failed.value)


async def test_create_object_logs_what_is_mounted_instead_of_a_volume(caplog: pytest.LogCaptureFixture) -> None:
    def drop(spawner: Any, spec: Any) -> None:
        spec["host_config"]["Binds"] = [bind for bind in spec["host_config"]["Binds"] if "/gone" not in bind]

    client = FakeClient()
    spawner = make_spawner(
        engine=fake_engine(client), image="tiny",
        volumes={"home-{username}": "/home", "gone": "/gone", "kept": "/kept"},
        extra_host_config={"binds": ["/srv/{username}:/home/"]}, modify_spec_hook=drop,
    )  # fmt: skip
    await spawner.create_object()
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert logged == [
        "jupyter-ann: /srv/ann is mounted at /home instead of home-ann",
        "jupyter-ann: gone is configured for /gone, but not mounted",
    ]
    assert list(client.volumes) == ["kept"]


async def test_a_volume_under_the_name_that_a_former_template_gave_is_used() -> None:
    client = FakeClient()
    client.volumes = {"old-ann": {}}
    spawner = make_spawner(engine=fake_engine(client), volumes={"new-{username}": "/home", "data": "/data"})
    spawner.load_state({"volumes": {"/home": "old-ann", "/data": "data"}})
    await spawner._find_volumes()
    assert set(spawner.volume_binds) == {"old-ann", "data"}
    await spawner._have_volumes(None)
    assert spawner.get_state()["volumes"] == {"/home": "old-ann", "/data": "data"}
    # One of the new name is what the operator wants.
    client.volumes["new-ann"] = {}
    await spawner._find_volumes()
    assert set(spawner.volume_binds) == {"new-ann", "data"}


ANNS = {"dockyard.instance": "hub", "dockyard.user": "ann"}


@pytest.mark.parametrize(
    ("template", "labels", "used"),
    [
        ("new-{username}", ANNS, "old"),
        # An operator's, or a team's.
        ("new-{username}", {"made": "by hand"}, "new-ann"),
        # A volume on Ann's record of when she was called Bob.
        ("new-{username}", {**ANNS, "dockyard.user": "bob"}, "old"),
        ("new-{username}", {**ANNS, "dockyard.user": "cleo"}, "new-ann"),
        ("new-{username}", {**ANNS, "dockyard.instance": "other"}, "new-ann"),
        ("new-{username}", {"dockyard.instance": "hub"}, "new-ann"),
        ("new", ANNS, "new"),
    ],
)
async def test_only_what_is_the_users_own_is_used_under_an_older_name(
    template: str, labels: dict[str, str], used: str
) -> None:
    client = FakeClient()
    client.volumes = {"old": labels}
    spawner = make_spawner(engine=fake_engine(client), instance="hub", volumes={template: "/work"})
    owners = [["hub", "bob", ""], ["hub", "ann", ""]]
    spawner.load_state({"volumes": {"/work": "old"}, "owners": owners})
    await spawner._find_volumes()
    assert list(spawner.volume_binds) == [used]


async def test_find_volumes_state_without_owners_trusts_the_record() -> None:
    """Of an older version: the user may have been renamed with it."""
    client = FakeClient()
    client.volumes = {"home-bob": {**ANNS, "dockyard.user": "bob"}}
    state: dict[str, Any] = {"volumes": {"/home": "home-bob"}}
    for _ in range(2):
        spawner = make_spawner(engine=fake_engine(client), instance="hub", volumes={"home-{username}": "/home"})
        spawner.load_state(state)
        await spawner._find_volumes()
        assert list(spawner.volume_binds) == ["home-bob"]
        await spawner._have_volumes(None)
        state = spawner.get_state()
    assert state["owners"][0] == ["hub", "bob", ""]


async def test_a_volume_of_another_profile_is_no_older_name_of_this_ones() -> None:
    client = FakeClient()
    courses = [
        {"display_name": name, "docker_override": {"volumes": {f"course-{name}-{{username}}": "/work"}}}
        for name in ("a", "b")
    ]
    spawner: Any = make_spawner(engine=fake_engine(client), profile_list=courses, pull_policy="skip")
    for name in ("a", "b", "b"):
        spawner.user_options = {"profile": name}
        await spawner.run_pre_spawn_hook()
        await spawner._find_volumes()
        assert list(spawner.volume_binds) == [f"course-{name}-ann"]
        await spawner._have_volumes(None)
        spawner.load_state(spawner.get_state())
        spawner.clear_state()
    # The same profile's volume under another name is found.
    courses[1]["docker_override"] = {"volumes": {"lecture-b-{username}": "/work"}}
    await spawner.run_pre_spawn_hook()
    await spawner._find_volumes()
    assert list(spawner.volume_binds) == ["course-b-ann"]


def test_naming_strategies() -> None:
    spawner = make_spawner("a.b")
    for strategy in (default_format_volume_name, escaped_format_volume_name):
        assert strategy("{prefix}-{username}", spawner) == "jupyter-a-2eb"


@pytest.mark.parametrize(
    ("groups", "mounted"),
    [
        ((), ["all:/all:rw"]),
        (("staff",), ["all:/all:rw", "data:/data:rw"]),
        (("class", "other"), ["all:/all:rw", "data:/data:ro"]),
        (("class", "staff"), ["all:/all:rw", "data:/data:rw"]),
    ],
)
def test_a_volume_of_a_group_is_for_its_members(groups: tuple[str, ...], mounted: list[str]) -> None:
    settings = {
        "all": "/all",
        "data": [{"bind": "/data", "groups": ["staff"]}, {"bind": "/data", "mode": "ro", "groups": ["class"]}],
    }
    found = binds(settings, "rw", str, groups)
    assert [f"{bind.source}:{bind.target}:{bind.mode}" for bind in found] == mounted


def by_table(table: dict[str, str]) -> Any:
    return lambda template, spawner: table[spawner.user.name]


def by_group(template: str, spawner: Any) -> str:
    return f"{template}-{spawner.user.groups[0].name}"


@pytest.mark.parametrize(
    ("form", "is_users"),
    [
        (lambda template, spawner: f"{template}-{spawner.user.name}", True),
        (lambda template, spawner: f"{template}-{spawner.escaped_name}", True),
        (lambda template, spawner: hashlib.sha256(spawner.user.name.encode()).hexdigest(), True),
        (lambda template, spawner: template.format(**spawner.template_namespace()) + spawner.user.name[::-1], True),
        (by_table({"ann": "home-of-ann"}), True),
        (by_table({"ann": "team"}), False),
        # A table of teams, in which others are not.
        (lambda template, spawner: "team-" + {"ann": "red"}.get(spawner.user.name, spawner.user.name), False),
        (lambda template, spawner: f"hub-{template}", False),
        (lambda template, spawner: {"ann": "special"}.get(spawner.user.name, template), False),
        (lambda template, spawner: f"{template}-{spawner.user.name[0]}", False),
        (lambda template, spawner: f"{template}-{len(spawner.user.name)}", False),
        (by_group, False),
        (lambda template, spawner: "shared", False),
        (lambda template, spawner: template, False),
    ],
)
def test_labels_of_a_computed_name_are_the_users_if_no_other_user_has_it(form: Any, is_users: bool) -> None:
    spawner = make_spawner("ann", config=Config(DockerSpawner={"volumes": {"home": "/home"}}), format_volume_name=form)
    spawner.user.groups = [SimpleNamespace(name="staff")]
    assert ("dockyard.user" in spawner._labels_of("home")) is is_users
    assert spawner.user.name == "ann"


def test_labels_of_a_literal_with_the_users_name_that_the_format_decorates_are_nobodys() -> None:
    spawner = make_spawner("data", format_volume_name=lambda template, spawner: f"hub-{template}")
    assert "dockyard.user" not in spawner._labels_of("shared-data")


@pytest.mark.parametrize(
    ("username", "form"),
    [
        ("ann", lambda spawner: f"/srv/{spawner.user.name}"),
        ("ann", lambda spawner: "/srv/team"),
        ("ann", lambda spawner: f"home-{spawner.user.name}"),
        ("ann@example.org", lambda spawner: f"home-{spawner.user.name.partition('@')[0]}"),
    ],
)
def test_labels_of_a_name_with_the_users_name_call_the_format_for_nobody_else(username: str, form: Any) -> None:
    called = set()

    def with_effects(template: str, spawner: Any) -> str:
        called.add(spawner.user.name)
        return str(form(spawner))

    labels = make_spawner(username, format_volume_name=with_effects)._labels_of("{username}")
    assert called == {username}
    assert ("dockyard.user" in labels) is not form(make_spawner(username)).startswith("/")


def test_labels_of_a_template_that_the_format_ignores_are_nobodys() -> None:
    spawner = make_spawner(format_volume_name=lambda template, spawner: "shared")
    assert "dockyard.user" not in spawner._labels_of("home-{username}")


CONFIGURED = {
    "volumes": {"shared-ann": "/a", "v-{username}": "/b"},
    "mounts": [{"source": "typed-ann", "target": "/c"}],
    "profile_list": [{"display_name": "x", "docker_override": {"volumes": {"course-ann": "/d"}}}],
    "group_overrides": {"x": {"groups": ["x"], "spawner_override": {"volumes": {"group-ann": "/e"}}}},
}


@pytest.mark.parametrize(
    ("username", "name", "is_users"),
    [
        ("ann", "v-ann", True),
        ("ann", "ann", True),
        ("Ann", "v-ann-home", True),
        ("ann@example.org", "v-ann-example-org", True),
        ("ann@example.org", "v-ann-40example-2eorg", True),
        ("ann", "v-anna", False),
        ("ann", "shared", False),
        ("ann", "shared-ann", False),
        ("ann", "typed-ann", False),
        ("ann", "course-ann", False),
        ("ann", "group-ann", False),
        ("ann", "", False),
    ],
)
def test_labels_of_a_name_that_a_hook_sets_are_the_users_if_it_has_the_users_name(
    username: str, name: str, is_users: bool
) -> None:
    spawner = make_spawner(username, config=Config(DockerSpawner=CONFIGURED))
    spawner.volumes = {name: "/home"}
    assert ("dockyard.user" in spawner._labels_of(name)) is is_users


def test_labels_of_an_updated_literal_are_nobodys() -> None:
    config = Config()
    config.DockerSpawner.volumes.update({"shared-ann": "/data"})
    assert "dockyard.user" not in make_spawner("ann", config=config)._labels_of("shared-ann")


def test_labels_of_a_placeholder_of_a_subclass() -> None:
    class Mine(DockerSpawner):
        def template_namespace(self) -> dict[str, Any]:
            return {**super().template_namespace(), "mail": f"{self.user.name}.mail", "team": "red"}

    spawner = make_spawner("ann", cls=Mine, volumes={"v-{mail}": "/home", "v-{team}": "/team"})
    assert "dockyard.user" in spawner._labels_of("v-{mail}")
    assert "dockyard.user" not in spawner._labels_of("v-{team}")


async def test_the_volumes_of_mounts_are_on_record() -> None:
    spawner = make_spawner(engine=fake_engine(FakeClient()), mounts=[{"source": "data", "target": "/data"}])
    await spawner._have_volumes(None)
    assert spawner.get_state()["volumes"] == {"/data": "data"}


SERVER = "dockyard.server"


@pytest.mark.parametrize(
    ("server", "alike", "state", "there", "used"),
    [
        ("Lab", [], {}, {}, "NEW"),
        # Created by an earlier version, or by dockerspawner 14.
        ("Lab", [], {}, {"v-ann-lab": {**ANNS, SERVER: "Lab"}}, "v-ann-lab"),
        ("Lab", [], {}, {"v-ann-lab": {}}, "v-ann-lab"),
        ("Lab", [], {"/home": "v-ann-lab"}, {"v-ann-lab": {**ANNS, SERVER: "Lab"}}, "v-ann-lab"),
        # Of the other server.
        ("Lab", ["lab"], {}, {"v-ann-lab": {}}, "NEW"),
        ("Lab", ["lab"], {}, {"v-ann-lab": {**ANNS, SERVER: "lab"}}, "NEW"),
        ("Lab", ["lab"], {"/home": "v-ann-lab"}, {"v-ann-lab": {**ANNS, SERVER: "lab"}}, "NEW"),
        ("Lab", ["lab"], {"/home": "v-ann-lab"}, {"v-ann-lab": {**ANNS, SERVER: "Lab"}}, "v-ann-lab"),
        ("lab", ["Lab"], {}, {"v-ann-lab": {**ANNS, SERVER: "Lab"}}, "NEW"),
        ("lab", ["Lab"], {}, {"v-ann-lab": {**ANNS, SERVER: "lab"}}, "v-ann-lab"),
        ("lab", ["Lab"], {}, {"v-ann-lab": {}}, "v-ann-lab"),
        # A server that was renamed.
        ("work", [], {"/home": "v-ann-lab"}, {"v-ann-lab": {**ANNS, SERVER: "lab"}}, "v-ann-lab"),
    ],
)
@pytest.mark.parametrize("setting", ["volumes", "mounts"])
async def test_find_volumes_of_servers_whose_names_differ_by_case(
    server: str, alike: Any, state: Any, there: Any, used: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "names_of_others", lambda spawner: {"", *alike})
    client, template = FakeClient(), "v-{username}-{servername}"
    client.volumes = there
    settings: Any = {
        "volumes": {template: "/home"},
        "mounts": [{"source": template, "target": "/home", "type": "volume"}],
    }
    spawner = make_spawner("ann", server, engine=fake_engine(client), instance="hub", **{setting: settings[setting]})
    spawner.load_state({"volumes": state})
    await spawner._find_volumes()
    await spawner._have_volumes(None)
    found = spawner.get_state()["volumes"]["/home"]
    assert found == used if used != "NEW" else found.startswith("v-ann-lab-x")
    # At the next start as well.
    after = make_spawner("ann", server, engine=fake_engine(client), instance="hub", **{setting: settings[setting]})
    after.load_state(spawner.get_state())
    await after._find_volumes()
    await after._have_volumes(None)
    assert after.get_state()["volumes"]["/home"] == found


# Users who were renamed, and new users of their former names


def renamed(client: FakeClient, state: dict[str, Any], **traits: Any) -> Any:
    """The spawner of Anne, who was called Ann."""
    spawner = make_spawner("anne", engine=fake_engine(client), instance="hub", pull_policy="skip", **traits)
    spawner.load_state({"owners": [["hub", "ann", ""]], **state})
    return spawner


@pytest.mark.parametrize(
    "state",
    [
        {"volumes": {"/home": "home-ann"}, "volumes_profile": "p"},
        {"volumes": {"/x": "x"}, "volumes_profile": "q", "volumes_by_profile": {"p": {"/home": "home-ann"}}},
        {"volumes_by_profile": {"p": {"/home": "home-ann"}}},
        # The same template in another profile, and at another place.
        {"volumes": {"/work": "home-ann"}, "volumes_profile": "q"},
        {"earlier_volumes": ["home-ann"]},
    ],
)
@pytest.mark.parametrize("setting", ["volumes", "mounts"])
async def test_find_volumes_renamed_user_has_them_with_whatever_profile(state: dict[str, Any], setting: str) -> None:
    client = FakeClient()
    client.volumes = {"home-ann": ANNS}
    settings: Any = {
        "volumes": {"home-{username}": "/home"},
        "mounts": [{"source": "home-{username}", "target": "/home", "type": "volume"}],
    }
    profiles = [{"display_name": name, "docker_override": {setting: settings[setting]}} for name in ("p", "r")]
    spawner = renamed(client, state, profile_list=profiles)
    await spawner.run_pre_spawn_hook()
    await spawner._find_volumes()
    await spawner._have_volumes(None)
    assert spawner.get_state()["volumes"] == {"/home": "home-ann"}


async def test_find_volumes_renamed_user_does_not_get_what_the_record_does_not_have() -> None:
    client = FakeClient()
    client.volumes = {"home-ann": ANNS}
    spawner = renamed(client, {"volumes": {"/x": "x-ann"}}, volumes={"home-{username}": "/home"})
    await spawner._find_volumes()
    assert list(spawner.volume_binds) == ["home-anne"]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anne, who was called Ann, has these on record."""
    names = {"home-ann", "shared", "homes", "homes/ann", "homes/common"}
    monkeypatch.setattr(volumes, "volumes_of_former_namesakes", lambda spawner: names)


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("state", [{}, {"volumes": {"/x": "x"}}])
@pytest.mark.parametrize("setting", ["volumes", "mounts"])
async def test_find_volumes_new_user_of_a_former_name_shares_what_is_shared_only(
    state: dict[str, Any], setting: str
) -> None:
    client = FakeClient()
    client.volumes = {"home-ann": ANNS, "shared": {"dockyard.instance": "hub"}}
    names = {"home-{username}": "/home", "shared": "/shared"}
    mounts = [{"source": name, "target": target, "type": "volume"} for name, target in names.items()]
    settings: Any = {"volumes": names, "mounts": mounts}
    for _ in range(2):
        spawner = make_spawner("ann", engine=fake_engine(client), instance="hub", **{setting: settings[setting]})
        spawner.load_state(state)
        await spawner._find_volumes()
        await spawner._have_volumes(None)
        state = spawner.get_state()
        assert state["volumes"]["/home"].startswith("home-ann-x")
        assert state["volumes"]["/shared"] == "shared"


@pytest.mark.parametrize(
    ("table", "template", "used"),
    [
        # The team that Ann had, the volume for all that settings had, and Ann's own.
        ({"ann": "chem"}, "vol-{username}", "vol-physics"),
        ({"ann": "ann"}, "own-{username}", "shared"),
    ],
)
async def test_find_volumes_shared_volume_without_labels_is_no_older_name(
    table: dict[str, str], template: str, used: str
) -> None:
    client = FakeClient()
    client.volumes = {used: {}}
    spawner = make_spawner(
        "ann", engine=fake_engine(client), volumes={template: "/home"},
        format_volume_name=lambda template, spawner: template.format(username=table[spawner.user.name]),
    )  # fmt: skip
    spawner.load_state({"volumes": {"/home": used}})
    await spawner._find_volumes()
    assert list(spawner.volume_binds) == [template.format(username=table["ann"])]


async def test_have_volumes_of_a_name_on_another_users_record_are_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dockerspawner._storage.volumes.is_volume_of_other_user", lambda spawner, name: name == "shared-data"
    )
    client = FakeClient()
    spawner = make_spawner("data", engine=fake_engine(client))
    spawner.volumes = {"home-data": "/home", "shared-data": "/shared"}
    await spawner._have_volumes(None)
    assert ["dockyard.user" in client.volumes[name] for name in ("home-data", "shared-data")] == [True, False]


# Parts of volumes


def part(subpath: str) -> list[dict[str, str]]:
    return [{"type": "volume", "source": "homes", "target": "/home", "subpath": subpath}]


async def shown(spawner: Any) -> str:
    await spawner._find_volumes()
    await spawner._have_volumes(None)
    assert spawner.get_state()["volumes"]["/home"] == f"homes/{subpath_of(spawner.mount_binds[0])}"
    return subpath_of(spawner.mount_binds[0])


@pytest.mark.parametrize("subpath", ["{servername}", "{username}/{servername}", "{servername}/{username}"])
def test_mount_subpath_that_is_empty_or_has_an_empty_part_fails(subpath: str) -> None:
    with pytest.raises(Exception, match="subpath") as failed:
        assert make_spawner("ann", mounts=part(subpath)).mount_binds
    assert "The setting mounts has an invalid entry" in str(failed.value)


async def test_mount_subpath_of_servers_whose_names_differ_by_case_are_distinct(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "dockerspawner._storage.volumes.names_of_others", lambda spawner: {"Lab", "lab"} - {spawner.name}
    )
    template = "{username}/{servername}/x"
    found = {}
    for server in ("Lab", "lab"):
        spawner = make_spawner("ann", server, engine=fake_engine(FakeClient()), mounts=part(template))
        found[server] = await shown(spawner)
    assert found["lab"] == "ann/lab/x"
    assert re.fullmatch(r"ann/lab-x[0-9a-f]{12}/x", found["Lab"])


async def test_mount_subpath_of_a_server_with_capitals_on_record_stays() -> None:
    """An older state has the volume only."""
    state: dict[str, Any] = {"volumes": {"/home": "homes"}}
    for _ in range(2):
        spawner = make_spawner("ann", "Lab", engine=fake_engine(FakeClient()), mounts=part("{username}/{servername}"))
        spawner.load_state(state)
        assert await shown(spawner) == "ann/lab"
        state = spawner.get_state()


async def test_mount_subpath_of_a_renamed_user_is_the_one_on_record() -> None:
    state: dict[str, Any] = {"volumes": {"/home": "homes/ann/x"}}
    for _ in range(2):
        spawner = renamed(FakeClient(), state, mounts=part("{username}/x"))
        assert await shown(spawner) == "ann/x"
        state = spawner.get_state()
    spawner = renamed(FakeClient(), {"volumes": {"/home": "homes/common"}}, mounts=part("{username}"))
    assert await shown(spawner) == "anne"


@pytest.mark.usefixtures("taken")
async def test_mount_subpath_of_a_new_user_of_a_former_name_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_spawner("ann", engine=fake_engine(FakeClient()), mounts=part("{username}"))
    found = await shown(first)
    assert re.fullmatch(r"ann-x[0-9a-f]{12}", found)
    # Also after the other one was deleted.
    monkeypatch.setattr(volumes, "volumes_of_former_namesakes", lambda spawner: set())
    again = make_spawner("ann", engine=fake_engine(FakeClient()), mounts=part("{username}"))
    again.load_state(first.get_state())
    assert await shown(again) == found
    common = make_spawner("ann", engine=fake_engine(FakeClient()), mounts=part("common"))
    assert await shown(common) == "common"
