"""Why a start failed: the message for the user, with the end of the server's log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import Died, explain, failure
from dockerspawner._errors.masking import excerpt, secrets_of, sentence
from dockerspawner._errors.translation import EngineError, meaning, meaning_outside
from dockerspawner._settings.operator_code import blame
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.calls import Calls
from dockerspawner._start.capabilities import lacks_capabilities

# Log entries to request: a traceback of a hundred lines is shown as one line.
LOG_ENTRIES = 150


class Failures:
    """Explains the failures of one server's starts, and shows texts of its processes without secrets."""

    def __init__(self, server: Core, calls: Calls) -> None:
        self._server = server
        self._calls = calls

    async def explained(self, error: Exception) -> Exception:
        """Return the failure to raise in place of `error`; if its explanation fails, keep the original reason."""
        try:
            return await self.explain(error)
        except Exception:
            self._server.log.exception(
                "The full reason why %s did not start can't be determined", self._server.object_name
            )
        meant = meaning("start", error)
        return failure(f"The server {meant}.", reason=meant.reason) if isinstance(meant, Died) else error

    async def explain(self, error: Exception) -> Exception:
        """A failure of start(), with a sentence that its user can understand."""
        server, meant = self._server, meaning_outside("start", error)
        if isinstance(meant, Died):
            blamed = await self.in_time(server._not_writable(), "")
            said, details = sentence(meant, self.secrets()), await self.details()
            blamed += await self.in_time(self._blame_capabilities(details), "")
            return failure(f"The server {said}.{blamed}", reason=meant.reason, details=details)
        if isinstance(meant, EngineError):
            server.log.error("%s can't be started: %s", server.object_name, sentence(meant, self.secrets()))
            found: Exception = explain(meant, self.secrets())
            return found
        # Other exceptions may have a message for the user.
        if isinstance(error, OSError | asyncio.TimeoutError):
            return blame(f"code of {type(server).__name__}", error, server.log)
        return error

    def out_of_time(self, attempt: StartAttempt) -> Exception:
        """A failure of a start that has used up start_timeout."""
        log, name = self._server.log, self._server.object_name
        seconds = f"{time.monotonic() - attempt.clock.began:.0f} s"
        if attempt.is_queueing:
            log.error(
                "%s did not start: it waited %s for other servers to start. Raise start_timeout or starts_at_once.",
                name,
                seconds,
            )
            return failure(
                f"Too many servers start at once: yours waited {seconds} for its turn. Please try again later.",
                reason="queue",
                status=503,
            )
        log.error("%s did not start within start_timeout. Its last step: %s", name, attempt.step)
        return failure(
            f"The server did not start within {seconds}. The last step was: {attempt.step}.", reason="timeout"
        )

    async def details(self) -> str:
        """Return the end of the server's log, or why it can't be shown."""
        return await self.in_time(self.log_tail(), "(its log can't be read now)")

    async def in_time(self, words: Coroutine[Any, Any, str], otherwise: str) -> str:
        """Await an optional part of an error message; return `otherwise` on timeout or failure."""
        log, name = self._server.log, self._server.object_name
        try:
            return await asyncio.wait_for(words, self._server._attempt.clock.explaining())
        except asyncio.TimeoutError:
            log.warning("Timeout while collecting details of the failed start of %s", name)
        except Exception:
            log.exception("Details of the failed start of %s can't be collected", name)
        return otherwise

    async def _blame_capabilities(self, log: str) -> str:
        """Return a sentence if the server runs as root, and its log shows that it lacks root's capabilities."""
        server = self._server
        container = await self._calls.inspect(server.container_id)
        if container is None or not lacks_capabilities(container, log):
            return ""
        server.log.error(
            "%s runs as root (user in extra_create_kwargs, or of image %s), and its settings drop all capabilities "
            "(cap_drop in extra_host_config). Its start script can't change accounts, owners or its user. Remove the "
            "user root, NB_UID and NB_GID: images of Jupyter's docker-stacks then start as their own user, uid 1000.",
            server.object_name,
            server.image,
        )
        return (
            " It runs as root without root's capabilities (cap_drop), so its start script can't change accounts or "
            "owners of files. Ask an administrator to start the image as its own user."
        )

    async def log_tail(self) -> str:
        """Return the end of the container's log, limited and without secrets; empty if there is no log."""
        try:
            log: bytes = await perform(self._server.docker, "logs", self._server.object_id, tail=LOG_ENTRIES)
        except EngineError as error:
            return f"(its log can't be read: {sentence(error)})"
        return await self.end_of_log(log)

    async def end_of_log(self, log: bytes) -> str:
        """Return the end of a log for users, with tracebacks shortened; write the unshortened end to the hub's log."""
        shown = await self.excerpt(log, tail=LOG_ENTRIES, condense=True)
        whole = await self.excerpt(log, tail=LOG_ENTRIES)
        if whole != shown:
            self._server.log.info("The log of %s ends with:\n%s", self._server.object_name, whole)
        return shown

    async def excerpt(self, text: bytes, **limits: Any) -> str:
        """Return the end of a process's output, for users and logs."""
        # In a thread: the process may print the most expensive text.
        return await asyncio.to_thread(excerpt, text, self.secrets(), **limits)

    def secrets(self) -> set[str]:
        """Return the values that no message or log may contain."""
        return secrets_of({**self._server._attempt.environment, "JUPYTERHUB_API_TOKEN": self._server.api_token})
