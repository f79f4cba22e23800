"""A certificate and its key: each mistake is named before anything starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from dockyard.hub import envcheck
from dockyard.settings import certificates, envfile
from support.pki import DAY, Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("host", ["hub.test", "HUB.test", "one.labs.test"])
def test_a_right_pair(authority: Authority, host: str) -> None:
    assert certificates.mistakes(*authority.issue("right", "hub.test", "*.labs.test"), host) == []


@pytest.mark.parametrize("host", ["other.test", "labs.test", "a.b.labs.test", "xlabs.test", "127.0.0.1"])
def test_a_certificate_for_another_host(authority: Authority, host: str) -> None:
    (said,) = certificates.mistakes(*authority.issue("right", "hub.test", "*.labs.test"), host)
    assert said == f"CERT_FILE is for hub.test, *.labs.test, not for {host}, the host of PUBLIC_URL."


def test_names_below_the_host(authority: Authority) -> None:
    assert certificates.mistakes(*authority.issue("all", "hub.test", "*.hub.test"), "hub.test", below=True) == []
    (said,) = certificates.mistakes(*authority.issue("one", "hub.test"), "hub.test", below=True)
    assert said == "CERT_FILE is for hub.test, not for *.hub.test, the hosts of SUBDOMAINS."


def test_a_key_of_another_certificate(authority: Authority) -> None:
    certificate, _ = authority.issue("one", "hub.test")
    _, key = authority.issue("two", "hub.test")
    (said,) = certificates.mistakes(certificate, key, "hub.test")
    assert said.startswith("KEY_FILE is not the key of the certificate in CERT_FILE")


def test_a_chain_in_the_wrong_order(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one", "hub.test")
    end = "-----END CERTIFICATE-----\n"
    own, root, _ = certificate.read_text().split(end)
    turned = tmp_path / "turned.crt"
    turned.write_text(root + end + own + end)
    found = certificates.mistakes(turned, key, "")
    assert found == ["CERT_FILE must begin with the server's own certificate; its issuers' come after it."]


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [(-9 * DAY, -DAY, "CERT_FILE has expired on 2"), (DAY, 9 * DAY, "CERT_FILE is not valid before 2")],
)
def test_a_certificate_out_of_its_time(authority: Authority, begins: timedelta, ends: timedelta, said: str) -> None:
    (found,) = certificates.mistakes(*authority.issue("late", "hub.test", begins=begins, ends=ends), "hub.test")
    assert found.startswith(said)


def test_files_that_are_missing_or_hold_something_else(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one", "hub.test")
    assert certificates.mistakes(tmp_path / "no.crt", tmp_path / "no.key", "hub.test") == [
        f"{name} cannot be read (No such file or directory): give the absolute path of a file that exists on this host."
        for name in ("CERT_FILE", "KEY_FILE")
    ]
    found = certificates.mistakes(key, certificate, "hub.test")
    assert [line.split(" in PEM form")[0] for line in found] == [
        "CERT_FILE holds no certificate",
        "KEY_FILE holds no private key",
    ]


def test_a_key_with_a_passphrase(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one", "hub.test")
    lock = BestAvailableEncryption(b"secret")
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        load_pem_private_key(key.read_bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    )
    (said,) = certificates.mistakes(certificate, locked, "hub.test")
    assert said.startswith("KEY_FILE has a passphrase")


def test_the_checker_looks_where_compose_mounts_them(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envfile, "SECRETS", tmp_path)
    values = {"CERT_FILE": "/x/c", "KEY_FILE": "/x/k", "ACME_ROOT_FILE": "/x/r", "PUBLIC_URL": "https://hub.test:8443"}
    found = envcheck.of_the_edge(values)
    assert [line.split()[0] for line in found] == ["CERT_FILE", "KEY_FILE", "ACME_ROOT_FILE"]
    certificate, key = authority.issue("one", "hub.test")
    for path, name in [(certificate, "cert"), (key, "key"), (authority.root, "acme_root")]:
        (tmp_path / name).write_bytes(path.read_bytes())
    assert envcheck.of_the_edge(values) == []


def test_the_edge_has_no_slash_at_the_end_of_its_address() -> None:
    values = {"COMPOSE_FILE": "compose/compose.yaml:compose/compose.tls.yaml", "PUBLIC_URL": "https://hub.test/"}
    (said,) = envcheck.of_the_edge(values)
    assert said.startswith("PUBLIC_URL ends with /")
    assert envcheck.of_the_edge(values | {"COMPOSE_FILE": "compose/compose.yaml"}) == []
