"""Masking of secrets in the hub's log. `singleuser/dockyard_log.py` does the same for users' servers."""

from __future__ import annotations

import logging
import re

HIDDEN = "[secret]"
# Matching time is linear in the length of the text: an attacker may send a URL of 64 KiB.
_IN_ADDRESS = re.compile(
    r"""(?ix)
    (?P<name>
        token | _xsrf | secret | password
        # Ordinary words outside of a URL. A URL may be a parameter of another URL.
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
        # In the answers of a sign-in service.
        | (?:access|refresh|id)_token | client_secret
    )
    (?P<colon> ["']? [ ]? : [ ]? )
    (?: "(?P<double> (?:[^"\\\n] | \\.)+ )" | '(?P<single> (?:[^'\\\n] | \\.)+ )' | (?P<bare> [^\s"'] [^\n]* ) )
    """
)
# Values of cookies that JupyterHub and its authenticators log within a sentence; a cookie identifies a browser.
_IN_SENTENCE = re.compile(
    r"""(?ix)
    (xsrf[ ]cookie[ ]for[ ]b?' | oauth[ ]state[ ]argument[ ]' | oauth-state[\w-]{0,40}=b?'
        | state[ ]mismatch:[ ] | decode[ ]state:[ ])
    [^'\n]+
    """
)


def mask(text: str) -> str:
    """Mask secrets in URLs and headers, which JupyterHub and Tornado log when a request fails."""
    text = _IN_HEADER.sub(_hide_header, text)
    text = _IN_SENTENCE.sub(rf"\g<1>{HIDDEN}", text)
    return _IN_ADDRESS.sub(lambda found: f"{found['name']}{found['plain'] or found['encoded']}{HIDDEN}", text)


def _hide_header(found: re.Match[str]) -> str:
    kind = next(kind for kind in ("double", "single", "bare") if found[kind] is not None)
    quote = {"double": '"', "single": "'", "bare": ""}[kind]
    value = found[kind]
    if found["cookie"]:
        # The names of cookies remain readable, as in JupyterHub's log.
        names = [pair.partition("=")[0].strip() for pair in value.split(";") if "=" in pair]
        hidden = "; ".join(f"{name}={HIDDEN}" for name in names) or HIDDEN
    else:
        scheme, space, _ = value.partition(" ")
        hidden = f"{scheme} {HIDDEN}" if space else HIDDEN
    return f"{found['name']}{found['colon']}{quote}{hidden}{quote}"


class Masked(logging.Filter):
    """Mask secrets in URLs and headers. The hub rejects a token in a URL, but the token is still a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:
            # If the arguments do not fit the message, the handler reports that.
            return True
        record.msg, record.args = mask(text), ()
        if record.exc_info and not record.exc_text:
            # A formatter uses exc_text if it is set.
            from jupyterhub.log import CoroutineLogFormatter

            record.exc_text = CoroutineLogFormatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = mask(record.exc_text)
        return True
