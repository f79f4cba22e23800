"""A kit that signs in at an OpenID Connect provider, by settings alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kit import Kit
from support.oauth_server import serving
from support.oidc_server import OpenIdProvider
from support.scenario import *  # noqa: F403


@pytest.fixture(scope="package")
def provider() -> Iterator[OpenIdProvider]:
    provider = OpenIdProvider()
    provider.add("Ada.Lovelace", claims={"groups": ["staff", "maths"]})
    provider.add("charles", claims={"groups": ["visitors"]})
    provider.add("grace", claims={"groups": []})
    with serving(provider) as provider:
        yield provider


@pytest.fixture(scope="package")
def kit_settings(provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    secret: Path = tmp_path_factory.mktemp("secret") / "client"
    secret.write_text(provider.client_secret)
    return {
        "AUTH": "oidc",
        "PUBLIC_URL": "{url}",
        "OAUTH_CLIENT_ID": provider.client_id,
        "OAUTH_CLIENT_SECRET_FILE": str(secret),
        "OAUTH2_AUTHORIZE_URL": f"{provider.url}/authorize",
        "OAUTH2_TOKEN_URL": f"{provider.url}/token",
        "OAUTH2_USERDATA_URL": f"{provider.url}/userinfo",
        "AUTH_LOGIN_SERVICE": "'Campus ID'",
        "AUTH_SCOPE": "openid,profile",
        "AUTH_USERNAME_CLAIM": "preferred_username",
        "AUTH_MANAGE_GROUPS": "true",
        "AUTH_AUTH_STATE_GROUPS_KEY": "oauth_user.groups",
        "AUTH_ALLOWED_GROUPS": "staff",
        "ADMIN_USERS": "grace",
    }


@pytest.fixture(scope="package")
def registered(running: Kit, provider: OpenIdProvider) -> Kit:
    provider.callback = f"{running.url}/hub/oauth_callback"
    return running
