"""What a user is told when a server does not start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from tornado.web import HTTPError

from dockerspawner._errors.masking import sentence
from dockerspawner._errors.sdk import SpawnException, engine_failure
from dockerspawner._errors.translation import EngineError, NoLeader, NoSuchImage, NoSuchNetwork, Unavailable


def failure(
    message: str, *, reason: str, details: str = "", status: int = 500, cause: EngineError | None = None
) -> Exception:
    """Create an exception whose `message`, with `details` below it, the hub shows to the user.

    The type is SpawnException (HTTPError in JupyterHub 5). The hub's metrics have `reason` as a label. With a `cause`,
    the exception is also an error of the Docker SDK, of the same class as `cause`.
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
    """Create a failure that only an administrator can fix; `message` names the setting."""
    return failure(f"{message} Please contact an administrator.", reason="settings")


def explain(error: EngineError, secrets: Iterable[str] = ()) -> Any:
    """A failure of what the engine did not do, with a sentence that a user can understand."""
    if isinstance(error, NoLeader):
        return failure("The swarm has no leader now. Please try again later.", reason="engine", status=503, cause=error)
    if isinstance(error, Unavailable):
        return failure(
            "The Docker engine does not answer. Please try again later.", reason="engine", status=503, cause=error
        )
    text = sentence(error, secrets)
    if isinstance(error, NoSuchNetwork) and (found := re.search(r"\bnetwork (\S+) not found", text)):
        return failure(f"The Docker network {found[1]} does not exist.", reason="network", cause=error)
    if isinstance(error, NoSuchImage):
        return failure(text, reason="image", cause=error)
    if "no space left on device" in text:
        return failure("The Docker engine's disk is full: no space left on device.", reason="disk", cause=error)
    if re.search(r"could not select device driver .*gpu", text):
        return failure("The Docker engine has no GPU, or no runtime for it.", reason="gpus", cause=error)
    return failure(f"The server can't be started: {text}", reason="refused", cause=error)


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
