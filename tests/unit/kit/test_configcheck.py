"""The configuration after hub/config.d: what files dropped is added again; lost homes are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator
from traitlets.config import Config

from dockerspawner import DockerSpawner, SwarmSpawner
from dockyard.hub import configcheck, operatorconfig, web
from dockyard.signin import forms
from support.repo import ROOT

ENVIRON = {
    "COMPOSE_PROJECT_NAME": "lab",
    "USER_PASSWORD": "vXq7-tram-okapi-31",
    "ADMIN_PASSWORD": "c41f9e07b2d85a6630fe1b7d94ac2e58c7d03b96",
    "COOKIE_SECRET": "0f" * 32,
    "PROXY_AUTH_TOKEN": "t" * 40,
    "CRYPT_KEY": "ab" * 32,
    "DOCKER_GID": "0",
    "NOTEBOOK_IMAGE": "lab/notebook:1",
    "CULL_IDLE_AFTER": "3600",
    "SHARED_VOLUMES": "data:/shared/data@class",
    "HUB_TITLE": "Lab",
}
HOME = "{prefix}-home-{username}"
SHARED = "lab-shared-data"
SWARM = {"SPAWNER": "swarm", "BIND_ADDR": "0.0.0.0", "SHARED_VOLUMES": ""}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The hub's configuration with one file of the operator, and what the hub's log says of it."""
    monkeypatch.setattr("dockyard.hub.externalproxy.own_address", lambda proxy: "10.7.0.2")
    # They would hold for all tests after this one.
    monkeypatch.setattr("dockyard.hub.database.reconnect", lambda: None)
    monkeypatch.setattr("dockyard.hub.database.explain", lambda: None)
    monkeypatch.setattr("dockyard.hub.web.limit_bodies", lambda: None)
    monkeypatch.setattr("dockyard.hub.culling.accept_marked_reports", lambda: None)
    monkeypatch.setattr(operatorconfig, "FOLDER", tmp_path)

    def hub(own: str, **environ: str) -> tuple[Any, str]:
        monkeypatch.setattr("os.environ", ENVIRON | environ)
        (tmp_path / "own.py").write_text(own)
        config = Config()
        path = ROOT / "hub/jupyterhub_config.py"
        exec(compile(path.read_text(), path, "exec"), {"get_config": lambda: config})
        return config, capsys.readouterr().err

    return hub


def refusal(hub: Callable[..., Any], own: str, **environ: str) -> str:
    with pytest.raises(SystemExit) as ended:
        hub(own, **environ)
    return str(ended.value)


def volumes(config: Any, cls: type[Any] = DockerSpawner) -> Any:
    return cls(config=config, user=None).volumes


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


def test_what_no_file_touches_stays_and_nothing_is_said(hub: Callable[..., Any]) -> None:
    config, said = hub('c.JupyterHub.active_server_limit = 5\nc.DockerSpawner.volumes["/data"] = "/data"')
    assert said == ""
    assert {HOME: "/home/jovyan", "/data": "/data"}.items() <= volumes(config).items()


@pytest.mark.parametrize(
    "own",
    [
        'c.DockerSpawner.volumes = {"/srv/data": "/home/jovyan/data"}',
        'c.DockerSpawner.volumes = {"jupyterhub-user-{username}": "/home/jovyan/work"}\n'
        'c.DockerSpawner.notebook_dir = "/home/jovyan/work"',
        "c.DockerSpawner.volumes = {}",
        f"del c.DockerSpawner.volumes[{HOME!r}]",
        "c.DockerSpawner.volumes.clear()",
        'c.DockerSpawner.mounts = [{"source": "/x", "target": "/home/jovyan/x"}]\nc.DockerSpawner.volumes = {}',
        'c.DockerSpawner.extra_host_config["binds"] = ["/srv/x:/srv/x"]\nc.DockerSpawner.volumes = {}',
    ],
)
def test_volumes_that_are_replaced_get_the_home_and_what_is_shared_again(hub: Callable[..., Any], own: str) -> None:
    config, said = hub(own)
    found = volumes(config)
    assert found[HOME] == "/home/jovyan"
    assert SHARED in found
    assert f"c.DockerSpawner.volumes was replaced: the kit adds {HOME}" in said


