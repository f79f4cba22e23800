"""What was ordered and what was refused: a JSON line each, on standard output and in files that outlive the gate."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

# A volume of the gate's own.
FOLDER = Path("/var/log/gate")
# Bytes of a file, and how many full ones are kept beside it. A flood of one kind does not evict the others.
FILES = {
    "created": (10 * 2**20, 4),
    "orders": (10 * 2**20, 4),
    "reads": (4 * 2**20, 2),
    "refused": (4 * 2**20, 2),
}
# Seconds for which identical lines are counted, and how many different refusals are logged in that time.
WINDOW = 60.0
MOST = 100
# Of a sentence, which may quote what was asked for; and of the path of a refused request.
_LONGEST, _LONGEST_PATH = 300, 1000


def reference(why: str) -> str:
    """A short name of a reason, by which an administrator finds it in the log."""
    return hashlib.sha256(why.encode("utf-8", "backslashreplace")).hexdigest()[:8]


class _File(RotatingFileHandler):
    """A file that is not worth the gate: where it can't be written, one line on standard error says so."""

    is_broken = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.is_broken:
            self.is_broken = True
            print(f"The gate can't write {self.baseFilename}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


@dataclass
class _Repeated:
    entry: dict[str, Any]
    until: float
    times: int = 0


class Audit:
    def __init__(
        self,
        stream: TextIO = sys.stdout,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._files: dict[str, _File] = {}
        if folder is not None:
            for name, (size, count) in FILES.items():
                path = folder / f"{name}.jsonl"
                self._files[name] = _File(path, maxBytes=size, backupCount=count, encoding="ascii", delay=True)
        self._repeated: dict[tuple[Any, ...], _Repeated] = {}
        # Refusals that were one too many, and until when they are counted.
        self._surplus, self._surplus_until = 0, 0.0

    def note(
        self, verdict: str, method: str, path: str, status: int, why: str = "", about: dict[str, Any] | None = None
    ) -> None:
        """Log a request. `verdict` is done, refused, failed or given up.

        Bodies are never logged: they contain users' tokens. `about` describes what was asked for. The path of what was
        done is logged whole, since what was read could be at its end. Where the engine did nothing, such as for a stop
        of what has stopped, lines are counted as those of refusals.
        """
        is_order = _is_order(verdict, status)
        entry = {
            "time": "",
            "gate": verdict,
            "method": method[:10],
            "path": path if is_order else path[:_LONGEST_PATH],
            "status": status,
            **({"why": why[:_LONGEST], "reference": reference(why)} if why else {}),
            **(about or {}),
        }
        if verdict == "done" and is_order:
            self._write(entry)
            return
        self.flush()
        key = (verdict, method, path, status, why, str(about))
        if (known := self._repeated.get(key)) is not None:
            known.times += 1
        elif len(self._repeated) < MOST:
            self._repeated[key] = _Repeated(entry, self._clock() + WINDOW)
            self._write(entry)
        elif is_order:
            self._write(entry)
        else:
            self._surplus_until = self._surplus_until if self._surplus else self._clock() + WINDOW
            self._surplus += 1

    def flush(self, at_end: bool = False) -> None:
        """Log how often lines were repeated whose time is over; at the end of all."""
        now = self._clock()
        for key, known in list(self._repeated.items()):
            if at_end or known.until <= now:
                del self._repeated[key]
                if known.times:
                    self._write({**known.entry, "repeated": known.times})
        if self._surplus and (at_end or self._surplus_until <= now):
            why = f"there were more than {MOST} different refusals in {WINDOW:g} s"
            self._write({"time": "", "gate": "refused", "repeated": self._surplus, "why": why})
            self._surplus = 0

    def close(self) -> None:
        self.flush(at_end=True)
        for file in self._files.values():
            file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        # In ASCII, with all else escaped: a line can't be forged by what it quotes.
        line = json.dumps({**entry, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        print(line, file=self._stream, flush=True)
        if self._files:
            self._files[_kind(entry)].emit(logging.makeLogRecord({"msg": line}))


def _is_order(verdict: str, status: int) -> bool:
    """Has the engine done something, or may it have?"""
    return verdict == "given up" or (verdict == "done" and not 300 <= status < 500)


def _kind(entry: dict[str, Any]) -> str:
    """The file of a line. Starting and stopping one server again and again leaves what was created."""
    if not _is_order(entry["gate"], entry.get("status", 0)):
        return "refused"
    if entry["method"] == "GET":
        return "reads"
    return "created" if entry["path"].partition("?")[0].endswith("/create") else "orders"
