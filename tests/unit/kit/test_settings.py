"""Every setting: its values, its mistakes, and its secrets, which never show."""

from __future__ import annotations

import secrets
import string
import traceback
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from sqlalchemy import make_url

from dockerspawner import DockerSpawner
from dockyard.settings import db_url, passwords, types
from dockyard.settings.contradictions import overlays_of
from dockyard.settings.fields import Settings
from dockyard.settings.load import some
from dockyard.settings.sources import Mistakes
from dockyard.signin.choice import load

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
        ("PUBLIC_URL", "https://hub.example.org:http", "PUBLIC_URL is not a valid URL"),
        ("PUBLIC_URL", "https://example.org/hub/", "PUBLIC_URL must end after the host"),
        ("PUBLIC_URL", "https://example.org/?a=b", "PUBLIC_URL must end after the host"),
        ("NAMED_SERVERS", "yes", "NAMED_SERVERS must be true or false (now: 'yes')"),
        ("AUTH", "githb", "AUTH githb is not a known way to sign in; did you mean github?"),
        ("MEM_LIMIT", "lots", "MEM_LIMIT must be a number with K, M, G or T after it, such as 512M or 2G, or a number"),
        ("MEM_LIMIT", "2GB", "MEM_LIMIT must be a number with K, M, G or T after it"),
        ("MEM_LIMIT", "1.2.3G", "MEM_LIMIT must be a number with K, M, G or T after it"),
        ("MEM_LIMIT", "-2G", "MEM_LIMIT must be a number with K, M, G or T after it"),
        ("MEM_LIMIT", "nan", "MEM_LIMIT must be a number with K, M, G or T after it"),
        ("MEM_LIMIT", "0", "MEM_LIMIT is 0 bytes, too little for a notebook server: write 64M or more, with its unit"),
        ("MEM_LIMIT", "8", "MEM_LIMIT is 8 bytes, too little for a notebook server"),
        ("MEM_LIMIT", "2.5", "MEM_LIMIT is 2 bytes, too little for a notebook server"),
        ("MEM_LIMIT", "512K", "MEM_LIMIT is 512K, too little for a notebook server"),
        ("TMP_SIZE", "lots", "TMP_SIZE must be a number with K, M, G or T after it"),
        ("TMP_SIZE", "1", "TMP_SIZE is 1 bytes, too little for temporary files: write 16M or more"),
        ("TMP_SIZE", "0.5", "TMP_SIZE is 0 bytes, too little for temporary files"),
        ("GATE_LIMITS", "sometimes", "GATE_LIMITS should be 'auto', 'always' or 'never'"),
        ("MEM_LIMIT", "9999999999T", "MEM_LIMIT is more memory than any machine has"),
        ("MEM_LIMIT", f"{'9' * 400}G", "MEM_LIMIT is more memory than any machine has"),
        ("MEM_LIMIT", "9" * 5000, "MEM_LIMIT is more memory than any machine has"),
        ("TMP_SIZE", f"{'9' * 400}.5", "TMP_SIZE is more memory than any machine has"),
        ("PIDS_LIMIT", "4194305", "PIDS_LIMIT should be less than or equal to 4194304"),
        ("START_TIMEOUT", "9" * 30, "START_TIMEOUT should be less than or equal to 1000000000"),
        ("CULL_IDLE_AFTER", "9" * 20, "CULL_IDLE_AFTER should be less than or equal to 1000000000"),
        ("CULL_MAX_AGE", "9" * 20, "CULL_MAX_AGE should be less than or equal to 1000000000"),
        ("SLEEP_MAX_AGE", "9" * 20, "SLEEP_MAX_AGE should be less than or equal to 1000000000"),
        ("DOCKER_GID", "9" * 20, "DOCKER_GID should be less than or equal to 4294967294"),
        ("GPUS", "9" * 20, "GPUS is not of the form"),
        ("NOTEBOOK_IMAGE", "https://quay.io/lab/image", "NOTEBOOK_IMAGE has 'https://quay.io/lab/image', which is not"),
        ("NOTEBOOK_IMAGE", "lab:1:2", "NOTEBOOK_IMAGE has 'lab:1:2', which is not the name of an image"),
        ("NOTEBOOK_IMAGE", "-v", "NOTEBOOK_IMAGE has '-v', which is not the name of an image"),
        ("NOTEBOOK_IMAGE", "lab@sha256:12", "NOTEBOOK_IMAGE has 'lab@sha256:12', which is not the name of an image"),
        ("NOTEBOOK_IMAGE", "quay.io/Lab/image", "NOTEBOOK_IMAGE has 'quay.io/Lab/image', which is not the name"),
        ("ALLOWED_IMAGES", "lab:1,lab:", "ALLOWED_IMAGES has 'lab:', which is not the name of an image"),
        ("DEBIAN_MIRROR", "http://deb.test/debian|x", "DEBIAN_MIRROR is not of the form"),
        ("DEBIAN_MIRROR", "http://deb.test/a&b", "DEBIAN_MIRROR is not of the form"),
        ("MEM_GUARANTEE", "8", "MEM_GUARANTEE is 8 bytes, less than the engine can reserve: write 6M or more"),
        ("MEM_GUARANTEE", "some", "MEM_GUARANTEE must be a number with K, M, G or T after it"),
        ("CPU_LIMIT", "0.001", "CPU_LIMIT must be 0.01 or more"),
        ("CPU_LIMIT", "inf", "CPU_LIMIT should be a finite number"),
        ("CPU_GUARANTEE", "nan", "CPU_GUARANTEE should be a finite number"),
        ("LOGO_FILE", "/srv/a:b.png", "LOGO_FILE must be an absolute path"),
        ("SHARED_VOLUMES", "a:/d,b:/d", "SHARED_VOLUMES has two volumes at /d"),
        ("CPU_LIMIT", "-1", "CPU_LIMIT should be greater than 0"),
        ("MEM_GUARANTEE", "2.5G", "MEM_GUARANTEE must not be more than MEM_LIMIT=2G"),
        ("CULL_IDLE_AFTER", "119", "CULL_IDLE_AFTER must be 0 or at least 120: the hub learns of a server's activity"),
        ("CULL_MAX_AGE", "5", "CULL_MAX_AGE must be 0 or at least 10"),
        ("PROXIES_IN_FRONT", "-1", "PROXIES_IN_FRONT should be greater than or equal to 0"),
        ("CULL_ACTION", "freeze", "CULL_ACTION should be 'stop' or 'sleep'"),
        ("SHARED_VOLUMES", "data", "SHARED_VOLUMES has 'data', which is not of the form"),
        ("BIND_PATHS", "data", "BIND_PATHS has 'data', which is not an absolute path"),
        ("BIND_PATHS", "/srv/*,/srv/data", "BIND_PATHS has /srv/data and /srv, one below the other"),
        ("BIND_PATHS", "/srv/data:ro,/srv/data", "BIND_PATHS has /srv/data and /srv/data, one below the other"),
        ("BIND_PATHS", "/srv/data:rw", "BIND_PATHS has '/srv/data:rw', which is not an absolute path"),
        ("BIND_PATHS", "//run/docker.sock", "BIND_PATHS has '//run/docker.sock', which is not an absolute path"),
        ("BIND_PATHS", "/:ro", "BIND_PATHS has '/:ro', which is not an absolute path below the host's root"),
        ("BIND_PATHS", "/*", "BIND_PATHS has '/*', which is not an absolute path below the host's root"),
        (
            "BIND_PATHS",
            "/run/docker.sock:ro",
            "BIND_PATHS has '/run/docker.sock:ro', which contains the engine's socket",
        ),
        ("BIND_PATHS", "/var/run/*", "BIND_PATHS has '/var/run/*', which contains the engine's socket"),
        ("ENGINE_ACCESS", "none", "ENGINE_ACCESS should be 'gate' or 'socket'"),
        ("NETWORK_ISOLATION", "all", "NETWORK_ISOLATION should be 'shared' or 'per-user'"),
        ("USER_SUBNET_POOL", "10.9.0.0", "USER_SUBNET_POOL has 10.9.0.0: private addresses are wanted, eight or more"),
        ("USER_SUBNET_POOL", "10.9.0.1/24", "USER_SUBNET_POOL must be an IPv4 network"),
        ("USER_DNS", "dns.example.org", "USER_DNS has 'dns.example.org', which is not an IP address, such as 10.0.0.2"),
        ("USER_DNS", "10.0.0.2,169.254.169.254", "USER_DNS has 169.254.169.254, and servers do not reach link-"),
        ("USER_SUBNET_POOL", "8.8.0.0/16", "USER_SUBNET_POOL has 8.8.0.0/16: private addresses"),
        ("USER_SUBNET_POOL", "169.254.0.0/20", "USER_SUBNET_POOL has 169.254.0.0/20: private addresses"),
        ("ALLOW_INTERNET", "false", "ALLOW_INTERNET needs NETWORK_ISOLATION=per-user to be false"),
        ("GPUS", "some", "GPUS is not of the form"),
        ("HOME_PATH", "home", "HOME_PATH is not of the form"),
        ("HOME_PATH", "/usr/lib", "HOME_PATH must be a user's home, such as /home/jovyan"),
        ("SHARED_VOLUMES", "a:/home/jovyan/", "SHARED_VOLUMES has 'a:/home/jovyan/', but"),
        ("HOME_VOLUME", "home", "HOME_VOLUME is not of the form"),
        ("HOME_VOLUME", "{username}-{user}", "HOME_VOLUME knows {prefix}"),
        *(
            ("HOME_VOLUME", template, "HOME_VOLUME must begin with {prefix} or your own text, and a hyphen")
            for template in (
                "{username}",
                "{username}-home",
                "{servername}-{username}",
                "{servername}{prefix}-{username}",
                "x{username}",
                "{prefix}{username}",
                "-{username}",
            )
        ),
        *(
            ("HOME_VOLUME", template, "HOME_VOLUME begins like the kit's own volumes, such as dockyard_hub-")
            for template in ("{prefix}_{username}", "dockyard_{username}")
        ),
        ("COMPOSE_PROJECT_NAME", "Dock Yard", "COMPOSE_PROJECT_NAME is not of the form"),
        ("EXTRA_CA_FILE", "certs/ca.pem", "EXTRA_CA_FILE must be an absolute path"),
        ("PIP_INDEX_URL", "pypi.example.org", "PIP_INDEX_URL is not of the form"),
        ("COOKIE_SECRET", "nothex" * 12, "COOKIE_SECRET must be 64 or more hexadecimal digits"),
        ("USER_PASSWORD", "short", "USER_PASSWORD is too short"),
        ("USER_PASSWORD", "CHANGE_ME_please", "USER_PASSWORD is still a placeholder"),
        ("COOKIE_SECRET", "<hex>", "COOKIE_SECRET is still a placeholder"),
        ("ADMIN_PASSWORD", "admin", "ADMIN_PASSWORD is too short"),
        ("DB_URL", "mysql://zq:zq@db.test/hub", "DB_URL begins with mysql://, but the hub supports only postgresql://"),
        ("DB_URL", "db.test/hub", "DB_URL is not a database URL, such as postgresql://user"),
        ("DB_URL", "postgresql://zq:zq@db.test:port/hub", "DB_URL is not a database URL"),
        ("DB_URL", "postgresql://db.test", "DB_URL lacks the user, the host or the database name"),
        ("DB_URL", "postgresql://zq:zq@db.test:65536/hub", "DB_URL has a port that is not between 1 and 65535"),
        ("DB_URL", "postgresql://zq:zq@db.test/hub?zq=zq", "DB_URL has an option after the ? that PostgreSQL's client"),
        ("DB_URL", "sqlite:////srv/dockyard/data/../zq", "DB_URL is a file outside the hub's volume"),
        ("HTTP_PORT", "8080", "HTTP_PORT is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE, or remove it"),
        ("HTTPS_PORT", "8443", "HTTPS_PORT is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE, or remove it"),
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
    assert load().mem_guarantee == 2 * 2**30


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2G", 2 * 2**30),
        ("2147483648", 2 * 2**30),
        ("2.5G", 5 * 2**29),
        (".5G", 2**29),
        ("64M", 64 * 2**20),
        ("1048576K", 2**30),
        ("0.5T", 2**39),
        ("2147483648.0", 2 * 2**30),
    ],
)
def test_memory_that_the_check_accepts_is_what_the_trait_has(
    environ: pytest.MonkeyPatch, text: str, amount: int
) -> None:
    environ.setenv("MEM_LIMIT", text)
    environ.setenv("MEM_GUARANTEE", text)
    settings = load()
    assert (settings.mem_limit, settings.mem_guarantee) == (amount, amount)
    spawner = DockerSpawner(mem_limit=settings.mem_limit, mem_guarantee=settings.mem_guarantee)
    assert (spawner.mem_limit, spawner.mem_guarantee) == (amount, amount)