def test_volumes_of_a_subclass_and_of_a_swarm(hub: Callable[..., Any]) -> None:
    own = (
        "from dockerspawner import DockerSpawner\n"
        "class Mine(DockerSpawner): pass\n"
        "c.JupyterHub.spawner_class = Mine\n"
        'c.Mine.volumes = {"/a": "/b"}\n'
    )
    config, said = hub(own)
    assert volumes(config, config.JupyterHub.spawner_class)[HOME] == "/home/jovyan"
    assert "c.Mine.volumes was replaced" in said
    for section in ("DockerSpawner", "SwarmSpawner"):
        config, _ = hub(f'c.{section}.volumes = {{"data": "/data"}}', **SWARM)
        assert volumes(config, SwarmSpawner) == {HOME: "/home/jovyan", "data": "/data"}


@pytest.mark.parametrize(
    "own",
    [
        # Another volume at the home, or above it.
        'c.DockerSpawner.volumes = {"jupyterhub-user-{username}": "/home/jovyan"}',
        'c.DockerSpawner.volumes = {"jupyterhub-user-{username}": {"bind": "/home/jovyan/", "mode": "rw"}}',
        'c.DockerSpawner.volumes = {"homes-{username}": "/home"}',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.read_only_volumes = {"homes": "/home/jovyan"}',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.mounts = [{"source": "h-{username}", "target": "/home/jovyan"}]',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.extra_host_config["binds"] = ["/srv/homes:/home/jovyan:rw"]',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.extra_host_config["binds"] = {"/h": {"bind": "/home/jovyan"}}',
        # A home that is elsewhere, in a volume.
        'c.DockerSpawner.notebook_dir = "/home/rstudio"\nc.DockerSpawner.volumes = {"h-{username}": "/home/rstudio"}',
        f'c.DockerSpawner.notebook_dir = "/work"\nc.DockerSpawner.volumes = {{{HOME!r}: "/work"}}',
        # Containers that are kept.
        "c.DockerSpawner.remove = False\nc.DockerSpawner.volumes = {}",
    ],
)
def test_a_home_that_the_operator_keeps_otherwise_is_left_alone(hub: Callable[..., Any], own: str) -> None:
    config, _ = hub(own, SHARED_VOLUMES="")
    assert volumes(config).get(HOME) != "/home/jovyan"


@pytest.mark.parametrize(
    "own",
    [
        f'c.DockerSpawner.volumes = {{{HOME!r}: "/home/jovyan/work"}}',
        f'c.DockerSpawner.volumes = {{{HOME!r}: "/data"}}',
        f'c.DockerSpawner.volumes = {{{HOME!r}: {{"bind": "/home/jovyan", "groups": ["staff"]}}}}',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.mounts = [{"target": "/home/jovyan", "type": "tmpfs"}]',
        'c.DockerSpawner.volumes = {}\nc.DockerSpawner.mounts = [{"target": "/home/jovyan", "type": "volume"}]',
        'c.DockerSpawner.extra_host_config["tmpfs"] = {"/home/jovyan": ""}',
    ],
)
def test_a_home_in_no_volume_is_refused_with_the_line_to_write(hub: Callable[..., Any], own: str) -> None:
    said = refusal(hub, own)
    assert "c.DockerSpawner has no volume at /home/jovyan" in said
    assert f"Write c.DockerSpawner.volumes['{HOME}'] = '/home/jovyan'" in said
    assert "c.DockerSpawner.remove = False" in said
    hub(f"{own}\nc.DockerSpawner.remove = False")


def test_functions_of_the_operator_are_not_judged(hub: Callable[..., Any]) -> None:
    lost = f'c.DockerSpawner.volumes = {{{HOME!r}: "/data"}}\n'
    hub(f"{lost}c.DockerSpawner.extra_host_config = lambda spawner: {{}}")
    hub(f"{lost}c.DockerSpawner.modify_spec_hook = lambda spawner, spec: spec")
    refusal(hub, f"{lost}c.Spawner.pre_spawn_hook = print")


