"""Where paths of this host lead, as JSON for the checker of settings: `host_paths.py BIND_PATHS SOCKET FOLDER`.

For each entry of BIND_PATHS, the real path of what servers may mount, where a symbolic link leads elsewhere; and the
real paths of the engine's SOCKET and of its own FOLDER.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator

# Entries of a folder that are looked at.
MOST = 10_000


def mounted(path: str) -> Iterator[str]:
    """The paths that `path`, or `/path/*` for what is in a folder, lets servers mount, as far as they can be links."""
    folder = path[:-2] if path.endswith("/*") else path
    yield folder
    if folder != path:
        try:
            with os.scandir(folder) as entries:
                for entry in itertools.islice(entries, MOST):
                    if entry.is_symlink():
                        yield entry.path
        except OSError:
            # Missing, or closed to the operator.
            return


def links(bind_paths: str) -> Iterator[tuple[str, str, str]]:
    """Entry (without a slash at its end), path and where the path leads, for each path that leads elsewhere."""
    for part in bind_paths.split(","):
        whole = part.strip()
        suffix = ":ro" if whole.endswith(":ro") else ""
        entry = whole[: len(whole) - len(suffix)].rstrip("/")
        for path in mounted(entry):
            if path.startswith("/") and (real := os.path.realpath(path)) != os.path.normpath(path):
                yield entry + suffix, path, real


if __name__ == "__main__":
    entries, *own = sys.argv[1:]
    print(json.dumps({"links": list(links(entries)), "own": [os.path.realpath(path) for path in own if path]}))
