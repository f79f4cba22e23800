"""Print arguments of `docker run` for what the operator's overlays give the hub, one a line.

    hub_mounts.py volumes TARGET...   mounts, except those at a TARGET, which the caller has
    hub_mounts.py environment NAME... NAME=value, except the variables NAME...

Standard input is the output of `docker compose config --format json`. The engine's socket and missing volumes are
omitted. Mounts are read-only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

# Where the hub reaches the engine.
GATE = "/run/gate"


def volumes(project: dict[str, Any], hub: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield sources and targets of the hub's mounts."""
    for mount in hub.get("volumes") or ():
        source, target = mount.get("source", ""), mount["target"]
        if mount["type"] == "bind" and os.path.exists(source):
            yield source, target
        elif mount["type"] == "volume" and source and target != GATE:
            name = project["volumes"][source]["name"]
            found = subprocess.run(["docker", "volume", "inspect", name], capture_output=True)
            if found.returncode == 0:
                yield name, target
    for kind, folder in (("secrets", "/run/secrets/"), ("configs", "/")):
        for used in hub.get(kind) or ():
            file = (project.get(kind) or {}).get(used["source"], {}).get("file", "")
            if os.path.isfile(file):
                target = used.get("target") or used["source"]
                yield file, target if target.startswith("/") else folder + target


def main(what: str, known: list[str]) -> None:
    project = json.load(sys.stdin)
    hub = project["services"]["hub"]
    if what == "environment":
        for name, value in (hub.get("environment") or {}).items():
            if name not in known and value is not None and "\n" not in value:
                # Compose doubles a $ in what it prints.
                print(f"{name}={value.replace('$$', '$')}")
        return
    for source, target in volumes(project, hub):
        if target not in known:
            print(f"--volume={source}:{target}:ro")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
