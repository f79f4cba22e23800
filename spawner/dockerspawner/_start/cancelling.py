"""Reliable cancellation of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# Seconds after which a cancelled task that still runs is cancelled again.
AGAIN = 0.1


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when they are done.

    Before Python 3.12, wait_for() can lose a cancellation when its result arrives. A lost cancellation is repeated.
    """
    all_tasks = list(tasks)
    while running := [task for task in all_tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN)
    # Retrieve the exceptions, so that asyncio does not report them as never retrieved.
    await asyncio.gather(*all_tasks, return_exceptions=True)
