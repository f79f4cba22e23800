"""jupyterhub_config.py: every setting reaches its trait, and the traits exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.crypto import CryptKeeper
from traitlets.config import Config

from dockerspawner import DockerSpawner, SwarmSpawner
from dockyard.hub import names
from dockyard.hub.externalproxy import ExternalProxy
from support.repo import ROOT

ENVIRON = {
    "COMPOSE_PROJECT_NAME": "lab",
    "PUBLIC_URL": "https://hub.example.org/",
    "HUB_TITLE": "Lab",
    "LOGO_FILE": "/srv/logo.png",
    "CRYPT_KEY": "ab" * 32,
    "USER_PASSWORD": "user-secret-value",
    "ADMIN_PASSWORD": "0123456789abcdef-admin-secret-value-40",
    "ADMIN_USERS": "ada,grace",
    "COOKIE_SECRET": "0f" * 32,
    "PROXY_AUTH_TOKEN": "t" * 40,
    "DOCKER_GID": "0",
    "NOTEBOOK_IMAGE": "lab/notebook:1",
    "ALLOWED_IMAGES": "lab/other:1, lab/third:2",
    "PULL_POLICY": "always",
    "MEM_LIMIT": "3G",
    "CPU_LIMIT": "1.5",
    "PIDS_LIMIT": "77",
    "START_TIMEOUT": "33",
    "NAMED_SERVERS": "true",
    "HOME_VOLUME": "{prefix}-files-{username}",
    "HOME_PATH": "/home/rstudio",
    "LOG_LEVEL": "WARNING",
    "SHARED_VOLUMES": "data:/data:ro@class",
    "DELETE_DATA_WITH_USER": "true",
    "NETWORK_ISOLATION": "per-user",
    "USER_SUBNET_POOL": "10.9.0.0/20,10.9.16.0/24",
    "USER_DNS": "10.9.0.2,fd00::2",
    "ALLOW_INTERNET": "false",
    "GPUS": "2",
    "MEM_GUARANTEE": "512M",
    "CPU_GUARANTEE": "0.5",
    "TMP_SIZE": "512M",
    "CULL_IDLE_AFTER": "3600",
    "CULL_ACTION": "sleep",
    "MAX_SLEEPING": "7",
    "SLEEP_MAX_AGE": "86400",
    "DB_URL": "postgresql://hub:secret@db.test/hub",
}
LOG = {"max-size": "10m", "max-file": "2"}
OPEN_FILES = {"name": "nofile", "soft": 4096, "hard": 4096}
SWARM = {
    "SPAWNER": "swarm",
    "BIND_ADDR": "0.0.0.0",
    "PULL_POLICY": "",
    "TMP_SIZE": "",
    "CULL_ACTION": "stop",
    "SHARED_VOLUMES": "",
    "NETWORK_ISOLATION": "shared",
    "ALLOW_INTERNET": "true",
    "HOME_DRIVER": "local",
    "HOME_DRIVER_OPTS": "type=nfs,o=addr=10.0.0.1,device=:/homes/{username}",
    "HOME_SCOPE": "swarm",
    "FENCE_AFTER": "60",
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The configuration of an environment."""
    monkeypatch.setattr("dockyard.hub.externalproxy.own_address", lambda proxy: "10.7.0.2")
    # They would hold for all tests after this one.
    monkeypatch.setattr("dockyard.hub.database.reconnect", lambda: None)
    monkeypatch.setattr("dockyard.hub.web.limit_bodies", lambda: None)
    monkeypatch.setattr("dockyard.hub.culling.accept_marked_reports", lambda: None)
    monkeypatch.setattr("dockyard.settings.machine.open_files", lambda: 4096)
    monkeypatch.setattr("dockyard.hub.names.remember", lambda network: None)

    def given(environ: dict[str, str]) -> Any:
        monkeypatch.setattr("os.environ", dict(environ))
        config = Config()
        path = ROOT / "hub/jupyterhub_config.py"
        exec(compile(path.read_text(), path, "exec"), {"get_config": lambda: config})
        return config

    return given


@pytest.fixture
def config(given: Callable[..., Any]) -> Any:
    return given(ENVIRON)


