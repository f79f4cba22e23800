"""The end of a service's log, in messages of failed starts."""

from __future__ import annotations

import asyncio

from dockerspawner._engine.client import perform
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import EngineError, translating
from dockerspawner._start.failures import LOG_ENTRIES, Failures

# Seconds that the log of a task may take, which its node has to send.
LOG_TIMEOUT = 5.0


class SwarmFailures(Failures):
    async def log_tail(self) -> str:
        try:
            log = await asyncio.wait_for(self._log_of_task(), LOG_TIMEOUT)
        except (EngineError, asyncio.TimeoutError) as error:
            return f"(its log can't be read: {sentence(error) or 'its node does not send it'})"
        return await self.end_of_log(log)

    async def _log_of_task(self) -> bytes:
        asked = {"stdout": True, "stderr": True, "tail": LOG_ENTRIES, "is_tty": False}
        lines = await perform(self._server.docker, "service_logs", self._server.object_id, **asked)
        return await translating("service_logs", asyncio.to_thread(b"".join, lines))
