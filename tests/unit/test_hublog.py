"""Detection of problems in a hub's log."""

from __future__ import annotations

import pytest

from support.hublog import problems

PROBLEMS = [
    "[W 2026-01-02 03:04:05.678 JupyterHub spawner:251] \n    The shared database session\n    is deprecated",
    "[E 2026-01-02 03:04:05.678 JupyterHub web:2108] Uncaught exception",
    "[C 2026-01-02 03:04:05.678 JupyterHub app:4035] Received signal SIGTERM",
    "[I 2026-01-02 03:04:05.678 JupyterHub app:1] Said\n    Traceback (most recent call last):\n    KeyError",
    "2026-01-02T03:04:05.678Z [ConfigProxy] \x1b[33mwarn\x1b[39m: Terminated",
    "/srv/dockerspawner/records.py:18: SAWarning: TypeDecorator JSONDict()\n  return [",
    "sys:1: ResourceWarning: unclosed file",
    "Traceback (most recent call last):\n  File",
    "Task exception was never retrieved\nfuture: <Task>",
    "Unclosed client session",
]
ORDINARY = [
    "[I 2026-01-02 03:04:05.678 JupyterHub log:192] 200 GET /hub/api/Warning (ann@127.0.0.1) 1.23ms",
    "[D 2026-01-02 03:04:05.678 JupyterHub app:1] Text\n    with more of it",
    "2026-01-02T03:04:05.678Z [ConfigProxy] \x1b[32minfo\x1b[39m: Adding route / -> http://127.0.0.1:1",
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_each_kind_is_found_among_ordinary_entries(problem: str) -> None:
    log = "\n".join(entry for ordinary in ORDINARY for entry in (ordinary, problem, ordinary))
    assert problems(log) == [problem] * len(ORDINARY)
    assert problems(log, ["no such text"]) == [problem] * len(ORDINARY)
    assert (
        problems(
            log, ["Uncaught", "SIGTERM", "[Tt]raceback", "Terminated", "deprecated", "JSON", "[Uu]nclosed", "Task"]
        )
        == []
    )
