"""HTTPS by the overlay: a certificate by ACME, then one of the operator's own; and behind somebody else's proxy."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from cryptography import x509
from playwright.sync_api import Browser, Error

from support import browser as do
from support.kit import Kit
from support.pki import Authority
from support.repo import ROOT
from support.standins import stand_in
from support.user import User
from support.wait import wait_until


@pytest.fixture
def visitor(secure: Kit) -> Iterator[requests.Session]:
    """Somebody who trusts the authority, and nobody else."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(secure.authority)
        yield session


def handshake(kit: Kit, *protocols: str) -> tuple[bytes, str | None]:
    """The certificate that is shown, and the protocol that is agreed on."""
    context = ssl.create_default_context(cafile=kit.authority)
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(("hub.test", 443), 10) as plain,
        context.wrap_socket(plain, server_hostname="hub.test") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b"", wrapped.selected_alpn_protocol()


def works(user: User) -> None:
    """Sign-in with cookies that no plain HTTP carries, a server, a kernel over wss, a large upload."""
    user.sign_in().started()
    assert [(cookie.name, cookie.path) for cookie in user.session.cookies if not cookie.secure] == []
    assert {"jupyterhub-hub-login", "jupyterhub-session-id", f"jupyterhub-user-{user.name}"} <= {
        cookie.name for cookie in user.session.cookies
    }
    assert ("_xsrf", f"/user/{user.name}/") in {(cookie.name, cookie.path) for cookie in user.session.cookies}
    with user.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    large = {"type": "file", "format": "text", "content": "x" * 30_000_000}
    assert user.server("PUT", "/api/contents/large.txt", json=large).status_code == 201
    user.stop()


def test_the_certificate_is_the_authoritys(secure: Kit) -> None:
    certificate = x509.load_der_x509_certificate(handshake(secure, "http/1.1")[0])
    assert "Caddy" in certificate.issuer.rfc4514_string()
    assert handshake(secure, "h2", "http/1.1")[1] == "h2"


