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
# How much a process may grow in the last third: more is a leak, or soon is.
KIBIBYTES, THREADS, SOCKETS = 40 * 1024, 12, 60


def kept(kit: Kit, report: Report, books: dict[str, object]) -> None:
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(vars(report) | {"books": books}, indent=1, default=vars))
    for service in ("hub", "gate"):
        (folder / f"soak-{service}.log").write_bytes(kit.container(service).logs(timestamps=True))


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [90, pytest.param(3600, marks=pytest.mark.long)])
async def test_soak(running: Kit, seconds: int) -> None:
    seed = int(os.environ.get("SOAK_SEED") or 1)
    print(f"SOAK_SEED={seed}")
    soak = Soak(running, seed, USERS, notebook_image(), REAL)
    report = soak.report
    books: dict[str, object] = {}

    async def balance() -> bool:
        books.clear()
        books.update({what: pair for what, pair in (await soak.books()).items() if pair[0] != pair[1]})
        return not books

    async def balanced() -> None:
        try:
            await until(balance, timeout=90, interval=1)
        except AssertionError as error:
            raise AssertionError(f"the books don't balance: what is, and what should be: {books}") from error

    try:
        await soak.run(seconds)
        await balanced()
        # Of some the hub does not know the tokens: it has not started them itself.
        await soak.all_stopped()
        await balanced()
        left, in_vain = dict(report.rows), report.did["run in vain"]
        undisturbed = len(report.undisturbed())
        await soak.calm()
        await balanced()
    finally:
        kept(running, report, books)
        await soak.close()
    print(dict(report.did), [fault.name for fault in report.faults], report.process, left, report.rows, sep="\n")
    assert [start for start in report.undisturbed() if start.said] == []
    assert undisturbed > 20
    assert min(report.did[what] for what in ("sign-in", "start", "visit", "stop")) >= 10
    assert report.did["run"] >= REAL
    assert report.did["run in vain"] == in_vain
    assert report.did["visit in vain"] < report.did["visit"] / 10
    assert len({fault.name for fault in report.faults}) == 7
    # Without a fault nothing at all is left.
    assert report.rows == left
    _, second, last = report.process
    for service, grown in last.items():
        assert grown["rss"] - second[service]["rss"] < KIBIBYTES, service
        assert grown["threads"] - second[service]["threads"] < THREADS, service
        assert grown["sockets"] - second[service]["sockets"] < SOCKETS, service
