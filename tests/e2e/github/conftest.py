"""A kit that signs in at a GitHub Enterprise server, whose certificate is of an authority of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.github_server import GitHub
from support.kit import Kit
from support.oauth_server import address, serving
from support.pki import Authority
from support.scenario import *  # noqa: F403
from support.user import OAuthUser

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="28"><rect width="60" height="28" fill="teal"/></svg>'


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="package")
def trusted(authority: Authority) -> Path:
    """What the build and the hub have to trust: extra authorities of this machine, where it has some, and ours."""
    path = authority.folder / "trusted.pem"
    known = [os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
    own = next((Path(name).read_text() for name in known if name), "")
    path.write_text(f"{own}\n{authority.root.read_text()}")
    return path


@pytest.fixture(scope="package")
def github(authority: Authority) -> Iterator[GitHub]:
    github = GitHub()
    github.add("ada", private_organizations={"acme"}, teams={"acme:ops", "acme:lab"})
    # Nobody is an administrator by the name alone.
    github.add("admin", organizations={"acme"})
    github.add("bert", teams={"globex:lab"}, private_organizations={"globex"})
    github.add("carla", organizations={"acme"})
    github.add("dora", organizations={"acme"})
    github.add("frida")
    github.add("guest")
    github.add("mallory", organizations={"acme"})
    github.add("stranger", organizations={"globex"})
    with serving(github, authority.issue("github", address())):
        yield github


@pytest.fixture(scope="package")
def kit_settings(github: GitHub, trusted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    logo = tmp_path_factory.mktemp("logo") / "logo.svg"
    logo.write_text(LOGO)
    return {
        "AUTH": "github",
        "PUBLIC_URL": "{url}/",
        "GITHUB_URL": f"{github.url}/",
        "GITHUB_CLIENT_ID": github.client_id,
        "GITHUB_CLIENT_SECRET": github.client_secret,
        "GITHUB_ALLOWED_ORGANIZATIONS": "acme,globex:lab",
        "GITHUB_ADMIN_TEAMS": "acme:ops",
        "ALLOWED_USERS": "Frida",
        "BLOCKED_USERS": "mallory",
        "EXTRA_CA_FILE": str(trusted),
        "HUB_TITLE": "'The Lab of Acme'",
        "LOGO_FILE": str(logo),
        # GitHub is asked again at every page instead of every five minutes.
        "AUTH_AUTH_REFRESH_AGE": "1",
    }


@pytest.fixture(scope="package")
def registered(running: Kit, github: GitHub) -> Kit:
    """The kit, with its callback registered at GitHub."""
    github.callback = f"{running.url}/hub/oauth_callback"
    return running


@pytest.fixture(scope="package")
def user(registered: Kit, trusted: Path) -> Callable[[str], OAuthUser]:
    return lambda name: OAuthUser(registered.url, name, str(trusted))
