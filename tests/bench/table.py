"""Figures as a table for people and as JSON for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Figure, middle, ratio

HEAD = ("", "what", "unit", "ours", "predecessor", "engine", "ours/pred.", "ours/engine", "promise")


def render(figures: Iterable[Figure]) -> str:
    rows = [HEAD, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    # Texts to the left, numbers to the right.
    left = {0, 1, 2, len(HEAD) - 1}
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, ...]:
    sides = (figure.ours, figure.predecessor, figure.engine)
    ratios = (ratio(figure.ours, figure.predecessor), ratio(figure.ours, figure.engine))
    promise = figure.bar.verdict if figure.bar else ""
    return (figure.row, figure.what, figure.unit, *map(_samples, sides), *map(_number, ratios), promise)


def _samples(samples: Sequence[float]) -> str:
    """The median, and in brackets how far apart the samples lie."""
    text = _number(middle(samples))
    if len(samples) > 1 and min(samples) != max(samples):
        text += f" ({_number(min(samples))}..{_number(max(samples))})"
    return text


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if math.isinf(value):
        return "failed"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def as_json(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    return [_entry(figure) for figure in figures]


def _entry(figure: Figure) -> dict[str, Any]:
    entry = asdict(figure)
    for side in ("ours", "predecessor", "engine"):
        # JSON has no infinity: what failed is null.
        entry[side] = [sample if math.isfinite(sample) else None for sample in entry[side]]
    if figure.bar:
        finite = figure.bar.value if math.isfinite(figure.bar.value) else None
        entry["bar"] = {**asdict(figure.bar), "value": finite, "met": figure.bar.met}
    return entry
