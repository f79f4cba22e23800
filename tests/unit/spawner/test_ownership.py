from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._records.ownership import Owner, holds_home, is_kept, is_stale

ANN = Owner("hub", "ann", "")


def container(labels: dict[str, str] | None = None, env: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "Id": "abc",
        "Image": "sha256:1",
        "Config": {"Labels": labels, "Env": env, "WorkingDir": "/home/jovyan"},
        **more,
    }


@pytest.mark.parametrize("other", [Owner("hub", "bob", ""), Owner("hub", "ann", "lab"), Owner("other", "ann", "")])
def test_owns_by_labels_where_the_id_is_not_known(other: Owner) -> None:
    assert ANN.owns(container(ANN.labels("h")))
    foreign = container(other.labels("h"), ["JUPYTERHUB_USER=ann"])
    assert not ANN.owns(foreign)
    assert not ANN.owns(foreign, known_id="abcdef")


@pytest.mark.parametrize("other", [Owner("hub", "bob", ""), Owner("hub", "ann", "lab"), Owner("other", "ann", "")])
def test_owns_by_the_id_in_the_state_whatever_the_labels(other: Owner) -> None:
    assert ANN.owns(container(other.labels("h")), known_id="abc")


def test_owns_under_a_former_instance_of_the_same_server_only() -> None:
    assert ANN.owns(container(Owner("other", "ann", "").labels("h")), instances=("other",))
    assert not ANN.owns(container(Owner("third", "ann", "").labels("h")), instances=("other",))
    assert not ANN.owns(container(Owner("other", "bob", "").labels("h")), instances=("other",))
    assert not ANN.owns(container(Owner("other", "ann", "lab").labels("h")), instances=("other",))


def test_owns_without_labels_by_the_id_or_the_environment() -> None:
    assert ANN.owns(container(), known_id="abc")
    assert ANN.owns(container({"some": "label"}, ["JUPYTERHUB_USER=ann"]))
    assert not ANN.owns(container(None, ["JUPYTERHUB_USER=bob"]))
    assert not ANN.owns(container())
    assert not ANN.owns(container(None, ["JUPYTERHUB_USER=ann", "JUPYTERHUB_SERVER_NAME=lab"]))
    assert Owner("hub", "ann", "Lab").owns(container(None, ["JUPYTERHUB_USER=ann"]))


def test_stale_by_spec_or_image() -> None:
    ours = container(ANN.labels("h"))
    assert not is_stale(ours, "h", "sha256:1")
    assert not is_stale(ours, "h", "")
    assert is_stale(ours, "other", "sha256:1")
    assert is_stale(ours, "h", "sha256:2")
    assert not is_stale(container(), "h", "sha256:2")


def volume(target: str, name: str = "home") -> dict[str, str]:
    return {"Type": "volume", "Name": name, "Destination": target}


@pytest.mark.parametrize(
    ("mounts", "home", "inside"),
    [
        ([], "", True),
        ([volume("/home/jovyan")], "", False),
        ([volume("/home")], "", False),
        ([volume("/home/jovyan/work")], "", True),
        ([volume("/home/jovyan/work")], "/home/jovyan/work", False),
        ([volume("/home/jov")], "", True),
        ([volume("/home/jovyan", "0123456789abcdef" * 4)], "", True),
        # Nothing there outlives anything.
        ([{"Type": "tmpfs", "Destination": "/home/jovyan"}], "", False),
        ([volume("/home"), volume("/home/jovyan", "0123456789abcdef" * 4)], "", True),
        ([{"Type": "bind", "Destination": "/home/jovyan/"}], "", False),
        ([volume("/data")], "/", False),
        ([], "/", True),
        ([{**volume("/etc/hostname"), "RW": False}], "/", True),
        ([{"Type": "tmpfs", "Destination": "/tmp"}], "/", True),
    ],
)
def test_where_the_files_are(mounts: list[Any], home: str, inside: bool) -> None:
    assert holds_home(container(Mounts=mounts), home) is inside


def test_holds_home_of_a_container_whose_home_is_memory_is_false() -> None:
    assert not holds_home(container(HostConfig={"Tmpfs": {"/home/jovyan": ""}}))
    assert holds_home(container(HostConfig={"Tmpfs": {"/tmp": ""}}))


ANONYMOUS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("mounts", "kept"),
    [
        ([volume("/home/jovyan")], True),
        ([volume("/home")], True),
        ([{"Type": "bind", "Destination": "/home/jovyan/"}], True),
        ([], False),
        ([volume("/home/jovyan/work"), volume("/home/jov")], False),
        ([volume("/home"), volume("/home/jovyan", ANONYMOUS)], False),
        ([volume("/home"), {"Type": "tmpfs", "Destination": "/home/jovyan"}], False),
    ],
)
def test_is_kept(mounts: list[Any], kept: bool) -> None:
    assert is_kept(container(Mounts=mounts), "/home/jovyan") is kept


def test_is_kept_in_memory_is_false() -> None:
    mounted = container(Mounts=[volume("/home")], HostConfig={"Tmpfs": {"/home/jovyan": ""}})
    assert not is_kept(mounted, "/home/jovyan")
