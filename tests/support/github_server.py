"""GitHub, as far as a sign-in sees it: its OAuth endpoints, and the API that a hub asks with a token."""

from __future__ import annotations

import re

from support.oauth_server import Answer, Grant, OAuthServer


class GitHub(OAuthServer):
    """An Enterprise server: the API is under /api/v3."""

    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    service = "GitHub"

    def api(self, path: str, grant: Grant) -> Answer:
        account, sees_all = grant.account, "read:org" in grant.scope.split()
        if path == "/api/v3/user":
            # The e-mail address is there, and null unless it is public.
            return Answer(200, {"login": account.login, "id": account.id, "email": None})
        if path == "/api/v3/user/teams":
            if not sees_all:
                return Answer(403, {"message": "Resource not accessible"})
            pairs = [team.split(":") for team in sorted(account.teams)]
            return Answer(200, [{"slug": slug, "organization": {"login": org}} for org, slug in pairs])
        if found := re.fullmatch(r"/api/v3/orgs/([\w-]+)/members/([\w-]+)", path):
            org, member = found.groups()
            asked = self.accounts.get(member)
            seen = asked.organizations | (asked.private_organizations if sees_all else set()) if asked else set()
            return Answer(204) if org in seen else Answer(404, {"message": "Not Found"})
        if found := re.fullmatch(r"/api/v3/orgs/([\w-]+)/teams/([\w-]+)/members/([\w-]+)", path):
            org, team, member = found.groups()
            asked = self.accounts.get(member)
            is_in = sees_all and asked and f"{org}:{team}" in asked.teams
            return Answer(204) if is_in else Answer(404, {"message": "Not Found"})
        return Answer(404, {"message": "Not Found"})

    def token_error(self, error: str, description: str) -> Answer:
        """GitHub answers 200."""
        return Answer(200, {"error": error, "error_description": description})
