"""What happened in a soak, and which of it a fault may have hurt."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Seconds after a fault in which what begins may still meet it.
WAKE = 2.0


@dataclass
class Fault:
    """One that was over, all being well again, at `over`. `hurt` is the user whom it may have hurt, or EVERYBODY."""

    name: str
    began: float
    over: float
    hurt: str


EVERYBODY, NOBODY = "everybody", "nobody"


@dataclass
class Start:
    """A user's start; `said` is why it failed, or nothing."""

    user: str
    began: float
    ended: float
    said: str = ""

    def may_have_met(self, fault: Fault) -> bool:
        return fault.hurt in {self.user, EVERYBODY} and self.began < fault.over + WAKE and self.ended > fault.began


@dataclass
class Report:
    """What happened."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    # At the end of each third: what the processes of the services have, and how many starts have been.
    process: list[dict[str, dict[str, int]]] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def undisturbed(self) -> list[Start]:
        """Starts that no fault can have hurt."""
        return [start for start in self.starts if not any(map(start.may_have_met, self.faults))]
