"""What a hub's log has that is no news of ordinary work."""

from __future__ import annotations

import re
from collections.abc import Iterable

# How an entry of JupyterHub begins, one of its proxy, and a warning of Python's own.
_BEGINS = re.compile(
    r"(?m)^(?=\[[DIWEC] \d{4}-|\d{4}-\d\d-\d\dT\S+ \[ConfigProxy\]|\S[^\n]*:\d+: \w*Warning: |Traceback \(most recent)"
)
_IS_PROBLEM = re.compile(
    r"\[[WEC] |\S+ \[ConfigProxy\] \S*(?:warn|error)|\S[^\n]*:\d+: \w*Warning: |[\s\S]*Traceback \("
)


def problems(log: str, expected: Iterable[str] = ()) -> list[str]:
    """Entries that are warnings or worse, warnings of Python, and tracebacks; without those that match `expected`."""
    entries = [entry.strip() for entry in _BEGINS.split(log)]
    found = [entry for entry in entries if _IS_PROBLEM.match(entry)]
    return [entry for entry in found if not any(re.search(pattern, entry) for pattern in expected)]