def test_another_spawner_is_not_judged(hub: Callable[..., Any]) -> None:
    hub('c.JupyterHub.spawner_class = "simple"')
    said = refusal(hub, 'c.JupyterHub.spawner_class = "no.such.Spawner"')
    assert "c.JupyterHub.spawner_class = 'no.such.Spawner' is not a class that the hub can load" in said


def test_a_host_config_that_is_replaced_keeps_its_restrictions(hub: Callable[..., Any]) -> None:
    config, said = hub('c.DockerSpawner.extra_host_config = {"shm_size": "1g", "cap_drop": ["NET_RAW"]}')
    host = DockerSpawner(config=config, user=None).extra_host_config
    assert host["cap_drop"] == ["NET_RAW"]
    assert host["security_opt"] == ["no-new-privileges"]
    assert (host["shm_size"], "pids_limit" in host) == ("1g", True)
    assert "c.DockerSpawner.extra_host_config was replaced: the kit adds security_opt, pids_limit" in said
    config, _ = hub('c.DockerSpawner.extra_host_config = {"log_config": {"type": "journald"}}')
    assert DockerSpawner(config=config, user=None).extra_host_config["log_config"] == {"type": "journald"}
    config, _ = hub('c.DockerSpawner.extra_create_kwargs = {"hostname": "x"}')
    assert DockerSpawner(config=config, user=None).extra_create_kwargs["healthcheck"] == {"test": ["NONE"]}
    config, _ = hub('c.SwarmSpawner.extra_container_spec = {"hostname": "x"}', **SWARM)
    spec = SwarmSpawner(config=config, user=None).extra_container_spec
    assert (spec["cap_drop"], spec["privileges"], spec["hostname"]) == (["ALL"], {"NoNewPrivileges": True}, "x")


def test_an_environment_that_is_replaced_keeps_the_interval_of_reports(hub: Callable[..., Any]) -> None:
    for section in ("Spawner", "DockerSpawner"):
        config, _ = hub(f'c.{section}.environment = {{"A": "b"}}')
        environment = DockerSpawner(config=config, user=None).environment
        assert environment["A"] == "b"
        assert "JUPYTERHUB_ACTIVITY_INTERVAL" in environment
    config, said = hub('c.DockerSpawner.environment["A"] = "b"\nc.Spawner.environment["C"] = "d"')
    assert {"A": "b", "C": "d"}.items() <= DockerSpawner(config=config, user=None).environment.items()
    assert said == ""


def test_the_culler_keeps_its_role_and_its_service(hub: Callable[..., Any]) -> None:
    config, said = hub(
        'c.JupyterHub.load_roles = [{"name": "mine", "scopes": []}]\n'
        'c.JupyterHub.services = [{"name": "report", "api_token": "x"}]'
    )
    assert names(config.JupyterHub.load_roles) == ["mine", "idle-culler"]
    assert names(config.JupyterHub.services) == ["report", "idle-culler"]
    assert said.count("the kit adds idle-culler again") == 2
    config, said = hub('c.JupyterHub.services = [{"name": "idle-culler", "command": ["own"]}]')
    assert (config.JupyterHub.services[0]["command"], len(config.JupyterHub.services)) == (["own"], 1)
    config, _ = hub("c.JupyterHub.services = []", CULL_IDLE_AFTER="0")
    assert config.JupyterHub.services == []