def test_plain_http_is_sent_on(visitor: requests.Session) -> None:
    answer = visitor.get("http://hub.test/hub/login?next=%2Fx", allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (308, "https://hub.test/hub/login?next=%2Fx")


def test_headers(secure: Kit, visitor: requests.Session) -> None:
    for path in ("/hub/login", "/hub/nosuch", "/hub/static/css/style.min.css", "/hub/api/user", "/user/nobody/lab"):
        headers = visitor.get(f"https://hub.test{path}", allow_redirects=False, timeout=10).headers
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert "Server" not in headers
        assert 'h3=":443"' in headers["Alt-Svc"]
    ports = secure.container("edge").attrs["HostConfig"]["PortBindings"]
    assert set(ports) == {"80/tcp", "443/tcp", "443/udp"}


def test_the_proxy_is_reached_through_the_edge_only(secure: Kit) -> None:
    assert not secure.container("proxy").attrs["HostConfig"]["PortBindings"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((secure.setting("BIND_ADDR"), int(secure.setting("PORT"))), 5)


def test_whom_a_request_is_from_is_not_the_clients_to_say(secure: Kit, visitor: requests.Session) -> None:
    spoofed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test"}
    answer = visitor.get("https://hub.test/hub/nosuch", headers=spoofed, timeout=10)
    assert "evil.test" not in answer.url
    said = wait_until(
        lambda: [line for line in secure.container("hub").logs().decode().splitlines() if " GET /hub/nosuch" in line],
        timeout=10,
        what="the hub logs the request",
    )
    assert "203.0.113.9" not in said[0]


def test_the_edge_is_confined(secure: Kit) -> None:
    edge = secure.container("edge")
    assert edge.exec_run(["id", "-u"]).output == b"1000\n"
    assert edge.exec_run(["touch", "/srv/x"]).exit_code != 0
    # At most NET_BIND_SERVICE.
    assert b"CapBnd:\t0000000000000400" in edge.exec_run(["cat", "/proc/1/status"]).output
    assert set(edge.attrs["NetworkSettings"]["Networks"]) == {f"{secure.project}_front"}


def test_a_kernel_runs_over_wss_in_a_browser(secure: Kit, local_browser: Browser) -> None:
    hugo = secure.user("hugo").sign_in().started()
    # Chromium does not know the authority; that its certificate is a right one is shown above.
    with do.page(local_browser, ignore_https_errors=True) as page:
        sockets: list[str] = []
        page.on("websocket", lambda websocket: sockets.append(websocket.url))
        do.fill_in_login(page, hugo)

        def is_there() -> bool:
            # What was on its way when an interface of this machine changed is lost to Chromium; a user reloads.
            try:
                page.goto(f"{hugo.hub}/user/hugo/lab")
                page.locator(".jp-Launcher").first.wait_for(timeout=20_000)
            except Error:
                return False
            return True

        wait_until(is_there, timeout=60, what="JupyterLab is there")
        do.new_notebook(page)
        assert do.run_cell(page, "print(6 * 7, 'over wss')") == "42 over wss"
        assert [url for url in sockets if "/channels" in url]
        assert not [url for url in sockets if not url.startswith("wss://hub.test/user/hugo/")]
        assert page.evaluate("window.isSecureContext")
    hugo.stop()


def test_a_certificate_of_the_operators_own(secure: Kit, authority: Authority) -> None:
    """Two that don't belong together are refused, with the kit as it was; then a right pair is shown at once."""
    certificate, key = authority.issue("own", "hub.test")
    other = authority.issue("other", "hub.test")[1]
    before = secure.containers()
    secure.write_env(ACME_CA=None, ACME_ROOT_FILE=None, CERT_FILE=str(certificate), KEY_FILE=str(other))
    done = secure.make("up", check=False)
    assert done.returncode != 0
    assert "KEY_FILE is not the key of the certificate in CERT_FILE" in done.stdout
    if os.getuid() == 0:
        key.chmod(0o600)
        secure.write_env(KEY_FILE=str(key))
        assert "KEY_FILE cannot be read (Permission denied): let the hub's user read it (chown 1000 FILE)" in (
            secure.run("scripts/check", check=False).stdout
        )
        os.chown(key, 1000, 1000)
    assert secure.containers() == before

    secure.write_env(KEY_FILE=str(key))
    assert "Dockyard is up:  https://hub.test\n" in secure.make("up").stdout
    shown = handshake(secure, "h2")[0]
    assert x509.load_der_x509_certificate(shown) == x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    works(secure.user("iris"))


def test_a_port_that_is_taken(secure: Kit) -> None:
    with socket.socket() as taken:
        taken.bind((secure.setting("BIND_ADDR"), 0))
        taken.listen()
        port = taken.getsockname()[1]
        secure.write_env(HTTP_PORT=str(port))
        done = secure.make("up", check=False)
    secure.write_env(HTTP_PORT=None)
    assert done.returncode != 0
    assert f"HTTP_PORT {port} on {secure.setting('BIND_ADDR')} is taken by another program" in done.stdout


def test_behind_the_nginx_of_the_readme(secure: Kit, authority: Authority, tmp_path: Path) -> None:
    """No overlay: somebody else's proxy speaks HTTPS, with the configuration that compose/README.md shows."""
    secure.write_env(COMPOSE_FILE="compose/compose.yaml", CERT_FILE=None, KEY_FILE=None)
    said = secure.make("up").stdout
    assert "a reverse proxy of yours has to be in front" in said
    assert "Dockyard is up:  https://hub.test\n" in said

    written = re.search(r"```nginx\n(.*?)```", (ROOT / "compose/README.md").read_text(), re.DOTALL)
    assert written
    text = written[1].replace("hub.example.org", "hub.test").replace("127.0.0.1:8000", "proxy:8000")
    (tmp_path / "hub.conf").write_text(text)
    certificate, key = authority.issue("nginx", "hub.test")
    folder = "/etc/ssl/hub.test"
    volumes = {
        str(tmp_path / "hub.conf"): {"bind": "/etc/nginx/conf.d/hub.conf", "mode": "ro"},
        str(certificate): {"bind": f"{folder}/fullchain.pem", "mode": "ro"},
        str(key): {"bind": f"{folder}/privkey.pem", "mode": "ro"},
    }
    address = secure.setting("BIND_ADDR")
    nginx: Any = docker.from_env().containers.run(
        stand_in("nginx"),
        name=f"{secure.project}-nginx",
        network=f"{secure.project}_front",
        ports={"443/tcp": (address, 443)},
        volumes=volumes,
        detach=True,
    )
    try:
        secure.run("scripts/certificate", secure.url)
        works(secure.user("jack"))
    finally:
        nginx.remove(force=True)
