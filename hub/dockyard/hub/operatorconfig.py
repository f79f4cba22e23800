"""The operator's own configuration: runs the files of hub/config.d with the hub's configuration, as `c`."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from dockyard.settings.sources import Mistakes

FOLDER = Path("/srv/dockyard/config.d")
# The folder's name for an operator.
SHOWN = "hub/config.d"

_NOT_TEXT = "is not UTF-8 text: save it as UTF-8"
# Names of files that an operator has put aside on purpose.
_PUT_ASIDE = re.compile(r"~$|\.(bak|disabled|example|off|old|orig|rej|sample|swp|tmp)$", re.IGNORECASE)
# Errors of an operation that needs a network or a writable file system.
_OF_THE_PLACE = {
    errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EROFS,
}


class TooSlow(BaseException):
    """Files did not end in time. Not an Exception: a loop that catches those would go on."""


class Failed(Mistakes):
    """A file that failed. `of_the_place`: it needs a network or a writable folder, which the check lacks."""

    def __init__(self, line: str, error: BaseException):
        super().__init__([line])
        self.error = error
        self.of_the_place = any(isinstance(one, OSError) and _is_of_the_place(one) for one in _causes(error))


def files(folder: Path) -> list[Path]:
    """List the files to load, in the order of their names. Raises `Mistakes` if the folder can't be read."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        # As on a swarm, if the operator has no files.
        return []
    except OSError as error:
        advice = f"chmod o+rx {SHOWN}" if isinstance(error, PermissionError) else f"make {SHOWN} a folder"
        raise Mistakes(
            [f"{SHOWN} can't be read by the hub's user, uid {os.getuid()} ({error.strerror}): {advice}"]
        ) from None
    # Hidden files belong to editors or other systems.
    return [folder / name for name in names if name.endswith(".py") and not name.startswith(".")]


def hints(folder: Path) -> list[str]:
    """Name files that look like configuration but are not loaded."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
    except OSError:
        return []
    return [
        f"{SHOWN}/{name} is not loaded: a file's name must end in .py"
        for name in names
        if not name.endswith((".py", ".pyc"))
        and not name.startswith((".", "#"))
        and not _PUT_ASIDE.search(name)
        and (".py" in name.lower() or "." not in name)
    ]


def run(config: Config, folder: Path) -> None:
    """Run all files with `config` as `c`.

    Raises `Mistakes` with all files that can't be compiled, or with the first file that fails.
    """
    codes = compiled(folder)
    _let_items_be_set()
    for path, code in codes:
        try:
            _execute(path, code, config, folder)
        except BaseException as error:
            line = _line_of(error, folder)
            place = f", line {line[1]}" if line else ""
            name = shown(line[0] if line else path, folder)
            raise Failed(f"{name}{place}: {_reason(error)}", error) from error


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupt what runs in this context after `seconds`, by TooSlow. For the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"it has not ended within {seconds:g} s: remove the loop or the wait")

    before = signal.signal(signal.SIGALRM, interrupt)
    # Again and again: what is raised while Python collects garbage is lost.
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def compiled(folder: Path) -> list[tuple[Path, CodeType]]:
    """Compile all files. Raises `Mistakes` with all files that can't be read or are not Python."""
    found, mistakes = [], []
    for path in files(folder):
        try:
            found.append((path, _compile(path)))
        except OSError as error:
            mistakes.append(f"{shown(path, folder)}: {_unreadable(path, error)}")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            mistakes.append(f"{shown(path, folder)}{line}: {_reason(error)}")
    if mistakes:
        raise Mistakes(mistakes)
    return found


def shown(path: Path, folder: Path) -> str:
    """Return the name of a file for an operator."""
    return f"{SHOWN}/{path.relative_to(folder)}" if path.is_relative_to(folder) else str(path)


def report(line: str, level: str = "I") -> None:
    """Print a line in the format of the hub's log, which does not exist yet."""
    print(f"[{level} {datetime.now():%Y-%m-%d %H:%M:%S} config.d] {line}", file=sys.stderr, flush=True)


def report_failure(mistakes: Mistakes, folder: Path) -> None:
    """Print the traceback of a file that failed, from that file on."""
    if not isinstance(mistakes, Failed):
        return
    trace = mistakes.error.__traceback__
    while trace and not Path(trace.tb_frame.f_code.co_filename).is_relative_to(folder):
        trace = trace.tb_next
    if trace:
        traceback.print_exception(type(mistakes.error), mistakes.error, trace)


def _compile(path: Path) -> CodeType:
    source = path.read_bytes()
    if b"\0" in source:
        raise ValueError(_NOT_TEXT)
    try:
        # Without the future statements of this module.
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        try:
            source.decode()
        except UnicodeDecodeError as undecodable:
            if "codec can't decode" in str(error):
                line = source.count(b"\n", 0, undecodable.start) + 1
                raise SyntaxError(_NOT_TEXT, (str(path), line, None, None)) from None
        raise


def _execute(file: Path, code: CodeType, config: Config, folder: Path) -> None:
    def load_subconfig(fname: str, path: Any = None) -> None:
        """Run another file with the same configuration. A missing file is skipped, as by JupyterHub."""
        for candidate in _candidates(str(fname), path, file.parent):
            if candidate.is_file():
                _execute(candidate, _compile(candidate), config, folder)
                return
        report(f"{shown(file, folder)}: load_subconfig found no file {fname}", "W")

    names = {"c": config, "get_config": lambda: config, "load_subconfig": load_subconfig, "__file__": str(file)}
    exec(code, names)


def _candidates(name: str, path: Any, here: Path) -> Iterator[Path]:
    file = Path(os.path.expandvars(name)).expanduser()
    folders = [path] if isinstance(path, str) else [*path] if path else ["", str(here)]
    yield from (Path(folder) / file for folder in folders)


def _let_items_be_set() -> None:
    """Let `c.Spawner.environment["A"] = "b"` work where the trait is not configured yet, as `.update()` does."""
    if not hasattr(LazyConfigValue, "__setitem__"):
        LazyConfigValue.__setitem__ = lambda lazy, key, value: lazy.update({key: value})  # type: ignore[index]


def _line_of(error: BaseException, folder: Path) -> tuple[Path, int] | None:
    """Return the operator's file and line at which an error arose."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return Path(error.filename), error.lineno or 1
    places = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return next(((path, line) for path, line in reversed(places) if path.is_relative_to(folder)), None)


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the hub with exit({'' if error.code is None else repr(error.code)}): remove that call"
    first = next(iter(str(error).splitlines()), "")[:300]
    if isinstance(error, SyntaxError):
        # Without the file and line, which the caller names.
        first = error.msg
    if first == _NOT_TEXT or isinstance(error, TooSlow):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _unreadable(path: Path, error: OSError) -> str:
    if path.is_symlink() and not path.exists():
        return f"is a symbolic link to {os.readlink(path)}, which the hub's container lacks: copy the file instead"
    if isinstance(error, PermissionError):
        return f"can't be read by the hub's user, uid {os.getuid()}: chmod o+r {SHOWN}/{path.name}"
    if isinstance(error, IsADirectoryError):
        return "is a folder: rename it, or move its files up"
    return f"can't be read: {error.strerror}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    yield from seen


def _is_of_the_place(error: OSError) -> bool:
    return isinstance(error, socket.gaierror) or error.errno in _OF_THE_PLACE
