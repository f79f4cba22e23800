"""Fifty users and random faults for a while; at the end the books balance, and the hub has not grown.

SOAK_SEED= says which faults and doings; it is printed, and in .artifacts/soak.json with all that happened.
"""

from __future__ import annotations

import json
import os

import pytest

from support.kit import Kit
from support.notebook import notebook_image
from support.repo import ROOT
from support.soak import Report, Soak
from support.wait import until

USERS, REAL = 50, 2
# Of the hub's process, between the second and the last third: more is a leak, or soon is.
KIBIBYTES, THREADS, SOCKETS = 40 * 1024, 12, 60


def kept(kit: Kit, report: Report, books: dict[str, object]) -> None:
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(vars(report) | {"books": books}, indent=1))
    for service in ("hub", "gate"):
        (folder / f"soak-{service}.log").write_bytes(kit.container(service).logs(timestamps=True))


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [90, pytest.param(3600, marks=pytest.mark.long)])
async def test_soak(running: Kit, seconds: int) -> None:
    seed = int(os.environ.get("SOAK_SEED") or 1)
    print(f"SOAK_SEED={seed}")
    soak = Soak(running, seed, USERS, notebook_image(), REAL)
    books: dict[str, object] = {}
    try:
        await soak.run(seconds)

        async def balance() -> bool:
            books.clear()
            books.update({what: pair for what, pair in (await soak.books()).items() if pair[0] != pair[1]})
            return not books

        try:
            await until(balance, timeout=90, interval=1)
        except AssertionError as error:
            raise AssertionError(f"the books don't balance: what is, and what should be: {books}") from error
    finally:
        kept(running, soak.report, books)
        await soak.close()
    report = soak.report
    print(dict(report.did), [name for _, _, name in report.faults], report.process, sep="\n")
    assert report.unexplained() == []
    assert min(report.did[what] for what in ("sign-in", "start", "visit", "stop")) >= 10
    assert len({name for _, _, name in report.faults}) == 7
    _, second, last = report.process
    assert last["rss"] - second["rss"] < KIBIBYTES
    assert last["threads"] - second["threads"] < THREADS
    assert last["sockets"] - second["sockets"] < SOCKETS
