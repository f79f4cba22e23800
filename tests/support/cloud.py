"""A cloud's metadata service on this machine, where a server is not to reach it."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.missing import missing
from support.sidebyside import locked

ADDRESS = "169.254.169.254"


@contextmanager
def metadata_service() -> Iterator[int]:
    """The port on which it answers. Skips where nobody may give this machine the address; fails there under REQUIRE."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        missing("a cloud can't be played here: that takes root and iproute2")
    # The machine has the address once: who is done takes it away.
    with locked("cloud"):
        subprocess.run(["ip", "addr", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
        try:
            with http.server.ThreadingHTTPServer((ADDRESS, 0), http.server.SimpleHTTPRequestHandler) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                yield server.server_address[1]
                server.shutdown()
        finally:
            subprocess.run(["ip", "addr", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)
