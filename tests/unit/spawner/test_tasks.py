"""What tasks say of a server."""

from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._networks.networking import internal_address, published_address
from dockerspawner._records.ownership import Owner
from dockerspawner._swarm.tasks import ENDED, STARTING, Task, current

ANN = Owner("hub", "ann", "")


def answer(**about: Any) -> dict[str, Any]:
    return {
        "ID": "t1",
        "ServiceID": "s1",
        "NodeID": "n1",
        "Version": {"Index": 7},
        "DesiredState": "running",
        "Spec": {"ContainerSpec": {"Labels": ANN.labels("x")}},
        "Status": {"State": "running"},
        **about,
    }


def task(state: str = "running", wanted: str = "running", version: int = 1) -> Task:
    return Task.of(answer(Status={"State": state}, DesiredState=wanted, Version={"Index": version}))


def test_what_is_read() -> None:
    status = {
        "State": "failed",
        "Err": "task: non-zero exit (3)",
        "ContainerStatus": {"ExitCode": 3},
        # The engine tells of one port once for each kind of address.
        "PortStatus": {"Ports": [{"TargetPort": 8888, "PublishedPort": 30001, "PublishMode": "host"}] * 2},
    }
    attachments = [
        {"Network": {"Spec": {"Name": "users"}}, "Addresses": ["10.0.1.5/24"]},
        {"Network": {"Spec": {"Name": "pending"}}},
        {"Network": {"Spec": {"Name": "ingress", "Ingress": True}}, "Addresses": ["10.0.0.9/24"]},
    ]
    read = Task.of(answer(Status=status, NetworksAttachments=attachments))
    assert (read.id, read.service, read.node, read.owner, read.version) == ("t1", "s1", "n1", ANN, 7)
    assert (read.state, read.exit_code, read.alive) == ("failed", 3, False)
    assert (read.addresses, read.ports) == ({"users": "10.0.1.5"}, {8888: 30001})
    assert (read.error, read.complaint) == ("task: non-zero exit (3)", "")


def test_one_that_is_new_says_next_to_nothing() -> None:
    read = Task.of({"ID": "t1", "Spec": {}})
    assert (read.state, read.alive, read.running, read.occupies) == ("new", True, False, False)


def test_no_starting_state_is_an_end() -> None:
    assert all(task(state).alive and not task(state).running for state in STARTING)
    assert not any(task(state).alive for state in ENDED)
    assert task("running").running


@pytest.mark.parametrize("wanted", ["shutdown", "remove"])
def test_a_task_that_the_swarm_gave_up_is_dead_and_may_still_write(wanted: str) -> None:
    lost = task("running", wanted)
    assert (lost.alive, lost.running, lost.occupies) == (False, False, True)


def test_what_never_reached_its_node_does_not_write() -> None:
    assert [state for state in STARTING if task(state).occupies] == ["preparing", "ready", "starting"]


def test_the_one_that_counts() -> None:
    dead, old, new = task("failed", version=9), task(version=2), task("starting", version=3)
    assert current([dead, old, new]) is new
    assert current([dead, task("failed", version=4)]) is dead
    assert current([]) is None


def test_as_inspected() -> None:
    status = {"State": "running", "PortStatus": {"Ports": [{"TargetPort": 8888, "PublishedPort": 30001}]}}
    attachments = [{"Network": {"Spec": {"Name": "users"}}, "Addresses": ["10.0.1.5/24"]}]
    seen = Task.of(answer(Status=status, NetworksAttachments=attachments)).as_inspected(node_address="192.0.2.7")
    assert seen["State"]["Running"]
    assert internal_address(seen, "users") == "10.0.1.5"
    assert published_address(seen, 8888, "127.0.0.1") == ("192.0.2.7", 30001)