def test_cookies_headers_titles_and_pages_stay(hub: Callable[..., Any]) -> None:
    config, said = hub(
        'c.JupyterHub.tornado_settings = {"headers": {"referrer-policy": "no-referrer", "X-Own": "1"}, "slow": 1}\n'
        'c.JupyterHub.template_vars = {"announcement": "Monday"}\n'
        'c.JupyterHub.template_paths = ["/srv/own"]',
        PUBLIC_URL="https://hub.example.org",
    )
    settings = config.JupyterHub.tornado_settings
    assert settings["cookie_options"] == {"samesite": "Lax", "secure": True}
    assert settings["headers"] == {
        "referrer-policy": "no-referrer", "X-Own": "1", "Server": "JupyterHub", "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    assert config.JupyterHub.template_vars == {"announcement": "Monday", "hub_title": "Lab"}
    assert config.JupyterHub.template_paths == ["/srv/own", "/srv/dockyard/templates"]
    assert "c.JupyterHub.template_vars was replaced: the kit adds hub_title again" in said
    config, _ = hub('c.JupyterHub.tornado_settings = {"cookie_options": {"SameSite": "None", "Secure": True}}')
    assert config.JupyterHub.tornado_settings["cookie_options"] == {"SameSite": "None", "Secure": True}
    # Also within the kit's own dict.
    config, _ = hub('c.JupyterHub.tornado_settings["cookie_options"].clear()')
    assert config.JupyterHub.tornado_settings["cookie_options"] == {"samesite": "Lax"}


def test_all_handlers_of_a_log_mask_secrets(hub: Callable[..., Any]) -> None:
    config, _ = hub(
        'c.JupyterHub.logging_config = {"handlers": {"file": {"class": "logging.FileHandler", "filename": "/tmp/x"}}}'
    )
    found = config.JupyterHub.logging_config
    assert found["filters"] == web.LOGGING["filters"]
    assert found["handlers"]["file"]["filters"] == found["handlers"]["console"]["filters"] == ["masked"]
    assert "file" not in web.LOGGING["handlers"]


def test_an_authenticator_of_the_operator_rejects_forms_of_other_sites(hub: Callable[..., Any]) -> None:
    config, said = hub('c.JupyterHub.authenticator_class = "dummy"\nc.DummyAuthenticator.allow_all = True')
    cls = config.JupyterHub.authenticator_class
    assert issubclass(cls, DummyAuthenticator)
    assert forms.has_own_forms(cls)
    assert cls(config=config).allow_all is True
    assert "rejecting forms of other sites" in said
    assert "is not a class that the hub can load" in refusal(hub, 'c.JupyterHub.authenticator_class = "none.Such"')


@pytest.mark.parametrize(
    "own", ['c.JupyterHub.base_url = "jupyter"', 'c.JupyterHub.bind_url = "http://:8000/jupyter/"']
)
def test_a_hub_below_a_path(hub: Callable[..., Any], own: str) -> None:
    github = {
        "AUTH": "github", "GITHUB_CLIENT_ID": "id", "GITHUB_CLIENT_SECRET": "secret", "ALLOWED_USERS": "ann",
        "PUBLIC_URL": "https://hub.example.org",
    }  # fmt: skip
    config, _ = hub(own, **github)
    assert configcheck.base_url(config) == "/jupyter/"
    assert config.JupyterHub.public_url == "https://hub.example.org/jupyter/"
    assert config.ExternalProxy.extra_routes == {"/jupyter/hub/": "http://10.7.0.2:8081"}
    section = config[config.JupyterHub.authenticator_class.__name__]
    assert section.oauth_callback_url == "https://hub.example.org/jupyter/hub/oauth_callback"
    assert configcheck.base_url(hub("")[0]) == "/"


def test_settings_without_effect_are_named(hub: Callable[..., Any]) -> None:
    _, said = hub('c.Spawner.mem_limit = "9G"\nc.Spawner.default_url = "/x"\nc.Authenticator.admin_users = {"ann"}')
    assert "c.Spawner.mem_limit has no effect, since the kit sets c.DockerSpawner.mem_limit" in said
    assert "c.Authenticator.admin_users has no effect, since the kit sets c.SharedPasswordAuthenticator" in said
    assert "default_url" not in said


class TestTryOut:
    @pytest.fixture
    def loaded(self, hub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
        def loaded(own: str) -> Any:
            monkeypatch.setattr("os.environ", dict(ENVIRON))
            (tmp_path / "own.py").write_text(own)
            return configcheck.try_out(ROOT / "hub/jupyterhub_config.py")

        return loaded

    def test_what_a_file_prints_is_for_people(
        self, loaded: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        config, wrong, unknown = loaded('print("hello")\nc.JupyterHub.base_url = "/x/"')
        assert (configcheck.base_url(config), wrong, unknown) == ("/x/", [], [])
        assert capsys.readouterr().out == ""

    def test_a_file_that_fails(self, loaded: Callable[[str], Any]) -> None:
        _, wrong, unknown = loaded("1 / 0")
        assert (wrong, unknown) == (["hub/config.d/own.py, line 1: ZeroDivisionError: division by zero"], [])
        _, wrong, unknown = loaded("import socket\nsocket.create_connection(('127.0.0.1', 1), 1)")
        assert (wrong, "can't be tried before the hub starts" in unknown[0]) == ([], True)

    def test_values_of_another_type(self, loaded: Callable[[str], Any]) -> None:
        _, (wrong,), _ = loaded('c.DockerSpawner.cpu_limit = "many"')
        assert "cpu_limit" in wrong
        _, (wrong,), _ = loaded('c.JupyterHub.active_server_limit = "many"')
        assert "active_server_limit" in wrong
        assert JupyterHub.initialized() is False

    @pytest.mark.parametrize(
        ("own", "said"),
        [
            (
                'c.JupyterHub.services.append({"name": "a", "url": "http://a", "port": 1})',
                "services keeps the hub from",
            ),
            ('c.JupyterHub.services = [{"url": "http://a"}]', "service spec must have a name"),
            ('c.JupyterHub.load_roles.append({"name": "mine", "scopes": ["nosuch"]})', "Scope 'nosuch' for role mine"),
            ('c.JupyterHub.load_roles += 2 * [{"name": "mine", "scopes": []}]', "Role mine multiply defined"),
            ('c.SharedPasswordAuthenticator.admin_users = {"a/b"}', "username 'a/b' is not valid"),
            ("c.SharedPasswordAuthenticator.admin_users = 5", "'admin_users' trait"),
        ],
    )
    def test_what_the_hub_rejects_at_its_start(self, loaded: Callable[[str], Any], own: str, said: str) -> None:
        _, (wrong,), _ = loaded(own)
        assert said in wrong
        assert wrong.startswith("hub/config.d: ")

    def test_services_and_roles_that_a_database_completes(self, loaded: Callable[[str], Any]) -> None:
        own = (
            'c.JupyterHub.services.append({"name": "mine", "url": "http://a:1", "api_token": "t" * 32})\n'
            'c.JupyterHub.load_roles.append({"name": "mine", "scopes": ["list:users"], "services": ["mine"], '
            '"users": ["unknown"], "groups": ["unknown"]})'
        )
        assert loaded(own)[1:] == ([], [])

    def test_an_authenticator_that_needs_a_network(self, loaded: Callable[[str], Any]) -> None:
        own = (
            "from jupyterhub.auth import Authenticator\nimport socket\nclass Own(Authenticator):\n"
            "    def check_allow_config(self): socket.create_connection(('127.0.0.1', 1), 1)\n"
            "c.JupyterHub.authenticator_class = Own"
        )
        assert loaded(own)[1:] == ([], [])

    def test_a_name_that_no_trait_has_is_a_hint(self, loaded: Callable[[str], Any]) -> None:
        _, wrong, (hint,) = loaded("c.DockerSpawner.volumess = {}")
        assert wrong == []
        assert "`volumess` not recognized by `DockerSpawner`" in hint

    def test_it_has_a_time_limit(self, loaded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        @contextmanager
        def within(seconds: float) -> Iterator[None]:
            assert seconds == configcheck.PATIENCE
            raise operatorconfig.TooSlow("too slow")
            yield

        monkeypatch.setattr(operatorconfig, "within", within)
        assert loaded("")[1:] == (["hub/config.d can't be checked: too slow"], [])
