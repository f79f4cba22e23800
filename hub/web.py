"""What the hub tells browsers and takes from them, beside JupyterHub's own care: cookies, headers, forms, the log."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

# Bytes. All that is sent to the hub itself is a form or a few lines of JSON, and lies in its memory as a whole.
LARGEST_BODY = 10 * 2**20

HIDDEN = "[secret]"
# What these match grows with the text, not with its square: anyone may send an address of 64 KiB.
_IN_ADDRESS = re.compile(
    r"""(?ix)
    (?P<name>
        token | _xsrf | secret | password
        # Words that mean something else outside of an address; an address may be a parameter of another one.
        | (?:[?&\#] | %(?:25)*(?:3F|26|23)) [\w.-]* (?:code|code_verifier|state|auth|key|ticket|assertion|response)
    )
    (?:
        (?P<plain> = ) [^\s&;,"'<>()\[\]{}\#\\]+
        | (?P<encoded> %(?P<depth>(?:25)*)3D ) (?: (?!%(?P=depth)26) [^\s&;,"'<>()\[\]{}\#\\] )+
    )
    """
)
_IN_HEADER = re.compile(
    r"""(?ix)
    (?P<name>
        authorization | (?P<cookie>cookie) | x-(?:[a-z]{1,20}-){0,4}(?:xsrftoken|csrftoken|token|key|secret)
        # What a sign-in service answers.
        | (?:access|refresh|id)_token | client_secret
    )
    (?P<colon> ["']? [ ]? : [ ]? )
    (?: "(?P<double> (?:[^"\\\n] | \\.)+ )" | '(?P<single> (?:[^'\\\n] | \\.)+ )' | (?P<bare> [^\s"'] [^\n]* ) )
    """
)
# Values of cookies, by which a browser is known, that JupyterHub and its authenticators log as a part of a sentence.
_IN_SENTENCE = re.compile(
    r"""(?ix)
    (xsrf[ ]cookie[ ]for[ ]b?' | oauth[ ]state[ ]argument[ ]' | oauth-state[\w-]{0,40}=b?'
        | state[ ]mismatch:[ ] | decode[ ]state:[ ])
    [^'\n]+
    """
)


def tornado_settings(public_url: str) -> dict[str, Any]:
    """JupyterHub.tornado_settings. The cookies' options are those of users' servers, too."""
    # Lax: whoever comes back from a sign-in service has come from another site.
    cookies: dict[str, Any] = {"samesite": "Lax"}
    if public_url.startswith("https:"):
        cookies["secure"] = True
    headers = {
        "Server": "JupyterHub",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }
    return {"cookie_options": cookies, "headers": headers}


def limit_bodies() -> None:
    """Have what is larger refused. Holds for the process: JupyterHub has no trait for it."""
    HTTPServer.configure(None, max_body_size=LARGEST_BODY)


def mask(text: str) -> str:
    """`text` without secrets in addresses and headers, which JupyterHub and Tornado log when a request fails."""
    text = _IN_HEADER.sub(_hide_header, text)
    text = _IN_SENTENCE.sub(rf"\g<1>{HIDDEN}", text)
    return _IN_ADDRESS.sub(lambda found: f"{found['name']}{found['plain'] or found['encoded']}{HIDDEN}", text)


def _hide_header(found: re.Match[str]) -> str:
    kind = next(kind for kind in ("double", "single", "bare") if found[kind] is not None)
    quote = {"double": '"', "single": "'", "bare": ""}[kind]
    value = found[kind]
    if found["cookie"]:
        # The names of cookies stay, as in JupyterHub's own log.
        names = [pair.partition("=")[0].strip() for pair in value.split(";") if "=" in pair]
        hidden = "; ".join(f"{name}={HIDDEN}" for name in names) or HIDDEN
    else:
        scheme, space, _ = value.partition(" ")
        hidden = f"{scheme} {HIDDEN}" if space else HIDDEN
    return f"{found['name']}{found['colon']}{quote}{hidden}{quote}"


class Masked(logging.Filter):
    """Hides secrets in addresses and headers from the log. A token in an address is not accepted, but is a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = mask(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            # Formatters take what is here already.
            from jupyterhub.log import CoroutineLogFormatter

            record.exc_text = CoroutineLogFormatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = mask(record.exc_text)
        return True


LOGGING: dict[str, Any] = {"filters": {"masked": {"()": Masked}}, "handlers": {"console": {"filters": ["masked"]}}}


def own_forms(authenticator: type[Authenticator]) -> type[Authenticator]:
    """`authenticator`, which signs nobody in by a form that another site has sent; its name and configuration stay.

    JupyterHub's own care is a token that anybody at the same address can have made in the same second.
    """
    return type(authenticator.__name__, (_OwnForms, authenticator), {})


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
