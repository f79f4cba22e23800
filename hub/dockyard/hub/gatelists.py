"""Keep the profiles of the hub and the gate equal, also if only the hub is restarted.

Both mount the file of PROFILES_FILE, and read it when they start. If an editor replaces the file, a container keeps the
old one until it starts again. So the gate shows what it has read. If the hub has read something else, it makes the gate
exit, and the engine starts the gate again with the new file.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from dockyard.settings.gatelink import AGAIN, FOLDER, READ, SOCKET

# Number of times that a hub makes the gate exit before it gives up.
ATTEMPTS = 3


def agree(own: Path, folder: Path = FOLDER, patience: float = 20.0, pause: float = 0.1) -> str:
    """Wait until the gate has read the profiles in `own`. The hub calls this.

    Returns an empty text, or the reason if the gate has not read them after `patience` seconds.
    """
    if not (folder / SOCKET).exists():
        # There is no gate.
        return ""
    until = time.monotonic() + patience
    # Gates that were asked to exit, by the time of the file that they show.
    asked: list[int] = []
    while time.monotonic() < until:
        # A gate that is starting has not read the file yet.
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
    return "the gate does not answer, or does not exit"


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
