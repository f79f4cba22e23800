"""What was ordered and what was refused: a JSON line each, on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

# Of a sentence, which may quote what was asked for.
_LONGEST = 300


class Audit:
    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream

    def note(self, verdict: str, method: str, path: str, status: int, why: str = "") -> None:
        """`verdict` is done, refused, failed or given up. Bodies are never noted: they hold users' tokens.

        The whole path is, which is no longer than the server reads: what is read could be behind a long beginning.
        """
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "gate": verdict,
            "method": method[:10],
            "path": path,
            "status": status,
            **({"why": why[:_LONGEST]} if why else {}),
        }
        print(json.dumps(entry), file=self._stream, flush=True)
