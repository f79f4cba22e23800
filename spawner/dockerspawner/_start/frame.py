"""The frame of one start: it ends within start_timeout, and a failure has a reason and is cleaned up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from dockerspawner._core import Core
from dockerspawner._engine import metrics
from dockerspawner._errors.failures import Died, failure
from dockerspawner._errors.translation import meaning
from dockerspawner._start.cancelling import end

# Seconds that a cancelled start waits for its cleanup.
UNDO_CANCELLED = 10.0


class StartFrame(Core):
    async def _start_in_time(self) -> tuple[str, int]:
        """Run _start(), and fail before the hub's own timeout, whose message has no reason."""
        attempt = self._attempt
        starting: asyncio.Future[tuple[str, int]] = asyncio.ensure_future(self._start_after_undoing())
        try:
            await asyncio.wait({starting}, timeout=attempt.clock.queue_end - time.monotonic())
            if not starting.done() and not attempt.is_queueing:
                await asyncio.wait({starting}, timeout=attempt.clock.end - time.monotonic())
            if starting.done():
                return starting.result()
            raise self._out_of_time()
        finally:
            await end([starting])

    def _out_of_time(self) -> Exception:
        seconds = f"{time.monotonic() - self._attempt.clock.began:.0f} s"
        if self._attempt.is_queueing:
            self.log.error(
                "%s did not start: it waited %s for other servers to start. Raise start_timeout or starts_at_once.",
                self.object_name,
                seconds,
            )
            return failure(
                f"Too many servers start at once: yours waited {seconds} for its turn. Please try again later.",
                reason="queue",
                status=503,
            )
        self.log.error("%s did not start within start_timeout. Its last step: %s", self.object_name, self._attempt.step)
        return failure(
            f"The server did not start within {seconds}. The last step was: {self._attempt.step}.", reason="timeout"
        )

    async def _start_after_undoing(self) -> tuple[str, int]:
        if self._is_undoing:
            self._report_progress(0, "Cleaning up after the previous start")
            await self._until_undone()
        # The cleanup of the previous start may remove its container, and needs the data of its volumes.
        self._attempt.known_id = self.object_id
        self._begin_volumes()
        return await self._start(self._attempt.clock.ready_end)

    async def _undo_failed_start(self, error: BaseException) -> BaseException:
        """Clean up after a failed or cancelled start (if slow, in the background); return the exception to raise."""
        failed = error
        try:
            if isinstance(error, Exception):
                # Before the removal of the container, which deletes its log.
                failed = await self._explained(error)
            elif self._attempt.clock.over <= time.monotonic():
                # On a busy machine, the hub's timeout can come first.
                failed = self._out_of_time()
            else:
                self.log.warning("The start of %s was cancelled", self.object_name)
        finally:
            metrics.failed(failed)
            self._attempt.is_queueing = False
            await self._undo_start(
                self._attempt, self._attempt.clock.undoing() if isinstance(error, Exception) else UNDO_CANCELLED
            )
        self._story.end(getattr(failed, "jupyterhub_message", ""))
        return failed

    async def _explained(self, error: Exception) -> Exception:
        """Call _explain(); if it fails, keep the original reason."""
        try:
            return await self._explain(error)
        except Exception:
            self.log.exception("The full reason why %s did not start can't be determined", self.object_name)
        meant = meaning("start", error)
        return failure(f"The server {meant}.", reason=meant.reason) if isinstance(meant, Died) else error

    async def _details(self) -> str:
        """Return the end of the server's log, or why it can't be shown."""
        return await self._in_time(self._last_words(), "(its log can't be read now)")

    async def _in_time(self, words: Coroutine[Any, Any, str], otherwise: str) -> str:
        """Await an optional part of an error message; return `otherwise` on timeout or failure."""
        try:
            return await asyncio.wait_for(words, self._attempt.clock.explaining())
        except asyncio.TimeoutError:
            self.log.warning("Timeout while collecting details of the failed start of %s", self.object_name)
        except Exception:
            self.log.exception("Details of the failed start of %s can't be collected", self.object_name)
        return otherwise