def test_settings_reach_their_traits(config: Any) -> None:
    spawner = config.DockerSpawner
    assert (spawner.instance, spawner.prefix, spawner.network_name) == ("lab", "lab", "lab_users")
    assert (spawner.image, spawner.pull_policy) == ("lab/notebook:1", "always")
    assert spawner.allowed_images == ["lab/notebook:1", "lab/other:1", "lab/third:2"]
    assert (spawner.mem_limit, spawner.cpu_limit) == (3 * 2**30, 1.5)
    assert spawner.swap is False
    assert spawner.extra_host_config["pids_limit"] == 77
    assert spawner.volumes == {
        "{prefix}-files-{username}": "/home/rstudio",
        "lab-shared-data": [{"bind": "/data", "mode": "ro", "groups": ["class"]}],
    }
    assert spawner.notebook_dir == "/home/rstudio"
    assert "HOME_PATH={home}" in spawner.home_advice
    assert (spawner.volume_owner, spawner.delete_policy, spawner.gpus) == ("1000:100", "delete", 2)
    assert (spawner.mem_guarantee, spawner.cpu_guarantee) == (512 * 2**20, 0.5)
    assert spawner.tmp_size == 512 * 2**20
    assert (spawner.stop_action, spawner.remove) == ("pause", False)
    assert (spawner.max_sleeping, spawner.pause_max_age) == (7, 86400)
    assert (spawner.network_isolation, spawner.allow_internet) == ("per-user", False)
    assert spawner.user_subnet_pool == ["10.9.0.0/20", "10.9.16.0/24"]
    assert spawner.attached_containers == ["com.docker.compose.project=lab,com.docker.compose.service=proxy"]
    assert spawner.block_link_local is True
    assert spawner.start_check is names.check
    assert spawner.extra_host_config["dns"] == ["10.9.0.2", "fd00::2"]
    assert config.Spawner.start_timeout == 33
    assert config.JupyterHub.allow_named_servers is True
    assert config.JupyterHub.public_url == "https://hub.example.org"
    assert config.JupyterHub.log_level == "WARNING"
    assert config.JupyterHub.db_url == "postgresql+psycopg://hub:secret@db.test/hub"
    assert config.JupyterHub.db_kwargs["pool_pre_ping"] is True
    assert config.JupyterHub.cookie_secret == bytes.fromhex("0f" * 32)
    assert config.ExternalProxy.auth_token == "t" * 40
    assert config.SharedPasswordAuthenticator.admin_users == {"ada", "grace"}
    assert config.JupyterHub.logo_file == "/srv/logo.png"
    assert config.JupyterHub.template_vars == {"hub_title": "Lab"}
    assert config.CryptKeeper["keys"] == [bytes.fromhex("ab" * 32)]
    assert config.SharedPasswordAuthenticator.user_password == "user-secret-value"
    assert config.SharedPasswordAuthenticator.admin_password == "0123456789abcdef-admin-secret-value-40"


def test_the_same_settings_on_a_swarm(config: Any, given: Callable[..., Any]) -> None:
    assert config.JupyterHub.spawner_class == "docker"
    config = given(ENVIRON | SWARM)
    assert config.JupyterHub.spawner_class == "docker-swarm"
    spawner = SwarmSpawner(config=config, user=None)
    assert (spawner.image, spawner.mem_limit, spawner.network_name) == ("lab/notebook:1", 3 * 1024**3, "lab_users")
    assert (spawner.extra_host_config, spawner.pull_policy, spawner.volume_owner) == ({}, "skip", "")
    assert spawner.extra_resources_spec == {"pids_limit": 77}
    assert spawner.extra_task_spec == {"log_driver": {"Name": "json-file", "Options": LOG}}
    assert (spawner.extra_create_kwargs, spawner.tmp_size, spawner.start_check) == ({}, None, None)
    assert spawner.extra_container_spec == {
        "cap_drop": ["ALL"],
        "privileges": {"NoNewPrivileges": True},
        "dns_config": {"Nameservers": ["10.9.0.2", "fd00::2"]},
        "ulimits": [OPEN_FILES],
    }
    assert (spawner.network_isolation, spawner.block_link_local) == ("shared", True)
    assert spawner.volume_driver == "local"
    assert spawner.volume_driver_options["device"] == ":/homes/{username}"
    assert (spawner.volume_scope, spawner.fence_after, spawner.fence_contacts) == ("swarm", 60, ["proxy:8000"])


def test_a_server_can_fill_neither_disk_nor_memory_of_the_machine(config: Any, given: Callable[..., Any]) -> None:
    spawner = config.DockerSpawner
    assert spawner.extra_host_config["log_config"] == {"type": "json-file", "config": LOG}
    assert spawner.extra_host_config["ulimits"] == [OPEN_FILES]
    assert spawner.extra_host_config["oom_score_adj"] == 500
    assert spawner.extra_create_kwargs == {"healthcheck": {"test": ["NONE"]}}
    assert given({**ENVIRON, "TMP_SIZE": ""}).DockerSpawner.tmp_size == 2**30
    assert given(ENVIRON | {"TMP_SIZE": "0"}).DockerSpawner.tmp_size is None


def test_hosts_of_their_own(config: Any, given: Callable[..., Any]) -> None:
    assert config.JupyterHub.subdomain_host == ""
    assert config.ExternalProxy.extra_routes == {"/hub/": "http://10.7.0.2:8081"}
    config = given(ENVIRON | {"SUBDOMAINS": "true"})
    assert config.JupyterHub.subdomain_host == "https://hub.example.org"
    assert config.ExternalProxy.extra_routes == {"hub.example.org/hub/": "http://10.7.0.2:8081"}


def test_the_proxy_finds_the_hub_by_address_and_servers_by_name(config: Any, given: Callable[..., Any]) -> None:
    assert config.JupyterHub.hub_connect_url == "http://10.7.0.2:8081"
    assert config.Spawner.hub_connect_url == "http://hub:8081"
    assert given(ENVIRON | SWARM).JupyterHub.hub_connect_url == "http://hub:8081"


def test_every_trait_that_is_set_exists(config: Any) -> None:
    classes = [JupyterHub, DockerSpawner, SwarmSpawner, ExternalProxy, SharedPasswordAuthenticator, CryptKeeper]
    known = {parent.__name__: cls for cls in classes for parent in cls.__mro__}
    for section, values in config.items():
        for trait in values:
            assert known[section].class_traits(config=True).get(trait), f"c.{section}.{trait}"


def test_wrong_settings_end_the_hub_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {**ENVIRON, "MEM_LIMIT": "lots", "USER_PASSWORD": ""})
    path = ROOT / "hub/jupyterhub_config.py"
    with pytest.raises(SystemExit) as ended:
        exec(compile(path.read_text(), path, "exec"), {"get_config": Config})
    assert "USER_PASSWORD is not set" in str(ended.value)
    assert "MEM_LIMIT" in str(ended.value)
