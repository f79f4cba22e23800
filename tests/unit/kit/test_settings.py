"""Every setting: its values, its mistakes, and its secrets, which never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from loading import load
from reading import Mistakes
from rules import overlays_of
from settings import Settings

REQUIRED = {
    "USER_PASSWORD": "user-secret-value",
    "ADMIN_PASSWORD": "admin-secret-value-of-more-than-32-characters",
    "COOKIE_SECRET": "ab" * 32,
    "PROXY_AUTH_TOKEN": "proxy-secret-value-of-more-than-32-characters",
    "DOCKER_GID": "999",
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def mistakes() -> list[str]:
    with pytest.raises(Mistakes) as caught:
        load()
    return caught.value.lines


def test_the_required_ones_are_enough(environ: pytest.MonkeyPatch) -> None:
    settings = load()
    assert settings.port == 8000
    assert settings.bind_addr == "127.0.0.1"
    assert settings.admin_users == ()
    assert settings.cpu_limit is None
    assert settings.named_servers is False
    assert settings.user_password.get_secret_value() == "user-secret-value"


def test_values_are_read(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("ADMIN_USERS", "ada, grace ,")
    environ.setenv("CPU_LIMIT", "0.5")
    environ.setenv("NAMED_SERVERS", "TRUE")
    environ.setenv("USER_PASSWORD", "a b$c#d'e\"f\\g")
    settings = load()
    assert settings.admin_users == ("ada", "grace")
    assert settings.cpu_limit == 0.5
    assert settings.named_servers is True
    assert settings.user_password.get_secret_value() == "a b$c#d'e\"f\\g"


@pytest.mark.parametrize("given", ["https://Hub.Example.org", "https://hub.example.org/", "https://hub.example.org//"])
def test_the_public_url_is_brought_to_one_form(environ: pytest.MonkeyPatch, given: str) -> None:
    environ.setenv("PUBLIC_URL", given)
    assert load().public_url == "https://hub.example.org"


def test_an_empty_variable_counts_as_not_set(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("PORT", "")
    assert load().port == 8000
    environ.setenv("USER_PASSWORD", "")
    assert [line for line in mistakes() if line.startswith("USER_PASSWORD is not set or empty.")]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "eighty", "PORT should be a valid integer"),
        ("PORT", "70000", "PORT should be less than or equal to 65535"),
        ("BIND_ADDR", "localhost", "BIND_ADDR must be an IP address"),
        ("PUBLIC_URL", "hub.example.org", "PUBLIC_URL must begin with https:// or http://, as in https://hub."),
        ("PUBLIC_URL", "ftp://hub.example.org", "PUBLIC_URL must be of the form"),
        ("PUBLIC_URL", "https://ada:pw@hub.example.org", "PUBLIC_URL must be of the form"),
        ("PUBLIC_URL", "https://", "PUBLIC_URL must be of the form"),
        ("PUBLIC_URL", "https://hub.example.org:http", "PUBLIC_URL is no address"),
        ("PUBLIC_URL", "https://example.org/hub/", "PUBLIC_URL must end after the host"),
        ("PUBLIC_URL", "https://example.org/?a=b", "PUBLIC_URL must end after the host"),
        ("NAMED_SERVERS", "yes", "NAMED_SERVERS must be true or false (now: 'yes')"),
        ("AUTH", "githb", "AUTH githb is not a known way to sign in; did you mean github?"),
        ("MEM_LIMIT", "lots", "MEM_LIMIT is not of the form"),
        ("MEM_LIMIT", "0", "MEM_LIMIT is not of the form"),
        ("MEM_LIMIT", "1.2.3G", "MEM_LIMIT is not of the form"),
        ("LOGO_FILE", "/srv/a:b.png", "LOGO_FILE must be an absolute path"),
        ("SHARED_VOLUMES", "a:/d,b:/d", "SHARED_VOLUMES has two volumes at /d"),
        ("CPU_LIMIT", "-1", "CPU_LIMIT should be greater than 0"),
        ("MEM_GUARANTEE", "2.5G", "MEM_GUARANTEE must not be more than MEM_LIMIT=2G"),
        ("CULL_IDLE_AFTER", "119", "CULL_IDLE_AFTER must be 0 or at least 120: the hub learns of a server's activity"),
        ("CULL_MAX_AGE", "5", "CULL_MAX_AGE must be 0 or at least 10"),
        ("PROXIES_IN_FRONT", "-1", "PROXIES_IN_FRONT should be greater than or equal to 0"),
        ("CULL_ACTION", "freeze", "CULL_ACTION should be 'stop' or 'sleep'"),
        ("SHARED_VOLUMES", "data", "SHARED_VOLUMES has 'data', which is not of the form"),
        ("BIND_PATHS", "data", "BIND_PATHS has 'data', which is no absolute path"),
        ("BIND_PATHS", "/srv/*,/srv/data", "BIND_PATHS has /srv/data and /srv, one below the other"),
        ("ENGINE_ACCESS", "none", "ENGINE_ACCESS should be 'gate' or 'socket'"),
        ("NETWORK_ISOLATION", "all", "NETWORK_ISOLATION should be 'shared' or 'per-user'"),
        ("USER_SUBNET_POOL", "10.9.0.0", "USER_SUBNET_POOL has 10.9.0.0: private addresses are wanted, eight or more"),
        ("USER_SUBNET_POOL", "10.9.0.1/24", "USER_SUBNET_POOL must be an IPv4 network"),
        ("USER_DNS", "dns.example.org", "USER_DNS has 'dns.example.org', which is no IP address, such as 10.0.0.2"),
        ("USER_DNS", "10.0.0.2,169.254.169.254", "USER_DNS has 169.254.169.254, and servers are kept from link-local"),
        ("USER_SUBNET_POOL", "8.8.0.0/16", "USER_SUBNET_POOL has 8.8.0.0/16: private addresses"),
        ("USER_SUBNET_POOL", "169.254.0.0/20", "USER_SUBNET_POOL has 169.254.0.0/20: private addresses"),
        ("ALLOW_INTERNET", "false", "ALLOW_INTERNET can be false with networks of their own only"),
        ("GPUS", "some", "GPUS is not of the form"),
        ("HOME_VOLUME", "home", "HOME_VOLUME is not of the form"),
        ("HOME_VOLUME", "{username}-{user}", "HOME_VOLUME knows {prefix}"),
        ("COMPOSE_PROJECT_NAME", "Dock Yard", "COMPOSE_PROJECT_NAME is not of the form"),
        ("EXTRA_CA_FILE", "certs/ca.pem", "EXTRA_CA_FILE must be an absolute path"),
        ("PIP_INDEX_URL", "pypi.example.org", "PIP_INDEX_URL is not of the form"),
        ("COOKIE_SECRET", "nothex" * 12, "COOKIE_SECRET must be 64 or more hexadecimal digits"),
        ("USER_PASSWORD", "short", "USER_PASSWORD is too short"),
        ("USER_PASSWORD", "CHANGE_ME_please", "USER_PASSWORD is still a placeholder"),
        ("COOKIE_SECRET", "<hex>", "COOKIE_SECRET is still a placeholder"),
        ("ADMIN_PASSWORD", "admin", "ADMIN_PASSWORD is too short"),
        ("DB_URL", "mysql://zq:zq@db.test/hub", "DB_URL begins with mysql://, and the hub knows postgresql:// and"),
        ("DB_URL", "db.test/hub", "DB_URL is no address of a database, such as postgresql://user"),
        ("DB_URL", "postgresql://zq:zq@db.test:port/hub", "DB_URL is no address of a database"),
        ("DB_URL", "postgresql://db.test", "DB_URL lacks its user, host or name"),
        ("PORT_FILE", "/etc/port", "PORT is not a secret: write PORT="),
    ],
)
def test_a_mistake_names_the_variable_and_the_mend(
    environ: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    environ.setenv(name, value)
    assert [line for line in mistakes() if line.startswith(said)]


def test_no_guarantee_is_above_its_limit(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("CPU_LIMIT", "1")
    environ.setenv("CPU_GUARANTEE", "2")
    assert [line for line in mistakes() if line.startswith("CPU_GUARANTEE must not be more than CPU_LIMIT=1")]
    environ.setenv("CPU_GUARANTEE", "1")
    environ.setenv("MEM_GUARANTEE", "2048M")
    assert load().mem_guarantee == "2048M"


def test_all_mistakes_come_at_once(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("PORT", "0")
    environ.setenv("AUTH", "none")
    environ.delenv("COOKIE_SECRET")
    environ.setenv("ADMIN_PASSWORD", "y" * 40)
    environ.setenv("USER_PASSWORD", "y" * 40)
    assert [line.split()[0] for line in mistakes()] == ["PORT", "ADMIN_PASSWORD", "COOKIE_SECRET", "AUTH"]


def test_secrets_are_never_shown(environ: pytest.MonkeyPatch) -> None:
    for name in ("USER_PASSWORD", "ADMIN_PASSWORD", "COOKIE_SECRET", "PROXY_AUTH_TOKEN"):
        environ.setenv(name, "zq!7")
    assert "zq!7" not in "\n".join(mistakes())
    for name, value in REQUIRED.items():
        environ.setenv(name, value)
    assert not [value for name, value in REQUIRED.items() if name != "DOCKER_GID" and value in repr(load())]


class TestSecretInAFile:
    def test_it_is_read_without_its_last_newline(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text(" from the file \n")
        environ.delenv("USER_PASSWORD")
        environ.setenv("USER_PASSWORD_FILE", str(tmp_path / "pw"))
        assert load().user_password.get_secret_value() == " from the file "

    def test_not_beside_the_variable(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("from the file")
        environ.setenv("USER_PASSWORD_FILE", str(tmp_path / "pw"))
        assert mistakes()[0].startswith("USER_PASSWORD and USER_PASSWORD_FILE are both set: remove one")

    def test_a_file_that_is_not_there(self, environ: pytest.MonkeyPatch) -> None:
        environ.delenv("COOKIE_SECRET")
        environ.setenv("COOKIE_SECRET_FILE", "/nonexistent/secret")
        assert mistakes()[0].startswith("COOKIE_SECRET cannot be read from COOKIE_SECRET_FILE (No such file")

    def test_an_empty_file(self, environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("\n")
        environ.delenv("USER_PASSWORD")
        environ.setenv("USER_PASSWORD_FILE", str(tmp_path / "pw"))
        assert mistakes()[0].startswith("USER_PASSWORD is too short")


def test_every_setting_has_a_group_and_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["group"], name
        assert field.description, name
        assert field.description.endswith("."), name


TLS = {"COMPOSE_FILE": "compose/compose.yaml:compose/compose.tls.yaml", "PUBLIC_URL": "https://hub.example.org"}
POSTGRES = {"COMPOSE_FILE": "compose/compose.postgres.yaml:compose/compose.yaml", "POSTGRES_PASSWORD": "p@ss/word"}
SUBDOMAINS = {"SUBDOMAINS": "1"}
CERTIFICATE = {"CERT_FILE": "/c.pem", "KEY_FILE": "/k.pem"}


class TestOverlays:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (TLS | {"PUBLIC_URL": ""}, "PUBLIC_URL must begin with https://, since COMPOSE_FILE names"),
            (TLS | {"PUBLIC_URL": "http://hub.example.org"}, "PUBLIC_URL must begin with https://, since COMPOSE_FILE"),
            (TLS | {"PUBLIC_URL": "https://hub.example.org:8443"}, "HTTPS_PORT must be 8443, the port in PUBLIC_URL"),
            (TLS | {"CERT_FILE": "/c.pem"}, "KEY_FILE and CERT_FILE belong together"),
            (TLS | {"KEY_FILE": "/k.pem"}, "KEY_FILE and CERT_FILE belong together"),
            (TLS | CERTIFICATE | {"ACME_CA": "https://ca.test/dir"}, "ACME_CA and CERT_FILE are both set"),
            (TLS | {"ACME_CA": "http://ca.test/dir"}, "ACME_CA is not of the form"),
            (TLS | {"ACME_EMAIL": "ada"}, "ACME_EMAIL is not of the form"),
            (CERTIFICATE, "CERT_FILE is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE"),
            ({"ACME_CA": "https://ca.test/dir"}, "ACME_CA is for HTTPS"),
            ({"ACME_ROOT_FILE": "/r.pem"}, "ACME_ROOT_FILE is for HTTPS"),
            (TLS | SUBDOMAINS, "SUBDOMAINS needs a certificate for *.hub.example.org, which ACME gives only to"),
            (SUBDOMAINS, "SUBDOMAINS needs a host in PUBLIC_URL that has names below it"),
            (SUBDOMAINS | {"PUBLIC_URL": "http://localhost:8000"}, "SUBDOMAINS needs a host in PUBLIC_URL"),
            (SUBDOMAINS | {"PUBLIC_URL": "http://10.0.0.1:8000"}, "SUBDOMAINS needs a host in PUBLIC_URL"),
            (SUBDOMAINS | {"PUBLIC_URL": "http://[fe80::1]:8000"}, "SUBDOMAINS needs a host in PUBLIC_URL"),
            (SUBDOMAINS | {"SPAWNER": "swarm", "BIND_ADDR": "0.0.0.0"}, "SUBDOMAINS is for one host so far"),
            (POSTGRES | {"POSTGRES_PASSWORD": ""}, "POSTGRES_PASSWORD is not set or empty (openssl"),
            (POSTGRES | {"DB_URL": "postgresql://a:b@db.test/hub"}, "DB_URL names another database than the server"),
        ],
    )
    def test_a_contradiction_names_the_variable_and_the_mend(
        self, environ: pytest.MonkeyPatch, given: dict[str, str], said: str
    ) -> None:
        for name, value in given.items():
            environ.setenv(name, value)
        found = mistakes()
        assert len(found) == 1
        assert found[0].startswith(said)

    @pytest.mark.parametrize(
        "given",
        [
            TLS,
            TLS | CERTIFICATE,
            TLS | CERTIFICATE | SUBDOMAINS,
            SUBDOMAINS | {"PUBLIC_URL": "http://hub.localhost:8000"},
            TLS | {"PUBLIC_URL": "https://hub.example.org:8443", "HTTPS_PORT": "8443"},
            TLS | {"HTTPS_PORT": "8443"},
            TLS | {"ACME_CA": "https://ca.test/dir", "ACME_ROOT_FILE": "/r.pem", "ACME_EMAIL": "ada@example.org"},
            {"PUBLIC_URL": "https://hub.example.org"},
        ],
    )
    def test_what_goes_together(self, environ: pytest.MonkeyPatch, given: dict[str, str]) -> None:
        for name, value in given.items():
            environ.setenv(name, value)
        load()

    @pytest.mark.parametrize(
        ("given", "address"),
        [
            ({}, "sqlite:////srv/dockyard/data/jupyterhub.sqlite"),
            (POSTGRES, "postgresql+psycopg://dockyard:p%40ss%2Fword@postgres/dockyard"),
            (POSTGRES | {"DB_URL": "postgres://a:b@postgres/other"}, "postgresql+psycopg://a:b@postgres/other"),
            ({"DB_URL": "postgresql://a:b%40c@db.test:6432/hub"}, "postgresql+psycopg://a:b%40c@db.test:6432/hub"),
            ({"DB_URL": "sqlite:////srv/dockyard/data/hub.sqlite"}, "sqlite:////srv/dockyard/data/hub.sqlite"),
        ],
    )
    def test_the_address_of_the_database(
        self, environ: pytest.MonkeyPatch, given: dict[str, str], address: str
    ) -> None:
        for name, value in given.items():
            environ.setenv(name, value)
        assert load().database == address

    def test_overlays_are_known_by_their_files_names(self) -> None:
        found = overlays_of("compose/compose.yaml:/etc/compose.tls.yaml:compose.postgres.yaml:my-compose.swarm.yaml")
        assert found == {"tls", "postgres"}


def test_a_wrong_setting_of_an_overlay_does_not_hide_what_is_wrong_with_the_sign_in(
    environ: pytest.MonkeyPatch,
) -> None:
    environ.setenv("COMPOSE_FILE", "compose/compose.yaml:compose/compose.tls.yaml:compose/compose.postgres.yaml")
    environ.setenv("PUBLIC_URL", "http://hub.example.org")
    environ.setenv("CERT_FILE", "/c.pem")
    environ.setenv("POSTGRES_PASSWORD", "")
    environ.setenv("AUTH", "github")
    said = {line.split()[0] for line in mistakes()}
    assert {"PUBLIC_URL", "KEY_FILE", "POSTGRES_PASSWORD", "GITHUB_CLIENT_ID"} <= said


def test_a_wrong_limit_beside_its_guarantee_is_a_mistake_like_others(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("MEM_LIMIT", "8GB")
    environ.setenv("MEM_GUARANTEE", "4G")
    assert [line.split()[0] for line in mistakes()] == ["MEM_LIMIT"]
