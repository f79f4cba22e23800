from __future__ import annotations

from typing import Any

import pytest

from dockerspawner.sleep import overdue
from support.spawners import make_spawner


@pytest.mark.parametrize(
    ("most", "longest", "ended"),
    [(0, 0, []), (2, 0, ["a"]), (5, 0, []), (0, 25, ["a"]), (0, 15, ["a", "b"]), (1, 25, ["a", "b"])],
)
def test_whom_to_end(most: int, longest: float, ended: list[str]) -> None:
    assert overdue({"c": 30, "a": 10, "b": 20}, now=36, most=most, longest=longest) == ended


def test_since_when_it_sleeps_is_in_the_state() -> None:
    spawner = make_spawner(stop_action="pause")
    state: dict[str, Any] = {"object_id": "1", "object_name": "x", "paused_at": 5.0}
    spawner.load_state(state)
    assert spawner.get_state() == state
