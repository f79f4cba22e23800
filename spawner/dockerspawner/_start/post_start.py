"""The operator's command that runs in a container after its start."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import Bool, List, Unicode, Union

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import EngineError, Unavailable
from dockerspawner._start.calls import Calls
from dockerspawner._start.cancelling import end
from dockerspawner._start.failures import Failures
from dockerspawner._start.reporting import Reporting

# Exit codes of a command that could not be executed: its output is then the engine's error message.
_NOT_RUN = (126, 127)
# Syntax that only a shell understands. Without a shell, it becomes an argument of the command.
_OF_A_SHELL = re.compile(r"^\s*(?:cd|export|source|\.|if|for|while|set|umask)\s|&&|\|\||[|;<>`*]|\$\w|\$[({]")
# Seconds between two inspections of a command whose output stream timed out.
_PAUSE = 0.5

Command = str | list[str] | bool


def needs_shell(command: Command) -> bool:
    """Was a command that runs without a shell probably written for a shell?"""
    if not isinstance(command, str):
        return False
    try:
        first = shlex.split(command)[:1]
    except ValueError:
        return False
    return bool(_OF_A_SHELL.search(command)) and not (first and first[0].rpartition("/")[2] in ("sh", "bash", "dash"))


# Lines of the command's output in the hub's log.
OUTPUT_LINES = 200


class PostStartSettings(Core):
    post_start_cmd = Union(
        [Unicode(), List(Unicode()), Bool()],
        default_value=False,
        config=True,
        help="""Command that the spawner runs in the container after its start, as a string or a list of arguments. It
        runs without a shell; to use one, write ["sh", "-c", "cd work && ./prepare"]. The spawner logs the output
        (stdout as debug, stderr as warning) and an exit code other than 0, and the start continues. If the command
        runs longer than the start may take, the start fails. Default: no command.""",
    )


class PostStart:
    """Runs post_start_cmd in a container that has started."""

    def __init__(self, server: PostStartSettings, calls: Calls, reporting: Reporting, failures: Failures) -> None:
        self._server = server
        self._calls = calls
        self._reporting = reporting
        self._failures = failures

    async def execute(self) -> None:
        """Run post_start_cmd in the container; log stdout as debug and stderr as warning."""
        try:
            command = await perform(
                self._server.docker, "exec_create", self._server.object_id, self._server.post_start_cmd
            )
        except ValueError as error:
            # The SDK raises this for an unclosed quotation mark.
            self._server.log.error("post_start_cmd can't be run: %s: %s", error, self._server.post_start_cmd)
            raise failure(
                "The command that prepares the server can't be run. Ask an administrator to correct post_start_cmd.",
                reason="settings",
            ) from None
        stdout, stderr = await self._output_of(command["Id"])
        code = await self._exit_code_of(command["Id"])
        if stdout and not stderr and code in _NOT_RUN:
            stdout, stderr = None, stdout
        for name, log, output in (
            ("stdout", self._server.log.debug, stdout),
            ("stderr", self._server.log.warning, stderr),
        ):
            if text := await self._failures.excerpt(output or b"", lines=OUTPUT_LINES):
                log(f"post_start {name} in {self._server.object_name}: {text}")
        if code:
            hint = (
                ' It runs without a shell: use ["sh", "-c", "..."].' if needs_shell(self._server.post_start_cmd) else ""
            )
            self._server.log.warning(
                "post_start_cmd of %s ended with exit code %i, and the start continues: %s.%s",
                self._server.object_name,
                code,
                self._server.post_start_cmd,
                hint,
            )

    async def _output_of(self, command: str) -> tuple[bytes | None, bytes | None]:
        try:
            stdout, stderr = await perform(self._server.docker, "exec_start", command, demux=True)
        except Unavailable as error:
            if not error.timed_out:
                raise
            self._server.log.warning(
                "The output of post_start_cmd in %s is lost: the command printed nothing for too long",
                self._server.object_name,
            )
            return None, None
        return stdout, stderr

    async def _exit_code_of(self, command: str) -> int:
        while True:
            found = await perform(self._server.docker, "exec_inspect", command)
            if not found.get("Running"):
                return int(found.get("ExitCode") or 0)
            await asyncio.sleep(_PAUSE)

    async def run(self, until: float) -> None:
        """Run post_start_cmd until `until` at the latest. If the server exits meanwhile, the failure reports that."""
        began = time.monotonic()
        running = maybe_future(self._server.post_start_exec())
        try:
            done, _ = await asyncio.wait({running}, timeout=max(0.0, until - began))
            if done:
                await self._ended(running)
                return
        finally:
            await end([running])
        self._reporting.fail_if_dead(await self._calls.existing())
        seconds = time.monotonic() - began
        self._server.log.error(
            "post_start_cmd of %s was still running after %.0f s: %s. Raise start_timeout, or shorten the command.",
            self._server.object_name,
            seconds,
            self._server.post_start_cmd,
        )
        raise failure(
            f"The command that prepares the server (post_start_cmd) was still running after {seconds:.0f} s. "
            "Ask an administrator to raise start_timeout or to shorten the command.",
            reason="timeout",
        )

    async def _ended(self, running: asyncio.Future[Any]) -> None:
        try:
            running.result()
        except EngineError:
            # The engine runs no command in a stopped container: the container's exit code says more.
            self._reporting.fail_if_dead(await self._calls.existing())
            raise
