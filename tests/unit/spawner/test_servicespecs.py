"""From settings to what the swarm is asked for, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from docker.types import Mount, RestartPolicy

from dockerspawner._settings.sdk_keys import Mistake
from dockerspawner._swarm.specs import Service, service


def spec(**about: Any) -> dict[str, Any]:
    plain = {"image": "lab:1", "name": "ann", "command": None, "environment": {"A": "1"}, "port": 8888}
    return service(Service(**{**plain, **about}))


def test_the_plainest() -> None:
    made = spec(networks=["users"])
    task = made["task_template"]
    assert made["name"] == "ann"
    assert made["endpoint_spec"] == {"Mode": "dnsrr"}
    plain = {"Image": "lab:1", "Command": None, "Args": None, "Env": ["A=1"]}
    assert task["ContainerSpec"] == {**plain, "Healthcheck": {"Test": ["NONE"]}}
    assert task["Networks"] == [{"Target": "users"}]
    assert task["RestartPolicy"]["Condition"] == "none"
    assert (task.get("Resources"), task.get("Placement")) == (None, None)


@pytest.mark.parametrize("name", ["Name", "name"])
def test_ulimits_are_in_the_engines_spelling(name: str) -> None:
    about = {"soft": 1024, "hard": 2048} if name == "name" else {"Soft": 1024, "Hard": 2048}
    made = spec(extra_container={"ulimits": [{name: "nofile", **about}]})
    container = made["task_template"]["ContainerSpec"]
    assert container["Ulimits"] == [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]


@pytest.mark.parametrize("wrong", ["nofile=1024", [{"name": "nofile", "soft": "1024"}], {"nofile": 1024}])
def test_wrong_ulimits_name_the_setting(wrong: Any) -> None:
    with pytest.raises(Mistake, match='"ulimits" in the setting extra_container_spec'):
        spec(extra_container={"ulimits": wrong})


def test_limits_and_guarantees() -> None:
    resources = spec(
        mem_limit=2**30,
        cpu_limit=1.5,
        mem_guarantee=2**20,
        cpu_guarantee=0.25,
        generic_resources={"gpu": 2},
        extra_resources={"pids_limit": 512, "cpu_limit": 2_000_000_000},
    )["task_template"]["Resources"]
    assert resources == {
        "Limits": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 2**30, "Pids": 512},
        "Reservations": {
            "NanoCPUs": 250_000_000,
            "MemoryBytes": 2**20,
            "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}],
        },
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"extra_container": {"mounts": [{"target": "/data", "source": "mine"}]}},
        {"extra_task": {"container_spec": {"Image": "lab:2", "Mounts": [{"Target": "/data", "Source": "mine"}]}}},
        {"extra_create": {"task_template": {"ContainerSpec": {"Mounts": [Mount("/data/", "mine")]}}}},
    ],
)
def test_service_extra_mounts_replace_only_those_at_the_same_target(extra: dict[str, Any]) -> None:
    home, data = Mount("/home", "home-ann"), Mount("/data", "data")
    mounts = spec(mounts=[home, data], **extra)["task_template"]["ContainerSpec"]["Mounts"]
    assert [(mount["Target"].rstrip("/"), mount["Source"]) for mount in mounts] == [
        ("/home", "home-ann"),
        ("/data", "mine"),
    ]


def test_extras_have_the_last_word_but_take_no_home_and_no_key_away() -> None:
    home, more = Mount("/home", "home-ann"), Mount("/data", "/srv/data", type="bind")
    key, theirs = {"SecretName": "key"}, {"SecretName": "theirs"}
    made = spec(
        mounts=[home],
        secrets=[key],
        stop_timeout=5,
        extra_container={
            "mounts": [more],
            "secrets": [theirs],
            "env": {"B": "2"},
            "cap_drop": ["ALL"],
            "privileges": {"NoNewPrivileges": True},
            "init": True,
        },
        extra_task={"restart_policy": RestartPolicy("on-failure")},
        extra_create={"update_config": {"Parallelism": 1}},
    )
    container = made["task_template"]["ContainerSpec"]
    assert container["Mounts"] == [home, more]
    assert container["Secrets"] == [key, theirs]
    assert container["Env"] == ["A=1", "B=2"]
    assert container["StopGracePeriod"] == 5_000_000_000
    assert (container["CapabilityDrop"], container["Privileges"], container["Init"]) == (
        ["ALL"],
        {"NoNewPrivileges": True},
        True,
    )
    assert made["task_template"]["RestartPolicy"]["Condition"] == "on-failure"
    assert made["update_config"] == {"Parallelism": 1}


def test_placement() -> None:
    made = spec(node="n1", extra_placement={"constraints": ["node.labels.gpu==1"], "preferences": [("spread", "node")]})
    placement = made["task_template"]["Placement"]
    assert placement["Constraints"] == ["node.labels.gpu==1", "node.id==n1"]
    assert placement["Preferences"]


@pytest.mark.parametrize(
    ("about", "endpoint"),
    [
        (
            {"publish": True},
            {"Mode": "dnsrr", "Ports": [{"TargetPort": 8888, "Protocol": "tcp", "PublishMode": "host"}]},
        ),
        ({"extra_endpoint": {"mode": "vip"}}, {"Mode": "vip"}),
        # Ingress goes with a virtual address only.
        (
            {"publish": True, "extra_endpoint": {"ports": {30001: 8888}}},
            {"Ports": [{"Protocol": "tcp", "PublishedPort": 30001, "TargetPort": 8888}]},
        ),
    ],
)
def test_endpoints(about: dict[str, Any], endpoint: dict[str, Any]) -> None:
    assert spec(**about)["endpoint_spec"] == endpoint
