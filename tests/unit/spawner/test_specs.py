from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner.specs import Server, as_dict, container, merge, render, spec_hash

SERVER = Server(
    image="tiny:1",
    name="jupyter-ann",
    command=["serve"],
    environment={"JUPYTERHUB_API_TOKEN": "t", "A": "1"},
    port=8888,
    network="users",
    binds={"home": {"bind": "/home/jovyan", "mode": "rw"}},
    mount_points=["/home/jovyan"],
)


def test_the_least() -> None:
    assert container(SERVER) == {
        "image": "tiny:1",
        "name": "jupyter-ann",
        "command": ["serve"],
        "environment": {"JUPYTERHUB_API_TOKEN": "t", "A": "1"},
        "volumes": ["/home/jovyan"],
        "ports": {"8888/tcp": {}},
        "host_config": {"Binds": ["home:/home/jovyan:rw"], "NetworkMode": "users"},
    }


def test_everything() -> None:
    spec = container(
        replace(
            SERVER,
            publish_on="127.0.0.1",
            mem_limit=2**30,
            cpu_limit=1.5,
            mem_guarantee=2**20,
            cpu_guarantee=0.5,
            extra_create={
                "environment": {"B": "2"},
                "hostname": "notebook",
                "host_config": {"OomScoreAdj": 500},
            },
            extra_host={"cpu_period": 50_000, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
        )
    )
    assert spec == {
        "image": "tiny:1",
        "name": "jupyter-ann",
        "command": ["serve"],
        "environment": {"JUPYTERHUB_API_TOKEN": "t", "A": "1", "B": "2"},
        "hostname": "notebook",
        "volumes": ["/home/jovyan"],
        "ports": {"8888/tcp": {}},
        "host_config": {
            "Binds": ["home:/home/jovyan:rw"],
            "NetworkMode": "users",
            "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "Memory": 2**30,
            "CpuPeriod": 50_000,
            "CpuQuota": 75_000,
            "MemoryReservation": 2**20,
            "CpuShares": 512,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "OomScoreAdj": 500,
        },
    }


def test_extra_settings_have_the_last_word() -> None:
    spec = container(replace(SERVER, mem_limit=1, extra_host={"mem_limit": 2, "network_mode": "other"}))
    assert (spec["host_config"]["Memory"], spec["host_config"]["NetworkMode"]) == (2, "other")


@pytest.mark.parametrize(
    ("settings", "memory", "both"),
    [
        ({"mem_limit": 2**30}, 2**30, 2**30),
        ({"mem_limit": 2**30, "swap": True}, 2**30, None),
        ({}, None, None),
        ({"mem_limit": 2**30, "extra_host": {"mem_limit": "2G"}}, 2**31, 2**31),
        ({"mem_limit": 2**30, "extra_host": {"memswap_limit": "3G"}}, 2**30, 3 * 2**30),
        ({"mem_limit": 2**30, "extra_host": {"memswap_limit": None}}, 2**30, None),
    ],
)
def test_without_swap_the_limit_is_one_of_both(settings: dict[str, Any], memory: int | None, both: int | None) -> None:
    host = container(replace(SERVER, **{"swap": False, **settings}))["host_config"]
    assert (host.get("Memory"), host.get("MemorySwap")) == (memory, both)


def test_merging_goes_deep_and_changes_neither() -> None:
    base, extra = {"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [2]}, "d": 3}
    assert merge(base, extra) == {"a": {"b": 2, "c": [2]}, "d": 3}
    assert base == {"a": {"b": 1, "c": [1]}}


def test_templates_are_filled_wherever_they_are() -> None:
    value = {"labels": {"{username}": ["{username}", 1, ("x{prefix}",)]}}
    namespace = {"username": "ann", "prefix": "p"}
    assert render(value, namespace) == {"labels": {"ann": ["ann", 1, ("xp",)]}}


def test_braces_that_are_no_template_stay() -> None:
    profile = 'seccomp={"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}'
    assert render([profile, "{nobody}", "{}"], {"username": "ann"}) == [profile, "{nobody}", "{}"]


def test_the_hash_disregards_the_token_and_the_name() -> None:
    again = replace(SERVER, name="other", environment={**SERVER.environment, "JUPYTERHUB_API_TOKEN": "new"})
    assert spec_hash(container(again)) == spec_hash(container(SERVER))


def test_the_hash_notices_what_the_server_is_made_of() -> None:
    changed = [
        replace(SERVER, image="tiny:2"),
        replace(SERVER, command=None),
        replace(SERVER, environment={**SERVER.environment, "A": "2"}),
        replace(SERVER, binds={}),
        replace(SERVER, mem_limit=1),
        replace(SERVER, mem_limit=1, swap=False),
        replace(SERVER, cpu_limit=1),
        replace(SERVER, mem_guarantee=1),
        replace(SERVER, cpu_guarantee=1),
        replace(SERVER, network="other"),
        replace(SERVER, extra_host={"cap_drop": ["ALL"]}),
    ]
    hashes = {spec_hash(container(server)) for server in [SERVER, *changed]}
    assert len(hashes) == len(changed) + 1


@given(st.dictionaries(st.text("ABC", min_size=1), st.text()))
def test_the_order_of_variables_does_not_matter(environment: dict[str, str]) -> None:
    backwards = dict(reversed(environment.items()))
    one, other = (container(replace(SERVER, environment=env)) for env in (environment, backwards))
    assert spec_hash(one) == spec_hash(other)


def test_environment_may_be_a_list() -> None:
    assert as_dict(["A=1", "B=x=y", "C"]) == {"A": "1", "B": "x=y", "C": ""}
    assert as_dict(None) == {}
