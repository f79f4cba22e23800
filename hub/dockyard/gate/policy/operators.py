"""Whether the operator's own configuration may give servers more than settings and profiles do.

`make up` loads that configuration, and keeps the hash of files that give no more beside them: the gate itself runs no
code of an operator's. Files that were changed since then may do anything.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHECKED = ".checked"
# Bytes of all files: the gate reads them at each start of a server.
_LARGEST = 2**20


def digest(folder: Path) -> str:
    """A hash of all files below a folder, by names and contents; empty if they can't be read, or are too large."""
    whole, size = hashlib.sha256(), 0
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            # What editors and Python leave behind, what people read, and what neither hub nor gate can read.
            if any(part.startswith(".") or part == "__pycache__" for part in name.parts) or name.suffix == ".md":
                continue
            if not os.access(path, os.R_OK):
                continue
            size += path.stat().st_size
            if size > _LARGEST:
                return ""
            whole.update(f"{str(name)!r} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    except OSError:
        return ""
    return whole.hexdigest()


def may_raise_limits(folder: Path) -> bool:
    """Are there files that are not those that were checked?"""
    if not any(folder.glob("*.py")):
        return False
    try:
        checked = (folder / CHECKED).read_text("ascii", errors="replace").strip()
    except OSError:
        return True
    return not checked or digest(folder) != checked
