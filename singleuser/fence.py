"""A server that reaches nobody ends itself: its home may be opened on another node of the swarm by then.

A swarm takes the work of a node that it does not hear of to another node, and can't end what goes on there. Where the
home is on a file system that both nodes have, two servers would write to it. So this is a lease: it begins anew
whenever the hub, or one of the contacts, could be reached, and when it has run out the server ends.

    DOCKYARD_FENCE_AFTER       seconds that the lease lasts
    DOCKYARD_FENCE_CONTACTS    "host:port host:port", whom to try beside the hub of JUPYTERHUB_API_URL
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

Contact = tuple[str, int]

# Seconds that a server has for ending in good order; fewer where the lease is short.
GRACE = 10.0


def now() -> float:
    """Seconds, of which those count that the machine was suspended for."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def contacts(environ: Mapping[str, str]) -> list[Contact]:
    hub = urlsplit(environ.get("JUPYTERHUB_API_URL", ""))
    found = [(hub.hostname, hub.port or (443 if hub.scheme == "https" else 80))] if hub.hostname else []
    for text in environ.get("DOCKYARD_FENCE_CONTACTS", "").split():
        host, _, port = text.rpartition(":")
        found.append((host.strip("[]"), int(port)))
    return found


def reached(contact: Contact, timeout: float) -> bool:
    """Whether anything answers there; a refusal is an answer."""
    try:
        socket.create_connection(contact, timeout).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


class Lease:
    """Runs out `after` seconds after one of `contacts` was reached for the last time."""

    def __init__(self, contacts: Iterable[Contact], after: float) -> None:
        self._contacts = list(contacts)
        self._after = after
        self._pause = min(10.0, after / 10)
        self._reached_at = now()

    def left(self) -> float:
        return self._reached_at + self._after - now()

    def renew(self) -> None:
        """Try the contacts once. The lease is dated from before: an answer may have been long on its way."""
        began = now()
        if any(reached(contact, min(5.0, self._pause)) for contact in self._contacts):
            self._reached_at = began

    def keep(self) -> None:
        """Renew for ever; one that has run out is not renewed."""
        while self.left() > 0:
            self.renew()
            time.sleep(self._pause)

    def wait(self) -> None:
        """Return when it has run out. Not where it is kept: the look-up of a name may take long."""
        while (left := self.left()) > 0:
            time.sleep(min(left, 1.0))


def end(after: float) -> None:
    print(f"Nobody was reached for {after:g} s, the hub neither: this server ends, so that another may have the home",
          file=sys.stderr, flush=True)  # fmt: skip
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(min(GRACE, after / 4))
    os._exit(1)


def start(environ: Mapping[str, str], end: Callable[[float], None] = end) -> None:
    """Watch over this process, in threads that end with it."""
    after = float(environ["DOCKYARD_FENCE_AFTER"])
    lease = Lease(contacts(environ), after)

    def watch() -> None:
        lease.wait()
        end(after)

    for work in (lease.keep, watch):
        threading.Thread(target=work, daemon=True, name=f"fence-{work.__name__}").start()
