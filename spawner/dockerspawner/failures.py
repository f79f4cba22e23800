"""What a user is told when a server does not start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from tornado.web import HTTPError

from dockerspawner.enginefailures import SpawnException, engine_failure
from dockerspawner.errors import EngineError, NoLeader, NoSuchImage, NoSuchNetwork, Unavailable

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|(?:^|_)(?:KEY|PASS|AUTH|DSN)(?:$|_)", re.I)
_SECRET_IN_TEXT = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(\btoken\s+)[\w.~+/=-]{16,}"),
    re.compile(r"(?i)([\w.-]*(?:token|secret|password|passwd|api[_-]?key)\w*[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"),
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)"),
)


def failure(
    message: str, *, reason: str, details: str = "", status: int = 500, cause: EngineError | None = None
) -> Exception:
    """An exception whose `message`, and `details` below it, the hub shows to the user.

    SpawnException where the hub has it, whose metrics have `reason` as a label; else HTTPError. With a `cause` it is
    an error of the Docker SDK, too, of the same class.
    """
    text = f"{message}\n{details}" if details else message
    html = escape(message) + (f"<pre>{escape(details)}</pre>" if details else "")
    error: Any
    if cause is not None:
        return engine_failure(cause, text, html, reason, status)
    if SpawnException is not None:
        error = SpawnException(text, reason=reason, message_html=html, status_code=status)
    else:
        error = HTTPError(status, "%s", text, reason=reason)
    error.jupyterhub_message = text
    error.jupyterhub_html_message = html
    return error  # type: ignore[no-any-return]


def misconfigured(message: str) -> Exception:
    """A failure that only an administrator can fix; `message` is a sentence that names the setting."""
    return failure(f"{message} Please contact an administrator.", reason="settings")


def explain(error: EngineError, secrets: Iterable[str] = ()) -> Any:
    """A failure of what the engine did not do, with a sentence that a user can understand."""
    if isinstance(error, NoLeader):
        return failure("The swarm has no leader now. Please try again later.", reason="engine", status=503, cause=error)
    if isinstance(error, Unavailable):
        return failure(
            "The Docker engine does not answer. Please try again later.", reason="engine", status=503, cause=error
        )
    if isinstance(error, NoSuchNetwork) and (found := re.search(r"\bnetwork (\S+) not found", str(error))):
        return failure(f"The Docker network {found[1]} does not exist.", reason="network", cause=error)
    if isinstance(error, NoSuchImage):
        return failure(str(error), reason="image", cause=error)
    if "no space left on device" in str(error):
        return failure("The Docker engine's disk is full: no space left on device.", reason="disk", cause=error)
    if re.search(r"could not select device driver .*gpu", str(error)):
        return failure("The Docker engine has no GPU, or no runtime for it.", reason="gpus", cause=error)
    return failure(f"The server can't be started: {mask(str(error), secrets)}", reason="refused", cause=error)


def secrets_of(environment: Mapping[str, Any]) -> set[str]:
    """Values that must not be shown, identified by the names of their variables.

    Values are as operators write them, not only texts: the Docker SDK converts numbers, bytes and others, and unsets a
    variable whose value is None.
    """
    texts = {str(name): _as_text(value) for name, value in environment.items() if value is not None}
    # A short value, such as "1", would hide half of a text and is not a secret.
    return {text for name, text in texts.items() if _SECRET_NAME.search(name) and len(text) >= 6}


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, and without what its context shows to be one."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in _SECRET_IN_TEXT:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


class Died(Exception):
    """A server's main process has ended. `memory` is what it might have, in bytes; 0 is no limit."""

    def __init__(self, exit_code: int, out_of_memory: bool = False, error: str = "", memory: int = 0) -> None:
        self.exit_code = exit_code
        self.reason = "oom" if out_of_memory else "exited"
        if out_of_memory:
            limit = f"{memory // 2**20} MiB, " if memory else ""
            how = f"ran out of memory ({limit}exit code {exit_code})"
        else:
            how = f"ended with exit code {exit_code}" + (f": {error}" if error else "")
        super().__init__(how)
