"""The kit with the overlay for HTTPS, beside an authority that gives out certificates by ACME.

It listens on an address of this machine that is its own, so that it can have the ports 80 and 443.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from support import browser as do
from support.kit import Kit
from support.pki import Authority
from support.scenario import *  # noqa: F403
from support.standins import official

HOST = "hub.test"


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    for path in (folder, folder.parent):
        path.chmod(0o755)
    return Authority(folder)


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    """Where the kit listens; HOST and all names below it are there as long as the scenario runs."""
    address = ".".join(["127", *(str(secrets.randbelow(253) + 1) for _ in range(3))])
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        return real(address if f".{name}".endswith(f".{HOST}") else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield address


@pytest.fixture(scope="package")
def kit_settings(authority: Authority, address: str) -> dict[str, str | None]:
    files = ["compose/compose.yaml", "compose/compose.tls.yaml", "tests/e2e/tls/compose.authority.yaml"]
    return {
        "COMPOSE_FILE": ":".join(files),
        "PUBLIC_URL": f"https://{HOST}",
        "BIND_ADDR": address,
        "ACME_CA": "https://authority.test/acme/local/directory",
        "ACME_ROOT_FILE": str(authority.root),
        "AUTHORITY": str(authority.folder),
        "EDGE_IMAGE": official("caddy"),
    }


@pytest.fixture(scope="package")
def secure(running: Kit, authority: Authority) -> Kit:
    """The kit, whose users trust the authority and nobody else."""
    running.authority = authority.root
    running.run("scripts/certificate", running.url)
    return running


@pytest.fixture(scope="module")
def local_browser(browser: Browser, address: str) -> Iterator[Browser]:
    """A browser that finds HOST and all names below it.

    Without HTTP/2, whose connections it drops whenever this machine's interfaces change: each container brings one.
    """
    rules = f"--host-resolver-rules=MAP {HOST} {address}, MAP *.{HOST} {address}"
    found = do.launch(browser.browser_type, rules, "--disable-http2")
    yield found
    found.close()
