"""What was measured, and how it stands to what is promised."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FAILED = math.inf


@dataclass(frozen=True)
class Bar:
    """What a figure of ours is held to: `value` against `limit`."""

    said: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def verdict(self) -> str:
        how = f"{self.value:.2f}, {self.said}"
        return f"met ({how})" if self.met else f"missed by {abs(self.value - self.limit):.2g} ({how})"


@dataclass(frozen=True)
class Figure:
    """Samples of one thing, a list a side, in the order of the rounds in which they were taken.

    A side that has no such thing has no samples; a sample that came to nothing is FAILED.
    """

    row: str
    what: str
    unit: str
    ours: Sequence[float]
    predecessor: Sequence[float] = ()
    engine: Sequence[float] = ()
    bar: Bar | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def middle(samples: Sequence[float]) -> float | None:
    return statistics.median(samples) if samples else None


def ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    """The median of what each round gives, as rounds differ more than the two halves of one; else of the medians."""
    if len(above) == len(below) and above:
        pairs = [a / b for a, b in zip(above, below, strict=True) if b and math.isfinite(b)]
        return middle(pairs)
    over, under = middle(above), middle(below)
    return over / under if over is not None and under and math.isfinite(under) else None


def at_least(limit: float, of: str, above: Sequence[float], below: Sequence[float]) -> Bar:
    return Bar(f"at least {limit:g} of {of}", ratio(above, below) or 0, limit, at_least=True)


def at_most(limit: float, of: str, above: Sequence[float], below: Sequence[float]) -> Bar:
    return Bar(f"at most {limit:g} of {of}", ratio(above, below) or FAILED, limit)
