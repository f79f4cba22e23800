from __future__ import annotations

from dockerspawner.volumes import Bind, binds, default_format_volume_name
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
