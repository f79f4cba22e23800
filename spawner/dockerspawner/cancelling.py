"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# Seconds after which a task that was cancelled and goes on is cancelled again.
AGAIN = 0.1


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when they are done.

    Again where it had no effect: before Python 3.12, wait_for() loses a cancellation that meets its result.
    """
    all_tasks = list(tasks)
    while running := [task for task in all_tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN)
    # What one raises is not reported as never looked at.
    await asyncio.gather(*all_tasks, return_exceptions=True)
