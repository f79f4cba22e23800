"""Which files of hub/config.d give servers more than settings and profiles do, and which do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockyard.gate.policy.operators import digest
from dockyard.hub import configcheck, envcheck, operatorconfig
from unit.kit.test_configcheck import ENVIRON, SWARM, hub  # noqa: F401

LIMITS = {"MEM_LIMIT": "2G", "CPU_LIMIT": "1", "PIDS_LIMIT": "1024"}
Hub = Callable[..., Any]

# What operators do most, and what gives servers less.
HARMLESS = {
    "a title": "c.JupyterHub.template_vars['hub_title'] = 'X'",
    "a service": "c.JupyterHub.services.append({'name': 'x', 'url': 'http://x'})",
    "a variable": "c.Spawner.environment['A'] = 'b'",
    "a volume": "c.DockerSpawner.volumes['lab-data'] = '/data'",
    "an address": "c.Spawner.default_url = '/tree'",
    "another root": "c.DockerSpawner.extra_host_config['dns'] = ['192.0.2.1']",
    "the same again": "c.DockerSpawner.mem_limit = '2G'",
    "less memory": "c.Spawner.mem_limit = '1G'",
    "fewer processes": "c.DockerSpawner.extra_host_config['pids_limit'] = 100",
    "a smaller profile": "c.DockerSpawner.profile_list = [{'display_name': 'S', 'docker_override': {'cpu_limit': 1}}]",
    "a smaller group": "c.Spawner.group_overrides = {'a': {'groups': ['x'], 'spawner_override': {'mem_limit': '1G'}}}",
    "a function of the hub": "c.JupyterHub.load_groups = {}\ndef f():\n    pass",
    "a hook after a stop": "c.Spawner.post_stop_hook = lambda spawner: None",
    "an authenticator": "from jupyterhub.auth import DummyAuthenticator\n"
    "c.JupyterHub.authenticator_class = DummyAuthenticator",
}
MORE = {
    "more memory": "c.DockerSpawner.mem_limit = '4G'",
    "more memory for all spawners": "c.DockerSpawner.mem_limit = 4 * 2**30",
    "memory without a limit": "c.DockerSpawner.mem_limit = None",
    "more cores": "c.DockerSpawner.cpu_limit = 2",
    "cores without a limit": "c.DockerSpawner.cpu_limit = None",
    "a greater weight": "c.DockerSpawner.cpu_guarantee = 8",
    "more processes": "c.DockerSpawner.extra_host_config['pids_limit'] = 5000",
    "processes without a limit": "c.DockerSpawner.extra_host_config['pids_limit'] = -1",
    "swap": "c.DockerSpawner.swap = True",
    "a quota": "c.DockerSpawner.extra_host_config['cpu_quota'] = 400_000",
    "the engine's own spelling": "c.DockerSpawner.extra_create_kwargs = {'host_config': {'Memory': 2**40}}",
    "a larger profile": "c.DockerSpawner.profile_list = [{'display_name': 'L', 'docker_override': {'cpu_limit': 2}}]",
    "a larger choice": "c.DockerSpawner.profile_list = [{'display_name': 'L', 'profile_options': {'size': {'choices': "
    "{'l': {'display_name': 'L', 'docker_override': {'cpu_limit': 4}}}}}}]",
    "profiles by code": "c.DockerSpawner.profile_list = lambda spawner: []",
    "a hook": "async def f(spawner):\n    spawner.mem_limit = '4G'\nc.Spawner.pre_spawn_hook = f",
    "a hook of the spawner": "c.DockerSpawner.modify_spec_hook = lambda spawner, spec: spec",
    "a form": "c.Spawner.options_from_form = lambda form, spawner: {}",
    "options of users": "c.Spawner.apply_user_options = {'memory': 'mem_limit'}",
    "a larger group": "c.Spawner.group_overrides = {'a': {'groups': ['x'], 'spawner_override': {'mem_limit': '4G'}}}",
    "a class of its own": "from dockerspawner import DockerSpawner\nclass Own(DockerSpawner):\n    pass\n"
    "c.JupyterHub.spawner_class = Own",
    "an authenticator that prepares spawners": "from jupyterhub.auth import DummyAuthenticator\n"
    "class Own(DummyAuthenticator):\n    def pre_spawn_start(self, user, spawner):\n        spawner.mem_limit = '4G'\n"
    "c.JupyterHub.authenticator_class = Own",
}


@pytest.fixture
def checked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:  # noqa: F811
    """The hash that the check gives for a file of the operator; empty if the file may raise limits."""

    def checked(own: str, **environ: str) -> str:
        config, _ = hub(own, **{**LIMITS, **environ})
        monkeypatch.setattr(configcheck, "try_out", lambda: (config, [], []))
        wrong, _, found = envcheck.own_configuration(tried=True)
        assert wrong == []
        return found

    return checked


@pytest.mark.parametrize("own", HARMLESS.values(), ids=HARMLESS)
def test_files_that_give_no_more_have_a_hash(checked: Callable[..., str], own: str, tmp_path: Path) -> None:
    assert checked(own) == digest(tmp_path) != ""


@pytest.mark.parametrize("own", MORE.values(), ids=MORE)
def test_files_that_may_give_more_have_none(checked: Callable[..., str], own: str) -> None:
    assert checked(own) == ""


def test_a_limit_that_no_setting_has_is_not_raised(checked: Callable[..., str]) -> None:
    assert checked("c.DockerSpawner.cpu_limit = 64", CPU_LIMIT="") != ""


@pytest.mark.parametrize(
    ("own", "gives_more"),
    [
        ("c.SwarmSpawner.mem_limit = '4G'", True),
        ("c.SwarmSpawner.extra_resources_spec = {'pids_limit': 5000}", True),
        ("c.SwarmSpawner.extra_task_spec = {'resources': {}}", True),
        ("c.SwarmSpawner.extra_resources_spec = {'mem_reservation': 2**20}", False),
        ("c.JupyterHub.template_vars['hub_title'] = 'X'", False),
    ],
)
def test_a_swarm_is_judged_alike(checked: Callable[..., str], own: str, gives_more: bool) -> None:
    assert (checked(own, **SWARM) == "") is gives_more


def test_files_that_can_not_be_loaded_have_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.environ", dict(ENVIRON))
    monkeypatch.setattr(operatorconfig, "FOLDER", tmp_path)
    (tmp_path / "own.py").write_text("c.JupyterHub.x = 1")
    monkeypatch.setattr(configcheck, "try_out", lambda: (None, [], ["no network"]))
    assert envcheck.own_configuration(tried=True)[2] == ""
