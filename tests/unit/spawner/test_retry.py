from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dockerspawner._engine.retry import Retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float, *args: Any) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


async def test_retry_pauses_grow_up_to_the_longest_and_begin_again_after_reset(pauses: list[float]) -> None:
    retry = Retry(1, 5, growth=2)
    for _ in range(4):
        assert await retry.pause()
    retry.reset()
    await retry.pause()
    await retry.pause(at_most=0.5)
    assert pauses == [1, 2, 4, 5, 1, 0.5]


async def test_retry_pauses_are_spread(pauses: list[float]) -> None:
    retry = Retry(1, growth=1, spread=(0.5, 1.5))
    for _ in range(20):
        await retry.pause()
    assert all(0.5 <= pause <= 1.5 for pause in pauses)
    assert len(set(pauses)) > 1


async def test_retry_whose_time_is_over_does_not_pause(pauses: list[float]) -> None:
    retry = Retry(1, within=-1)
    assert retry.is_over
    assert not await retry.pause()
    assert pauses == []
