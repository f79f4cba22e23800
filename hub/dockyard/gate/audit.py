"""The gate's log: a JSON line for each write call and each refusal, on standard output and in files on a volume."""

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
# Maximum bytes of each file, and number of older files. Lines of one kind never evict those of another.
FILES = {
    "created": (10 * 2**20, 4),
    "orders": (10 * 2**20, 4),
    "reads": (4 * 2**20, 2),
    "refused": (4 * 2**20, 2),
}
# Seconds for which identical lines are counted, and number of different refusals that are logged in that time.
WINDOW = 60.0
MOST = 100
# Characters of a sentence, which may quote the request, and of the path of a refused request.
_LONGEST, _LONGEST_PATH = 300, 1000


def reference(why: str) -> str:
    """Return a short name of a reason, with which an administrator finds it in the log."""
    return hashlib.sha256(why.encode("utf-8", "backslashreplace")).hexdigest()[:8]


class _File(RotatingFileHandler):
    """A file without which the gate continues: if it can't be written, one line on standard error reports that."""

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
        # Refusals above the limit, and the time until which they are counted.
        self._surplus, self._surplus_until = 0, 0.0

    def note(
        self, verdict: str, method: str, path: str, status: int, why: str = "", about: dict[str, Any] | None = None
    ) -> None:
        """Log a request. `verdict` is done, refused, failed or given up.

        Bodies are never logged: they contain users' tokens. `about` describes the request. The path of a call that was
        carried out is never cut: its end may name the file that was read. If the engine did nothing, as for a stop of a
        stopped container, repetitions are counted as those of refusals.
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
        """Log the number of repetitions of each line whose time is over; `at_end`, of all lines."""
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
        # In ASCII, with all other characters escaped: a quoted text can't forge a line.
        line = json.dumps({**entry, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        print(line, file=self._stream, flush=True)
        if self._files:
            self._files[_kind(entry)].emit(logging.makeLogRecord({"msg": line}))


def _is_order(verdict: str, status: int) -> bool:
    """Whether the engine has done something, or may have."""
    return verdict == "given up" or (verdict == "done" and not 300 <= status < 500)


def _kind(entry: dict[str, Any]) -> str:
    """Return the file of a line. Many starts and stops of a server evict no line about a created object."""
    if not _is_order(entry["gate"], entry.get("status", 0)):
        return "refused"
    if entry["method"] == "GET":
        return "reads"
    return "created" if entry["path"].partition("?")[0].endswith("/create") else "orders"