def test_memory_without_a_setting_has_the_default(environ: pytest.MonkeyPatch) -> None:
    assert (load().mem_limit, load().mem_guarantee) == (2 * 2**30, None)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(2**31, "2G"), (5 * 2**29, "2.5G"), (500 * 2**30, "500G"), (1023 * 2**20, "1023M"), (8, "8 bytes"), (2**40, "1T")],
)
def test_readable_memory(amount: int, text: str) -> None:
    assert types.readable(amount) == text


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


# What a password has in it that is not encoded; no four characters of it may be in a message.
PASSWORD = "zq7wK9mXbv"
ADDRESSES = [
    (f"postgresql://hub:{PASSWORD}@{PASSWORD}@db.test/hub", "encode the user and the password"),
    (f"postgresql://hub:@{PASSWORD}@db.test:5432/hub", "encode the user and the password"),
    (f"postgresql://hub:{PASSWORD}/{PASSWORD}@db.test/hub", "encode the user and the password"),
    (f"postgresql://hub:a/{PASSWORD}@x/{PASSWORD}@db.test/hub", "encode the user and the password"),
    (f"postgresql://hub:{PASSWORD}%@db.test/hub", "encode the user and the password"),
    (f"postgresql://hub:x@{PASSWORD} x/hub", "has an invalid host"),
    (f"postgresql://hub:a/{PASSWORD}", "encode the user and the password"),
    (f"postgresql://hub:{PASSWORD}", "encode the user and the password"),
    (f"hub:{PASSWORD}@db.test/hub", "is not a database URL"),
    (f"{PASSWORD}://hub@db.test/hub", "begins with another scheme://"),
    (f"postgresql+{PASSWORD}://hub@db.test/hub", "begins with postgresql+://"),
    (f"postgresql://hub@db.test/hub?password={PASSWORD}", "has password after the ?"),
    (f"postgresql://hub:{PASSWORD}@/hub?host=/var/run/postgresql", "names a socket, which the hub"),
    ("postgresql:///hub?host=/var/run/postgresql", "names a socket, which the hub"),
    (f"postgresql://hub:{PASSWORD}@%2Fvar%2Frun%2Fpostgresql/hub", "names a socket, which the hub"),
    (f"postgresql://hub:{PASSWORD}@/hub", "lacks the user, the host or the database name"),
    (f"sqlite:///{PASSWORD}", "is a file outside the hub's volume"),
]


