"""Forms that sign users in: those that another site has sent are rejected."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError


def own_forms(authenticator: type[Authenticator]) -> type[Authenticator]:
    """`authenticator`, which signs nobody in by a form that another site has sent; its name and configuration stay.

    JupyterHub's own care is a token that anybody at the same address can have made in the same second.
    """
    return type(authenticator.__name__, (_OwnForms, authenticator), {})


def has_own_forms(authenticator: type[Authenticator]) -> bool:
    """Whether a class is one that `own_forms` returned, or a subclass of it."""
    return issubclass(authenticator, _OwnForms)


class _OwnForms(Authenticator):
    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        if handler.request.method == "POST" and not is_own(handler.request, handler.settings.get("public_url")):
            raise HTTPError(403, "This form was sent by another site. Sign in here.")
        return await super().get_authenticated_user(handler, data)


def is_own(request: HTTPServerRequest, public_url: Any = None) -> bool:
    """Whether a page of the hub has sent this, as far as the browser says who has. Programs say nothing."""
    # What browsers say of HTTPS and of this machine, whatever a proxy between has made of the host's name.
    if (site := request.headers.get("Sec-Fetch-Site")) is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    hosts = {request.host.lower()} | ({public_url.netloc.lower()} if public_url else set())
    return origin is None or urlsplit(origin).netloc.lower() in hosts
