"""Problems in a hub's log."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Beginnings of log entries of JupyterHub and its proxy.
_ENTRY = r"\[[DIWEC] \d{4}-|\d{4}-\d\d-\d\dT\S+ \[ConfigProxy\]"
# Output of Python, asyncio and aiohttp that bypasses the log.
_PRINTED = (
    r"\S[^\n]*:\d+: \w*Warning: |Traceback \(|Exception ignored|Task was destroyed|(?:Task|Future) exception|Unclosed "
)
_BEGINS = re.compile(rf"(?m)^(?={_ENTRY}|{_PRINTED})")
_IS_PROBLEM = re.compile(rf"\[[WEC] |\S+ \[ConfigProxy\] \S*(?:warn|error)|{_PRINTED}|[\s\S]*\n\s*Traceback \(")


def problems(log: str, expected: Iterable[str] = ()) -> list[str]:
    """List warnings, errors, Python warnings and tracebacks that do not match `expected`."""
    entries = [entry.strip() for entry in _BEGINS.split(log)]
    found = [entry for entry in entries if _IS_PROBLEM.match(entry)]
    return [entry for entry in found if not any(re.search(pattern, entry) for pattern in expected)]
