from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from docker.types import Mount
from hypothesis import given
from hypothesis import strategies as st

from dockerspawner._settings.templates import render
from dockerspawner._start.specs import Server, as_dict, container, merge, spec_hash, without_restarts

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


TMP = {"/tmp": "exec,mode=1777,size=1024"}


@pytest.mark.parametrize(
    ("settings", "tmpfs"),
    [
        ({"tmp_size": None}, None),
        ({"tmp_size": 0}, None),
        ({}, TMP),
        ({"binds": {"cache": {"bind": "/tmp/cache", "mode": "rw"}}}, TMP),
        ({"extra_host": {"tmpfs": {"/scratch": "size=1m"}}}, {**TMP, "/scratch": "size=1m"}),
        ({"extra_host": {"tmpfs": ["/scratch", "/more:size=1m"]}}, {**TMP, "/scratch": "", "/more": "size=1m"}),
        ({"extra_host": {"tmpfs": "/scratch"}}, {**TMP, "/scratch": ""}),
        # What is mounted there by another setting stays.
        ({"binds": {"scratch": {"bind": "/tmp", "mode": "rw"}}}, None),
        ({"mounts": [Mount("/tmp/", "scratch")]}, None),
        ({"extra_host": {"binds": ["/srv/tmp:/tmp"]}}, None),
        ({"extra_host": {"tmpfs": {"/tmp": "size=1m"}}}, {"/tmp": "size=1m"}),
        ({"extra_create": {"host_config": {"Tmpfs": {"/tmp": "size=2m"}}}}, {"/tmp": "size=2m"}),
    ],
)
def test_tmp_size_gives_a_tmpfs_where_nothing_else_is_mounted(settings: dict[str, Any], tmpfs: Any) -> None:
    spec = container(replace(SERVER, **{"tmp_size": 1024, **settings}))
    assert spec["host_config"].get("Tmpfs") == tmpfs


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


@pytest.mark.parametrize(
    "text",
    [
        "{{.Name}}", "{{ .Name }}", "{{- .Name -}}", "{{.ImageName}}/{{.ID}}", "{{.Node.Hostname}}-{{.Task.Slot}}",
        '{{index .Node.Labels "zone"}}', "{{range .Mounts}}{{.Source}}{{end}}", "{{if .X}}a{{else}}b{{ end }}",
        "{{json .}}", "{{.Name | upper}}", "{{$x := .Name}}{{$x}}", "{{/* why */}}",
    ],
)  # fmt: skip
def test_render_actions_of_go_templates_stay(text: str) -> None:
    assert render({"log_config": {"config": {"tag": text}}}, {}) == {"log_config": {"config": {"tag": text}}}
    assert render(f"{{username}}{text}-{{username}}", {"username": "ann"}) == f"ann{text}-ann"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{username}}", "{username}"),
        ("{{{username}}}", "{ann}"),
        ('{{"a": "{username}", "b": [". x"]}}', '{"a": "ann", "b": [". x"]}'),
        ("awk '{{print $1}}' ${{HOME}}", "awk '{print $1}' ${HOME}"),
        ("jq '{{name: .Name}}'", "jq '{name: .Name}'"),
        ("{{{{.Name}}}}", "{{.Name}}"),
        ('{{index .Labels "{username}"}}', '{{index .Labels "ann"}}'),
    ],
)
def test_render_other_double_braces_are_escaped_single_ones(text: str, filled: str) -> None:
    assert render(text, {"username": "ann"}) == filled


HOME = "home:/home/jovyan:rw"
MORE: Any = [
    {"binds": ["/srv/data:/data:ro"]},
    {"binds": {"/srv/data": {"bind": "/data", "mode": "ro"}}},
    {"mounts": [Mount("/data", "/srv/data", type="bind", read_only=True)]},
    {"mounts": [{"target": "/data", "source": "/srv/data", "read_only": True}]},
    {"mounts": [{"Target": "/data", "Source": "/srv/data", "Type": "bind", "ReadOnly": True}]},
]
MOUNT = {"Target": "/data", "Source": "/srv/data", "Type": "bind", "ReadOnly": True}


@pytest.mark.parametrize("extra", MORE)
def test_container_extra_binds_and_mounts_keep_the_configured_ones(extra: dict[str, Any]) -> None:
    mounts = [Mount("/more", "more")]
    for server in (
        replace(SERVER, mounts=mounts, extra_host=extra),
        replace(SERVER, mounts=mounts, extra_create={"host_config": extra}),
        replace(SERVER, mounts=mounts, extra_create={"host_config": {k.title(): v for k, v in extra.items()}}),
    ):
        host = container(server)["host_config"]
        assert host["Binds"] == [HOME, "/srv/data:/data:ro"] or host["Mounts"] == [*mounts, MOUNT]
        assert (host["Binds"][0], host["Mounts"][0]) == (HOME, mounts[0])
        assert not host.keys() & {"binds", "mounts"}


@pytest.mark.parametrize(
    ("extra", "binds", "targets"),
    [
        ({"binds": ["/mine:/home/jovyan/"]}, ["/mine:/home/jovyan/"], ["/more"]),
        ({"binds": {"home": {"mode": "ro"}}}, ["home:/home/jovyan:ro"], ["/more"]),
        ({"binds": {"home": "/again"}}, [HOME, "home:/again:rw"], ["/more"]),
        ({"mounts": [{"target": "/home/jovyan", "source": "mine"}]}, [], ["/more", "/home/jovyan"]),
        ({"binds": ["mine:/more"]}, [HOME, "mine:/more"], None),
        ({"tmpfs": {"/home/jovyan": "size=1m"}}, [], ["/more"]),
        ({"binds": [r"C:\Users\ann:/home/jovyan:rw"]}, [r"C:\Users\ann:/home/jovyan:rw"], ["/more"]),
        ({"binds": ["c:/Users:/data"]}, [HOME, "c:/Users:/data"], ["/more"]),
    ],
)
def test_container_of_two_at_one_target_the_extra_one_counts(
    extra: dict[str, Any], binds: list[str], targets: list[str] | None
) -> None:
    host = container(replace(SERVER, mounts=[Mount("/more", "more")], extra_host=extra))["host_config"]
    assert host["Binds"] == binds
    assert targets == ([mount["Target"] for mount in host["Mounts"]] if "Mounts" in host else None)


def test_container_extra_mount_points_are_added() -> None:
    for volumes in (["/cache"], {"/cache": {}}, "/cache"):
        assert container(replace(SERVER, extra_create={"volumes": volumes}))["volumes"] == ["/home/jovyan", "/cache"]


@pytest.mark.parametrize(
    "extra",
    [{"binds": {"/srv": {"mode": "ro"}}}, {"mounts": [{"source": "x"}]}, {"mounts": [{"target": "/x", "no": 1}]}],
)
def test_container_mistaken_extra_mount_names_the_setting(extra: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"The setting extra_host_config is invalid: entry .* of (binds|mounts)"):
        container(replace(SERVER, extra_host=extra))


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


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, {}),
        ({"RestartPolicy": None}, {}),
        ({"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}, {}),
        ({"RestartPolicy": {"name": "always"}}, {"Name": "always"}),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}, {"Name": "always"}),
        (
            {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
            {"Name": "on-failure", "MaximumRetryCount": 3},
        ),
    ],
)
def test_without_restarts_takes_the_policy_out(given: dict[str, Any], policy: dict[str, Any]) -> None:
    found, rest = without_restarts({"Memory": 1, **given})
    assert found == policy
    assert rest == ({"Memory": 1} if policy else {"Memory": 1, **given})
