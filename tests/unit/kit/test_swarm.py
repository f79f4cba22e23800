"""The settings of a swarm: the same sheet as on one host, what it says of a swarm, and what a swarm can't do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dockyard.hub import envcheck, start
from dockyard.settings import envfile
from dockyard.settings.fields import Settings
from dockyard.settings.sources import Mistakes
from dockyard.signin.choice import load
from support.repo import ROOT

SHEET = {
    "BIND_ADDR": "0.0.0.0",
    "USER_PASSWORD": "user-secret-value",
    "ADMIN_PASSWORD": "admin-secret-value-of-more-than-32-characters",
    "COOKIE_SECRET": "ab" * 32,
    "PROXY_AUTH_TOKEN": "proxy-secret-value-of-more-than-32-characters",
    "DOCKER_GID": "999",
}
SWARM = SHEET | {"SPAWNER": "swarm"}


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    environ: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.setattr(envfile, "SECRETS", tmp_path)
    return environ


def said_of(environ: dict[str, str], sheet: dict[str, str]) -> list[str]:
    environ.update(sheet)
    with pytest.raises(Mistakes) as caught:
        load()
    return caught.value.lines


def test_one_sheet_serves_both(environ: dict[str, str]) -> None:
    environ.update(SHEET)
    assert load().spawner == "docker"
    environ["SPAWNER"] = "swarm"
    assert load().spawner == "swarm"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BIND_ADDR": "127.0.0.1"}, "BIND_ADDR has no effect on a swarm, which publishes ports on all addresses"),
        ({"BIND_ADDR": ""}, "BIND_ADDR has no effect on a swarm"),
        ({"CULL_ACTION": "sleep"}, "CULL_ACTION is for one host, because a swarm can't pause servers"),
        ({"NETWORK_ISOLATION": "per-user"}, "NETWORK_ISOLATION is for one host, where networks are made in no time"),
        ({"SHARED_VOLUMES": "data:/data"}, "SHARED_VOLUMES would be other volumes on each node of a swarm"),
        ({"HOME_DRIVER_OPTS": "type=nfs"}, "HOME_DRIVER_OPTS are options of HOME_DRIVER, which is not set"),
        ({"HOME_DRIVER": "local", "HOME_DRIVER_OPTS": "type=nfs,o=addr=a,rw"}, "HOME_DRIVER_OPTS has 'rw', which is"),
        ({"HOME_DRIVER": "local", "HOME_DRIVER_OPTS": "typ=nfs"}, "HOME_DRIVER_OPTS knows type, o and device with"),
        ({"HOME_DRIVER": "x", "HOME_DRIVER_OPTS": '"a=b'}, "HOME_DRIVER_OPTS has double quotes"),
        ({"HOME_DRIVER": "x", "HOME_DRIVER_OPTS": "dir={user}"}, "HOME_DRIVER_OPTS knows {prefix}, {username} and"),
        ({"HOME_SCOPE": "all"}, "HOME_SCOPE should be 'auto', 'node' or 'swarm'"),
        ({"FENCE_AFTER": "5"}, "FENCE_AFTER should be greater than or equal to 10"),
        ({"REGISTRY": "https://registry.test/lab"}, "REGISTRY is not of the form"),
        ({"REGISTRY": "registry.test/lab/"}, "REGISTRY is not of the form"),
        ({"REGISTRY_AUTH_FILE": "config.json"}, "REGISTRY_AUTH_FILE must be an absolute path"),
        ({"USERS_SUBNET": "10.1.2.3/16"}, "USERS_SUBNET must be an IPv4 network, such as 10.96.0.0/16"),
        ({"SPAWNER": "kubernetes"}, "SPAWNER should be 'docker' or 'swarm'"),
        ({"PULL_POLICY": "always"}, "PULL_POLICY is for one host: remove it; on a swarm, each node pulls"),
        ({"PULL_POLICY": "never"}, "PULL_POLICY is for one host: remove it; on a swarm, each node pulls"),
        ({"TMP_SIZE": "512M"}, "TMP_SIZE is for one host: remove it; on a swarm, /tmp is on the disk of each node"),
        ({"SPAWNER": "docker", "HOME_DRIVER": "local"}, "HOME_DRIVER is for a swarm: remove it"),
        ({"SPAWNER": "docker", "HOME_SCOPE": "swarm"}, "HOME_SCOPE is for a swarm and has no effect on one host"),
        ({"SPAWNER": "docker", "FENCE_AFTER": "60"}, "FENCE_AFTER is for a swarm and has no effect on one host"),
        ({"SPAWNER": "docker", "REGISTRY": "r.test/lab"}, "REGISTRY is for a swarm and has no effect on one host"),
        (
            {"SPAWNER": "docker", "USERS_SUBNET": "10.96.0.0/16"},
            "USERS_SUBNET is for a swarm and has no effect on one host: remove it; on one host, the engine chooses the",
        ),
    ],
)
def test_a_mistake_names_the_variable_and_the_mend(environ: dict[str, str], given: dict[str, str], said: str) -> None:
    (line,) = said_of(environ, SWARM | given)
    assert line.startswith(said)


@pytest.mark.parametrize("size", ["", "1G", "0"])
def test_a_tmp_size_that_promises_nothing_passes_on_a_swarm(environ: dict[str, str], size: str) -> None:
    environ.update(SWARM | {"TMP_SIZE": size})
    assert load().spawner == "swarm"


def test_what_is_wrong_on_a_swarm_hides_nothing_else(environ: dict[str, str]) -> None:
    given = {"BIND_ADDR": "127.0.0.1", "CULL_ACTION": "sleep", "SHARED_VOLUMES": "data:/data", "AUTH": "githb"}
    lines = said_of(environ, SWARM | given)
    assert {line.split()[0] for line in lines} == set(given)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            "type=nfs,o=addr=10.0.0.1,device=:/homes/{username}",
            {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/homes/{username}"},
        ),
        (
            'type=nfs,"o=addr=10.0.0.1,rw,nfsvers=4",device=:/homes',
            {"type": "nfs", "o": "addr=10.0.0.1,rw,nfsvers=4", "device": ":/homes"},
        ),
        ("", {}),
    ],
)
def test_options_of_a_driver_are_spelt_as_docker_spells_them(
    environ: dict[str, str], text: str, options: dict[str, str]
) -> None:
    environ.update(SWARM | {"HOME_DRIVER": "local", "HOME_DRIVER_OPTS": text})
    assert load().home_driver_opts == options


@pytest.mark.parametrize("registry", ["registry.test", "localhost:5000/lab", "ghcr.io/acme/hub-kit"])
def test_places_of_images(environ: dict[str, str], registry: str) -> None:
    environ.update(SWARM | {"REGISTRY": registry})
    assert load().registry == registry


def test_the_checker_is_told_that_it_is_for_a_swarm(environ: dict[str, str]) -> None:
    sheet = "\n".join(f"{name}={value}" for name, value in SHEET.items()) + "\nCULL_ACTION=sleep\n"
    environ["SPAWNER"] = "swarm"
    assert [line.split()[0] for line in envcheck.check(sheet)] == ["CULL_ACTION"]


PRIVATE = "\n".join(f"{name}={value}" for name, value in SHEET.items()) + "\nREGISTRY_AUTH_FILE=/etc/lab/auth.json\n"
AUTHS = '{"auths": {"registry.test": {"auth": "YWRhOnB3"}}}'


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        (AUTHS, True),
        ('{"auths": {"registry.test": {}}, "credsStore": "desktop"}', False),
        ('{"credsStore": "desktop"}', False),
        ("[]", False),
        ("user:password", False),
        ('{"auths": {"registry.test": "x"}}', False),
        ('{"auths": {"registry.test": {"auth": ""}}}', False),
    ],
)
@pytest.mark.parametrize("place", ["docker", "swarm"])
def test_credentials_have_to_be_in_the_file(
    environ: dict[str, str], tmp_path: Path, text: str, is_good: bool, place: str
) -> None:
    (tmp_path / "registry_auth").write_text(text)
    environ["SPAWNER"] = place
    said = [] if is_good else ["REGISTRY_AUTH_FILE /etc/lab/auth.json contains no credentials"]
    assert [line.split(":")[0] for line in envcheck.check(PRIVATE)] == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AUTHS[:-1] + ', "credsStore": "desktop"}', "names credsStore, a program that the hub lacks"),
        (AUTHS[:-1] + ', "credHelpers": {"gcr.io": "gcloud"}}', "names credHelpers, a program that the hub lacks"),
        (AUTHS[:-1] + ', "proxies": {"default": {}}}', "contains proxies, which users' servers would get"),
        (None, "cannot be read by the hub's user (No such file or directory)"),
    ],
)
def test_credentials_that_the_hub_cannot_use_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "registry_auth").write_text(text)
    (line,) = envcheck.check(PRIVATE)
    assert line.startswith(f"REGISTRY_AUTH_FILE /etc/lab/auth.json {said}")


class TestSecret:
    """On a swarm `.env` reaches the hub as one secret."""

    def test_its_values_are_the_environment(self, environ: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "env").write_text("HUB_TITLE='a $ and a #'\nMEM_LIMIT=1G\n")
        environ["MEM_LIMIT"] = "2G"
        start.take(tmp_path / "env")
        assert environ["HUB_TITLE"] == "a $ and a #"
        assert environ["MEM_LIMIT"] == "2G", "what the stack file sets goes before"

    def test_secrets_in_files_are_secrets_of_the_swarm(self, environ: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "env").write_text("USER_PASSWORD_FILE=/etc/lab/password\nPROFILES_FILE=/etc/lab/profiles.yaml\n")
        start.take(tmp_path / "env")
        assert environ["USER_PASSWORD_FILE"] == f"{tmp_path}/user_password"
        assert environ["PROFILES_FILE"] == "/etc/lab/profiles.yaml"

    def test_a_line_that_is_read_in_several_ways_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "env").write_text("USER_PASSWORD=a$b\n")
        with pytest.raises(Mistakes, match="Line 1, USER_PASSWORD, holds blanks"):
            start.take(tmp_path / "env")

    def test_there_is_none_on_one_host(self, environ: dict[str, str], tmp_path: Path) -> None:
        before = dict(environ)
        start.take(tmp_path / "env")
        assert environ == before


def test_every_setting_of_a_swarm_is_in_the_example() -> None:
    swarm = [name for name, field in Settings.model_fields.items() if "swarm" in str(field.json_schema_extra)]
    assert {"home_driver", "home_driver_opts", "registry", "fence_after"} <= {*swarm}
    assert all(f"#{name.upper()}=" in envfile.example() for name in swarm)


@pytest.mark.parametrize("secret", ["ab" * 32, f"{'ab' * 32}\n"])
def test_the_gates_token_is_an_hmac_of_the_cookie_secret(secret: str) -> None:
    """As `openssl dgst -sha256 -hmac` has it, with or without a line end after the secret."""
    command = [sys.executable, ROOT / "scripts/gate_token.py"]
    token = subprocess.run(command, input=secret, capture_output=True, text=True, check=True).stdout
    assert token == "8cf83170b301500593d367272e6efb391382e686df3816f45c23bef6b1f79fb2\n"
