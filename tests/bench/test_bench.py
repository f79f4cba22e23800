"""Every row at its smallest: all is measured, and what the engine was asked is what it should be. Nothing is timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from bench import table
from bench.__main__ import ROWS, smallest
from bench.figures import FAILED, Bar, Figure, at_least, at_most, ratio
from bench.thousand import INSPECT, LIST


@cache
def measured(name: str) -> list[Figure]:
    return list(ROWS[name].measure(smallest(name)))


def row(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.needs("swarm" if name == "j" else "engine"))


@pytest.mark.parametrize("name", list(map(row, ROWS)))
def test_every_figure_is_had(name: str) -> None:
    figures = measured(name)
    assert figures
    for figure in figures:
        for samples in (figure.ours, figure.predecessor):
            # The predecessor knows of no networks of their own, its services don't start here, and the gate refuses it.
            assert samples or (name in "gjk" and samples is figure.predecessor), figure.what
            assert all(math.isfinite(sample) and sample >= 0 for sample in samples), figure
    assert all(figure.what in table.render(figures) for figure in figures)
    assert len(table.as_json(figures)) == len(figures)


@pytest.mark.needs("engine")
@pytest.mark.parametrize("what", ["hub restart", "idle"])
def test_no_server_is_asked_for_by_itself(what: str) -> None:
    (calls,) = (figure.notes["ours"] for figure in measured("e") if figure.notes and figure.what.startswith(what))
    assert INSPECT not in calls
    assert calls.get(LIST, 0) <= 1


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        ([1.0, 4.0, 9.0], [1.0, 2.0, 3.0], 2.0),
        ([1.0, 3.0], [4.0], 0.5),
        ([FAILED], [1.0], FAILED),
        ([1.0], [FAILED], None),
        ([], [1.0], None),
    ],
)
def test_ratio(above: Sequence[float], below: Sequence[float], expected: float | None) -> None:
    assert ratio(above, below) == expected


def test_verdicts() -> None:
    assert at_least(0.7, "it", [8.0], [10.0]).verdict == "met (0.80, at least 0.7 of it)"
    assert at_most(1.2, "it", [3.0], [2.0]).verdict == "missed by 0.3 (1.50, at most 1.2 of it)"
    assert not at_most(1.2, "it", [FAILED], [2.0]).met
    assert not at_least(0.7, "it", [], []).met


def test_a_figure_as_a_line_and_as_json() -> None:
    figure = Figure("z", "a thing", "s", [1.0, 3.0], [FAILED], bar=Bar("at most 3", 2.0, 3.0))
    line = table.render([figure]).splitlines()[-1]
    assert line.split() == ["z", "a", "thing", "s", "2", "(1..3)", "failed", "met", "(2.00,", "at", "most", "3)"]
    (entry,) = table.as_json([figure])
    assert entry["predecessor"] == [None]
    assert entry["bar"]["met"] is True
