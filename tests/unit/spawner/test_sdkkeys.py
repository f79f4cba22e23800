"""Settings for the Docker SDK: messages about unknown keys and wrong values."""

from __future__ import annotations

from typing import Any

import pytest

from dockerspawner import SwarmSpawner
from dockerspawner._settings import sdk_keys
from dockerspawner._start.specs import Server, container
from support.fake_engine import FakeClient, api_error, fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner

HOST, CREATE = "extra_host_config", "extra_create_kwargs"


def mistake(setting: str, given: Any, places: sdk_keys.Places = sdk_keys.CONTAINER) -> str:
    with pytest.raises(sdk_keys.Mistake) as found:
        sdk_keys.check(setting, given, places)
    return str(found.value)


@pytest.mark.parametrize(
    ("setting", "key", "advice"),
    [
        (HOST, "cpus", 'use the setting cpu_limit or "nano_cpus"'),
        (HOST, "memory", 'use the setting mem_limit or "mem_limit"'),
        (HOST, "gpus", 'use the setting gpus or "device_requests"'),
        (HOST, "shm-size", 'the nearest known key is "shm_size"'),
        (HOST, "--shm-size", 'the nearest known key is "shm_size"'),
        (HOST, "cap-add", 'the nearest known key is "cap_add"'),
        (HOST, "device", 'the nearest known key is "devices"'),
        (HOST, "net", 'use the setting network_name or "network_mode"'),
        (HOST, "volumes", 'use the setting volumes or "binds"'),
        (HOST, "restart", 'use "restart_policy"'),
        (HOST, "memory-swap", 'use "memswap_limit"'),
        (HOST, "CpuQuota", 'the nearest known key is "cpu_quota"'),
        (HOST, "Memory", 'use the setting mem_limit or "mem_limit"'),
        (HOST, "NanoCPUs", 'the nearest known key is "nano_cpus"'),
        (HOST, "MaskedPaths", 'spelling is allowed in extra_create_kwargs["host_config"]'),
        (HOST, "privilegd", 'the nearest known key is "privileged"'),
        (HOST, "hostname", 'use "hostname" in extra_create_kwargs'),
        (HOST, "version", "no known key is similar"),
        (HOST, 7, "no known key is similar"),
        (CREATE, "volume_driver", 'use "volume_driver" in extra_host_config'),
        (CREATE, "env", 'use the setting environment or "environment"'),
        (CREATE, "workdir", 'use "working_dir"'),
        (CREATE, "StopTimeout", 'the nearest known key is "stop_timeout"'),
    ],
)
def test_check_unknown_key_of_a_container_names_setting_key_and_what_was_meant(
    setting: str, key: Any, advice: str
) -> None:
    found = mistake(setting, {key: "x"})
    assert found.startswith(f'Unknown key "{key}" in the setting {setting}: ')
    assert found.endswith(advice)


@pytest.mark.parametrize(
    ("setting", "key", "advice"),
    [
        (CREATE, "user", 'use "user" in extra_container_spec'),
        (CREATE, "working_dir", 'use "workdir" in extra_container_spec'),
        (CREATE, "environment", "use the setting environment"),
        (CREATE, "host_config", "use the setting extra_container_spec"),
        ("extra_container_spec", "memory", 'use the setting mem_limit or "mem_limit" in extra_resources_spec'),
        ("extra_resources_spec", "cpus", "use the setting cpu_limit"),
        ("extra_placement_spec", "constraint", 'the nearest known key is "constraints"'),
        ("extra_task_spec", "restart", 'use "restart_policy"'),
        ("extra_endpoint_spec", "publish", "known keys are mode, ports"),
    ],
)
def test_check_unknown_key_of_a_service_names_setting_key_and_what_was_meant(
    setting: str, key: str, advice: str
) -> None:
    found = mistake(setting, {key: "x"}, sdk_keys.SERVICE)
    assert found.startswith(f'Unknown key "{key}" in the setting {setting}: ')
    assert found.endswith(advice)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ulimits": [{"nofile": 65536}]}, 'Unknown key "nofile" in "ulimits" of the setting'),
        ({"ulimits": {"nofile": 65536}}, '[{"name": "nofile", "soft": 65536, "hard": 65536}]'),
        ({"log_config": {"driver": "syslog"}}, '{"type": "json-file", '),
        ({"restart_policy": "always"}, "Wrong value 'always' for \"restart_policy\""),
        ({"restart_policy": {"Name": "always", "retries": 3}}, 'Unknown key "retries"'),
        ({"mem_limit": "2 gigs"}, "Wrong value '2 gigs' for \"mem_limit\""),
        ({"mem_limit": "2x"}, 'it takes bytes, such as 2147483648, or "2g"'),
        ({"devices": "/dev/fuse"}, '["/dev/fuse:/dev/fuse:rwm"]'),
        ({"devices": [7]}, '["/dev/fuse:/dev/fuse:rwm"]'),
        ({"group_add": "users"}, '["users"]'),
        ({"pids_limit": "512"}, "expected int but found str"),
        ({"security_opt": "no-new-privileges"}, '["no-new-privileges"]'),
        ({"tmpfs": "/tmp"}, '{"/tmp": "size=64m"}'),
        ({"port_bindings": ["80:80"]}, '{8888: ("127.0.0.1", 8000)}'),
        ({"cpu_period": "long"}, "\"cpu_period\""),
        ([], "must be a dict"),
    ],
)  # fmt: skip
def test_container_wrong_value_names_setting_key_and_an_example(given: Any, why: str) -> None:
    def made() -> None:
        sdk_keys.check(HOST, given, sdk_keys.CONTAINER)
        container(Server("tiny", "ann", None, {}, 8888, "users", cpu_limit=1.0, extra_host=given))

    with pytest.raises(sdk_keys.Mistake) as found:
        made()
    assert "the setting extra_host_config" in str(found.value).replace("The setting", "the setting")
    assert why in str(found.value)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            "json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Dns of type []string",
            'Wrong value for "dns" in the setting extra_host_config: it takes a list',
        ),
        (
            "json: cannot unmarshal string into Go struct field .HostConfig.Privileged of type bool",
            'Wrong value for "privileged" in the setting extra_host_config: it takes True or False',
        ),
        (
            "json: cannot unmarshal string into Go struct field C.Config.Healthcheck.Interval of type time.Duration",
            'Wrong value for "healthcheck" in the setting extra_create_kwargs: '
            'it takes {"test": ["CMD", "true"], "interval": 30_000_000_000}',
        ),
        ("invalid mount config", ""),
    ],
)
def test_wrong_form_of_a_refusal_names_the_setting(refusal: str, sentence: str) -> None:
    assert sdk_keys.wrong_form(refusal, sdk_keys.CONTAINER) == sentence


