"""Who may come in through an OAuth service: the rules beside the service's own, and a sentence for whoever is refused.

`guarded` makes of any of oauthenticator's classes one that keeps these promises:

- A refused user reads which rule refused.
- Users whom an administrator added in the hub's panel may enter. Whoever once was let in by a list or as a member
  of something is asked for again: at each sign-in, every five minutes, and before a server starts.
- A name belongs to the account at the service that first signed in with it. Where services give names of renamed
  accounts away (GitHub does), the new owner of a name does not come into the files of the old one.
- Administrators are who the settings say; a right given or left in the database does not last.
- While the service does not answer, those who are signed in stay; others read that it is the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.utils import maybe_future
from oauthenticator.oauth2 import OAuthenticator
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError
from traitlets import Set, Unicode

_ADDED = "added_in_the_panel"


def guarded(authenticator: type[OAuthenticator]) -> type[OAuthenticator]:
    """`authenticator` with the rules of this module; its name, and so its configuration, stay."""
    return type(authenticator.__name__, (_Guarded, authenticator), {})


class _Guarded(OAuthenticator):
    """Comes before the class of a service."""

    allowed_names = Set(
        Unicode(),
        config=True,
        help="Users who may enter. Unlike allowed_users, a name that is taken out of it leaves no user behind.",
    )
    entrance = Unicode(config=True, help="Who may enter, as a refused user reads it.")

    async def httpfetch(self, url: str, *args: Any, raise_error: bool = True, **kwargs: Any) -> Any:
        try:
            answer = await super().httpfetch(url, *args, raise_error=raise_error, **kwargs)
        except HTTPClientError as error:
            if error.code == 429:
                # To oauthenticator, everything below 500 says that the token has ended.
                raise HTTPClientError(503, "too many requests", error.response) from None
            raise
        # Asked whether somebody is a member, a service in trouble has not said no.
        if not raise_error and (answer.code >= 500 or answer.code == 429):
            raise HTTPClientError(503, answer.reason, answer)
        return answer

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> Any:
        with_service = f"Your sign-in went well so far, but {self.login_service}"
        try:
            return await super().authenticate(handler, data, **kwargs)
        except HTTPClientError as error:
            if _is_trouble(error):
                self.log.error("Sign-in at %s fails: %s", self.login_service, error)
                raise HTTPError(502, "%s does not answer the hub (%s). Try again soon.", with_service, error) from None
            raise HTTPError(403, "%s refused to say who you are (%s).", with_service, error) from None
        except OSError as error:
            self.log.error("Sign-in at %s fails: %s", self.login_service, error)
            raise HTTPError(502, "%s cannot be reached from the hub (%s).", with_service, error) from None

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        auth_model = await super().update_auth_model(auth_model)
        auth_model["admin"] = bool(auth_model["admin"])
        return auth_model

    async def check_blocked_users(self, username: str, auth_model: Any = None) -> bool:
        if not super().check_blocked_users(username, auth_model):
            raise HTTPError(403, "%s is blocked on this hub (BLOCKED_USERS).", username)
        known = self._account(await self._remembered(username))
        if auth_model and known and known != self._account(auth_model["auth_state"]):
            raise HTTPError(
                403,
                "The name %s belongs to another account of %s on this hub. Was it renamed, and you have its old name? "
                "An administrator can delete the user %s in the hub's panel; then it is yours.",
                username,
                self.login_service,
                username,
            )
        return True

    async def check_allowed(self, username: str, auth_model: Any) -> bool:
        if username in self.allowed_names or await self._asked(super().check_allowed(username, auth_model)):
            return True
        if await self._was_added(username):
            auth_model["auth_state"][_ADDED] = True
            return True
        raise HTTPError(
            403,
            "You are signed in at %s as %s, who may not enter this hub. %s",
            self.login_service,
            username,
            self.entrance,
        )

    async def _asked(self, question: Any) -> bool:
        try:
            return bool(await maybe_future(question))
        except (HTTPClientError, OSError) as error:
            if isinstance(error, HTTPClientError) and not _is_trouble(error):
                return False
            raise HTTPError(
                502, "%s does not answer the hub (%s). Try again soon.", self.login_service, error
            ) from None

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        try:
            model = await super().refresh_user(user, handler, **kwargs)
            if not isinstance(model, dict):
                return model
            if model["name"] != user.name:
                self.log.warning("%s is called %s at %s now", user.name, model["name"], self.login_service)
                return False
            await self.check_blocked_users(user.name, model)
            if not self.allow_all:
                await self.check_allowed(user.name, model)
        except (HTTPClientError, HTTPError, OSError) as error:
            if isinstance(error, OSError) or _is_trouble(error):
                self.log.warning("%s stays signed in: %s does not answer (%s)", user.name, self.login_service, error)
                return True
            self.log.warning("%s has to sign in again: %s", user.name, error)
            return False
        return model

    async def _remembered(self, username: str) -> Mapping[str, Any]:
        """What is kept of the last sign-in under this name; empty where there was none."""
        user = self.parent.users.get(username)
        return (await user.get_auth_state() if user else None) or {}

    async def _was_added(self, username: str) -> bool:
        """Whether an administrator made this user in the panel: there before the first visit, or marked since then."""
        user = self.parent.users.get(username)
        if user is None:
            return False
        # A row that stands for a name in ADMIN_USERS outlives its removal there, and is no invitation.
        never_here = user.orm_user.last_activity is None and not user.orm_user.encrypted_auth_state
        return (never_here and not user.admin) or bool((await self._remembered(username)).get(_ADDED))

    def _account(self, auth_state: Mapping[str, Any]) -> str:
        """What the service calls the account, whatever its name is; empty where it does not say."""
        about = auth_state.get(self.user_auth_state_key) or {}
        return str(about.get("id") or about.get("sub") or "")


def _is_trouble(error: Exception) -> bool:
    """Whether a failed call says nothing about the user: the service is unreachable, overloaded or broken."""
    return bool((getattr(error, "code", 0) or getattr(error, "status_code", 0)) >= 500)


def teams(auth_state: Mapping[str, Any]) -> list[str]:
    """GitHub's teams as JupyterHub's groups: `org:team`, in small letters."""
    return [f"{team['organization']['login']}:{team['slug']}".lower() for team in auth_state.get("teams") or []]
