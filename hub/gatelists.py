"""The hub and the gate go by the same profiles, also where only the hub was started again.

Both have the file of PROFILES_FILE mounted, and read it when they start. A container keeps a file that an editor
replaces, until it starts again. So the gate shows what it has read, and a hub that has read something else has the
gate end: the engine starts it again, with the new file.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

FOLDER = Path("/run/gate")
SOCKET = "engine.sock"
# What the gate has read, and the socket by which the hub asks it to end.
READ = "profiles.yaml"
AGAIN = "again.sock"
# How often a hub has the gate end before it goes on without.
ATTEMPTS = 3


def show(profiles: bytes, folder: Path) -> None:
    """For the gate: show the profiles that it goes by."""
    draft = folder / f"{READ}.new"
    draft.write_bytes(profiles)
    draft.replace(folder / READ)


def agree(own: Path, folder: Path = FOLDER, patience: float = 20.0, pause: float = 0.1) -> str:
    """For the hub: return when the gate goes by the profiles in `own`; or why it does not, after `patience` seconds."""
    if not (folder / SOCKET).exists():
        # There is no gate.
        return ""
    until = time.monotonic() + patience
    # When those that were asked to end had shown what they have read.
    asked: list[int] = []
    while time.monotonic() < until:
        # While it starts, it has not read anything yet.
        if _connects(folder / SOCKET):
            try:
                shown, same = (folder / READ).stat().st_mtime_ns, (folder / READ).read_bytes() == own.read_bytes()
            except FileNotFoundError:
                # A gate of another version.
                return ""
            if same:
                return ""
            if shown not in asked:
                if len(asked) == ATTEMPTS:
                    return "the gate has other profiles than the file of PROFILES_FILE"
                asked += [shown] * _connects(folder / AGAIN)
        time.sleep(pause)
    return "the gate does not answer, or does not end"


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
