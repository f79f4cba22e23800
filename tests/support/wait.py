"""Waiting for a condition: the only way a test waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


def wait_until(predicate: Callable[[], Any], timeout: float, interval: float = 0.1, what: str = "") -> Any:
    """Return the first true value of `predicate`; AssertionError after `timeout` seconds, naming `what`."""
    deadline = time.monotonic() + timeout
    while True:
        if value := predicate():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(interval)


async def until(predicate: Callable[[], Awaitable[Any]], timeout: float, interval: float = 0.05, what: str = "") -> Any:
    """`wait_until` for a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        if value := await predicate():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        await asyncio.sleep(interval)