def test_container_environment_as_a_list_keeps_the_servers_own() -> None:
    spec = container(Server("tiny", "ann", None, {"TOKEN": "t"}, 8888, "users", extra_create={"environment": ["A=1"]}))
    assert spec["environment"] == {"TOKEN": "t", "A": "1"}


async def failure_of(client: Any, **settings: Any) -> str:
    spawner = make_spawner(engine=fake_engine(client), **{"image": "tiny", "network_name": "users", **settings})
    with pytest.raises(Exception) as failed:  # noqa: PT011  # HTTPError in JupyterHub 5, SpawnException in 6
        await spawner.start()
    error: Any = failed.value
    assert error.reason == "settings"
    assert error.jupyterhub_message.endswith(" Please contact an administrator.")
    return str(error.jupyterhub_message)


async def test_start_an_unknown_key_fails_before_anything_is_created() -> None:
    for given in ({"cpus": 2}, lambda spawner: {"cpus": 2}):
        client = FakeClient()
        assert 'Unknown key "cpus" in the setting extra_host_config' in await failure_of(
            client, extra_host_config=given
        )
        assert "create_container" not in client.calls


async def test_start_a_host_config_in_the_sdks_spelling_is_warned_of(port: int, caplog: Any) -> None:
    given = {"host_config": {"mem_limit": "1g", "OomScoreAdj": 500}}
    spawner = make_spawner(
        engine=fake_engine(FakeClient()), image="tiny", port=port, network_name="users", extra_create_kwargs=given
    )
    spawner.log.propagate = True
    await spawner._create_kwargs()
    assert "Docker ignores mem_limit in host_config of extra_create_kwargs" in caplog.text


async def test_start_a_hooks_unknown_argument_is_named() -> None:
    def hook(spawner: Any, spec: dict[str, Any]) -> None:
        spec["hostnam"] = "x"

    assert 'modify_spec_hook returned an unknown argument "hostnam"' in await failure_of(
        FakeClient(), modify_spec_hook=hook
    )
    assert "modify_spec_hook returned list" in await failure_of(FakeClient(), modify_spec_hook=lambda *args: [1])


async def test_start_what_the_engine_refuses_for_its_form_names_the_setting() -> None:
    client = FakeClient()
    message = "json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Dns of type []string"
    client.fail["create_container"] = [api_error(400, message)]
    assert 'Wrong value for "dns" in the setting extra_host_config' in await failure_of(
        client, extra_host_config={"dns": "10.0.0.1"}
    )


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("extra_create_kwargs", {"user": "root"}, 'use "user" in extra_container_spec'),
        ("extra_container_spec", {"usr": "root"}, 'the nearest known key is "user"'),
        ("extra_container_spec", {"labels": "x"}, "extra_container_spec"),
        ("extra_resources_spec", {"cpus": 2}, "cpu_limit"),
        ("extra_resources_spec", {"mem_limit": "2g"}, "it takes a number"),
        ("extra_placement_spec", {"constraints": "node.role==worker"}, '["node.labels.gpu==1"]'),
        ("extra_task_spec", {"networks": "users"}, "extra_task_spec"),
        ("extra_endpoint_spec", {"port": 1}, '"ports"'),
        ("extra_endpoint_spec", {"ports": 7}, "extra_endpoint_spec"),
    ],
)
async def test_start_a_services_mistake_names_setting_and_key(setting: str, value: Any, why: str) -> None:
    swarm = FakeSwarm()
    message = await failure_of(swarm, cls=SwarmSpawner, **{setting: value})
    assert f"the setting {setting}" in message
    assert why in message
    assert swarm.asked == []