@pytest.mark.parametrize(("address", "said"), ADDRESSES)
@pytest.mark.parametrize("in_a_file", [False, True])
def test_no_piece_of_the_databases_password_is_in_a_message(
    environ: pytest.MonkeyPatch, tmp_path: Path, address: str, said: str, in_a_file: bool
) -> None:
    (tmp_path / "url").write_text(f"{address}\n")
    environ.setenv("DB_URL_FILE" if in_a_file else "DB_URL", str(tmp_path / "url") if in_a_file else address)
    with pytest.raises(Mistakes) as caught:
        load()
    (line,) = caught.value.lines
    assert line.startswith("DB_URL ")
    assert said in line
    shown = "".join(traceback.format_exception(caught.value))
    pieces = {PASSWORD[start : start + 4] for start in range(len(PASSWORD) - 3)}
    assert not [piece for piece in pieces if piece in line or piece in shown]


@pytest.mark.parametrize("password", ["p%40ss%2Fw%25", "p:w", "p#w", "p?w", "p%3Aw", "100%25"])
def test_encoded_passwords_of_the_database_are_read(environ: pytest.MonkeyPatch, password: str) -> None:
    environ.setenv("DB_URL", f"postgresql://hub:{password}@db.test:5432/hub?sslmode=require")
    assert make_url(load().database).password == unquote(password)


