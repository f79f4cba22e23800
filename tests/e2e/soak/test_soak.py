"""Fifty users and random faults for a while; at the end the books balance, and the hub has not grown.

SOAK_SEED= says which faults and doings; it is printed, and in .artifacts/soak.json with all that happened. By default
the short one has always the same: it is there to show that a change has broken something, not to come upon what was
there before. The long one has others each time, and goes on for an hour, or SOAK_SECONDS=.
"""

from __future__ import annotations

import json
import os
import random

import pytest

from support.kit import Kit
from support.notebook import notebook_image
from support.repo import ROOT
from support.soak import Soak
from support.soakreport import Report
from support.wait import until

USERS, REAL = 50, 2
# How much a process may grow in the last third: more is a leak, or soon is. In a long one what a heap may vary by, and
# what a start may leave; a leak of 1 MiB a minute is more than that in twenty minutes.
KIBIBYTES, THREADS, SOCKETS = 40 * 1024, 12, 60
VARIES, A_START = 8 * 1024, 4
LONG = int(os.environ.get("SOAK_SECONDS") or 3600)


def kept(kit: Kit, report: Report, books: dict[str, object]) -> None:
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(vars(report) | {"books": books}, indent=1, default=vars))
    for service in ("hub", "gate"):
        (folder / f"soak-{service}.log").write_bytes(kit.container(service).logs(timestamps=True))


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [90, pytest.param(LONG, marks=pytest.mark.long, id="long")])
async def test_soak(running: Kit, seconds: int) -> None:
    seed = int(os.environ.get("SOAK_SEED") or (random.randrange(10**6) if seconds == LONG else 1))
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
        # Some were started by the hub that was killed.
        await soak.all_stopped()
        await balanced()
        left, in_vain = dict(report.rows), report.did["run in vain"]
        undisturbed = len(report.undisturbed())
        await soak.calm()
        await balanced()
    finally:
        kept(running, report, books)
        await soak.close()
    faults = [fault.name for fault in report.faults]
    print(dict(report.did), faults, report.process, report.started, left, report.rows, sep="\n")
    assert [start for start in report.undisturbed() if start.said] == []
    assert undisturbed > 20
    assert min(report.did[what] for what in ("sign-in", "start", "visit", "stop", "cancel")) >= 10
    assert report.did["run"] >= REAL
    assert report.did["run in vain"] == in_vain
    assert report.did["visit in vain"] < report.did["visit"] / 10
    assert len(set(faults)) == 7
    # Without a fault nothing at all is left.
    assert report.rows == left
    _, second, last = report.process
    most = KIBIBYTES
    if seconds == LONG:
        most = min(most, VARIES + A_START * (report.started[2] - report.started[1]))
    for service, grown in last.items():
        assert grown["rss"] - second[service]["rss"] < most, service
        assert grown["threads"] - second[service]["threads"] < THREADS, service
        assert grown["sockets"] - second[service]["sockets"] < SOCKETS, service
