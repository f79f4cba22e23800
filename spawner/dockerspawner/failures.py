"""What a user is told when a server does not start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from tornado.web import HTTPError

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|(?:^|_)(?:KEY|PASS|AUTH|DSN)(?:$|_)", re.I)
_SECRET_IN_TEXT = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(\btoken\s+)[\w.~+/=-]{16,}"),
    re.compile(r"(?i)([\w.-]*(?:token|secret|password|passwd|api[_-]?key)\w*[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"),
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)"),
)


def failure(message: str, *, reason: str, details: str = "", status: int = 500) -> Exception:
    """An exception whose `message`, and `details` below it, the hub shows to the user.

    SpawnException with `reason` where the hub has it; `reason` is also a label of its metrics.
    """
    text = f"{message}\n{details}" if details else message
    html = escape(message) + (f"<pre>{escape(details)}</pre>" if details else "")
    error: Any
    if SpawnException is not None:
        error = SpawnException(text, reason=reason, message_html=html, status_code=status)
    else:
        error = HTTPError(status, "%s", text)
    error.jupyterhub_message = text
    error.jupyterhub_html_message = html
    return error  # type: ignore[no-any-return]


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Values that must not be shown, told by the names of their variables."""
    # A short value, such as "1", would hide half of a text and is no secret.
    return {value for name, value in environment.items() if _SECRET_NAME.search(name) and len(value) >= 6}


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, and without what its context shows to be one."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in _SECRET_IN_TEXT:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


class Died(Exception):
    """The container's main process ended; `state` is that of an inspected container."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        code = state.get("ExitCode", 0)
        # OOMKilled is also set where only a child was killed and the main process ended by itself.
        if state.get("OOMKilled") and code == 137:
            self.reason = "oom"
            how = f"ran out of memory (exit code {code})"
        else:
            self.reason = "exited"
            how = f"ended with exit code {code}" + (f": {state['Error']}" if state.get("Error") else "")
        super().__init__(how)