def test_an_address_that_is_written_anew_is_read_again(environ: pytest.MonkeyPatch) -> None:
    password = string.printable.strip()
    for name, value in (POSTGRES | {"POSTGRES_PASSWORD": f"{password} x"}).items():
        environ.setenv(name, value)
    assert db_url.parse(load().database).password == f"{password} x"
    environ.setenv("COMPOSE_FILE", "compose/compose.yaml")
    environ.setenv("DB_URL", f"postgresql://hub:{quote(password, safe='')}%20x@db.test/hub")
    assert db_url.parse(load().database).password == f"{password} x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://ada:zq7wK9@hub.example.org"),
        ("PIP_INDEX_URL", "htps://ada:zq7wK9@pypi.example.org/simple"),
        ("PIP_INDEX_URL", "https://pypi.example.org/simple?token=zq7wK9"),
        ("NPM_REGISTRY", "https://npm.example.org?zq7wK9"),
        ("DEBIAN_MIRROR", "https://mirror.example.org/debian#zq7wK9"),
        ("GITHUB_URL", "git://zq7wK9@github.example.org"),
    ],
)
def test_a_password_in_another_setting_is_masked(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    (line,) = mistakes()
    assert line.startswith(f"{name} ")
    assert "zq7" not in line


class TestWeakPassword:
    """Refused where other machines reach the hub, unless a setting allows it."""

    OTHERS = (
        {"BIND_ADDR": "0.0.0.0"},
        {"BIND_ADDR": "::"},
        {"BIND_ADDR": "192.168.1.7"},
        {"PUBLIC_URL": "http://hub.example.org"},
        {"PUBLIC_URL": "https://hub.example.org"},
        {"PROXIES_IN_FRONT": "1"},
    )
    WEAK = (
        "12345678", "Password1!", "qwertyuiop", "aaaaaaaaaaaa", "abcabcabcabc", "20240101", "P@ssw0rd", "dockyard1",
        "a1b2c3d4", "q1w2e3r4", "Sommer2024", "Monday1!", "october2024", "fuckyou1", "Campus2025", "opensesame",
    )  # fmt: skip

    @pytest.mark.parametrize("others", OTHERS, ids=str)
    def test_it_is_refused_where_other_machines_reach_the_hub(
        self, environ: pytest.MonkeyPatch, others: dict[str, str]
    ) -> None:
        for name, value in others.items():
            environ.setenv(name, value)
        load()
        for password in self.WEAK:
            environ.setenv("USER_PASSWORD", password)
            (line,) = mistakes()
            assert line.startswith("USER_PASSWORD is easily guessed")
            assert next(f"{name}={value}" for name, value in others.items()) in line
            assert "ALLOW_WEAK_PASSWORD=true" in line
            assert password not in line
        environ.setenv("ALLOW_WEAK_PASSWORD", "true")
        assert load().user_password.get_secret_value() == self.WEAK[-1]

    def test_administrators_have_none_either(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("BIND_ADDR", "0.0.0.0")
        environ.setenv("ADMIN_PASSWORD", "password" * 4)
        assert [line for line in mistakes() if line.startswith("ADMIN_PASSWORD is easily guessed")]

    @pytest.mark.parametrize(
        "alone",
        [{}, {"BIND_ADDR": "127.0.0.5"}, {"BIND_ADDR": "::1"}, {"PUBLIC_URL": "http://hub.localhost:8000"}],
        ids=str,
    )
    def test_it_is_accepted_on_this_machine_alone(self, environ: pytest.MonkeyPatch, alone: dict[str, str]) -> None:
        for name, value in alone.items():
            environ.setenv(name, value)
        environ.setenv("USER_PASSWORD", "12345678")
        load()

    def test_it_is_accepted_where_nobody_signs_in_with_it(self, environ: pytest.MonkeyPatch) -> None:
        for name, value in {"AUTH": "github", "BIND_ADDR": "0.0.0.0", "USER_PASSWORD": "12345678"}.items():
            environ.setenv(name, value)
        assert not [line for line in mistakes() if line.startswith("USER_PASSWORD")]

    def test_generated_passwords_are_never_weak(self) -> None:
        assert not [secret for secret in (secrets.token_hex(8) for _ in range(500)) if passwords.is_guessable(secret)]
        for password in ("correct horse battery staple", "xK9#mQ2v", "tiger-lamp-ocean", "48261973011842"):
            assert not passwords.is_guessable(password)


@pytest.mark.parametrize(
    "template", ["jupyterhub-user-{username}", "{prefix}-{username}", "lab.{username}-{servername}"]
)
def test_volumes_that_begin_with_a_name_of_the_operators_are_homes(environ: pytest.MonkeyPatch, template: str) -> None:
    environ.setenv("HOME_VOLUME", template)
    assert load().home_volume == template


def test_a_shared_volume_is_no_users_home(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("SHARED_VOLUMES", "data:/data")
    environ.setenv("HOME_VOLUME", "dockyard-{username}")
    (line,) = mistakes()
    assert line.startswith("SHARED_VOLUMES has 'data', whose volume dockyard-shared-data could be a user's home")


def test_the_engines_socket_is_in_no_path_for_servers(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("DOCKER_SOCKET", "/opt/engine/docker.sock")
    environ.setenv("BIND_PATHS", "/opt/data,/opt/engine/*:ro")
    (line,) = mistakes()
    assert line.startswith("DOCKER_SOCKET is in /opt/engine/*:ro, which BIND_PATHS allows servers to mount")


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


def test_a_shared_volume_at_the_home_is_a_mistake(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("HOME_PATH", "/data/home")
    environ.setenv("SHARED_VOLUMES", "a:/data,b:/data/home")
    with pytest.raises(Mistakes, match="SHARED_VOLUMES has a volume at /data/home, which is HOME_PATH"):
        load()


def test_a_contradiction_is_reported_beside_a_mistake_in_another_setting(environ: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "eighty", "ACME_EMAIL": "ada@example.org", "MEM_GUARANTEE": "4G"}.items():
        environ.setenv(name, value)
    assert [line.split()[0] for line in mistakes()] == ["PORT", "ACME_EMAIL", "MEM_GUARANTEE"]


def test_a_contradiction_with_a_wrong_setting_is_not_reported(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("MEM_GUARANTEE", "4G")
    environ.setenv("MEM_LIMIT", "much")
    assert [line.split()[0] for line in mistakes()] == ["MEM_LIMIT"]


def test_the_order_of_the_declarations_has_no_effect(environ: pytest.MonkeyPatch) -> None:
    wrong = {
        "ADMIN_PASSWORD": "x" * 32, "USER_PASSWORD": "x" * 32, "BIND_ADDR": "0.0.0.0", "SPAWNER": "docker",
        "CPU_LIMIT": "1", "CPU_GUARANTEE": "2", "FENCE_AFTER": "20", "HTTPS_PORT": "8443", "KEY_FILE": "/k",
        "DB_URL": "postgresql://a:b@c/d", "COMPOSE_FILE": "compose/compose.yaml:compose/compose.postgres.yaml",
        "ALLOW_INTERNET": "false", "USER_DNS": "169.254.169.254", "SUBDOMAINS": "true", "HOME_DRIVER": "local",
    }  # fmt: skip
    for name, value in wrong.items():
        environ.setenv(name, value)
    found = []
    for order in ([*Settings.model_fields], [*Settings.model_fields][::-1]):
        with pytest.raises(Mistakes) as refused:
            some(*order)
        found.append(sorted(refused.value.lines))
    assert len(found[0]) >= 10
    assert found[0] == found[1]
