"""An OpenID Connect provider: discovery, userinfo, and groups as a claim."""

from __future__ import annotations

from typing import Any

from support.oauth_server import Answer, Grant, OAuthServer


class OpenIdProvider(OAuthServer):
    service = "Campus ID"

    def get(self, path: str, query: dict[str, str], headers: Any) -> Answer:
        if path == "/.well-known/openid-configuration":
            endpoints = {"authorization": self.authorize_path, "token": self.token_path, "userinfo": "/userinfo"}
            found = {f"{name}_endpoint": self.url + where for name, where in endpoints.items()}
            return Answer(200, {"issuer": self.url, **found})
        return super().get(path, query, headers)

    def api(self, path: str, grant: Grant) -> Answer:
        if path != "/userinfo" or "openid" not in grant.scope.split():
            return Answer(403, {"error": "insufficient_scope"})
        account = grant.account
        return Answer(200, {"sub": str(account.id), "preferred_username": account.login, **account.claims})
