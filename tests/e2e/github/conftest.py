"""A kit that signs in at a GitHub Enterprise server, whose certificate is of an authority of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.authority import certificate
from support.github_server import GitHub
from support.kit import Kit
from support.oauth_server import address, serving
from support.scenario import *  # noqa: F403
from support.user import OAuthUser

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="28"><rect width="60" height="28" fill="teal"/></svg>'


@pytest.fixture(scope="package")
def trusted_and_served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    served, trusted = certificate(tmp_path_factory.mktemp("authority"), address())
    return trusted, served


@pytest.fixture(scope="package")
def github(trusted_and_served: tuple[Path, Path]) -> Iterator[GitHub]:
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
    with serving(github, trusted_and_served[1]):
        yield github


@pytest.fixture(scope="package")
def kit_settings(
    github: GitHub, trusted_and_served: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str | None]:
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
        "EXTRA_CA_FILE": str(trusted_and_served[0]),
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
def user(registered: Kit, trusted_and_served: tuple[Path, Path]) -> Callable[[str], OAuthUser]:
    return lambda name: OAuthUser(registered.url, name, str(trusted_and_served[0]))
