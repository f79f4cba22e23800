"""Access to a gate that requires a token, as on a swarm."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from pathlib import Path

from dockyard.settings.gatelink import TOKEN_HEADER

FOLDER = Path("/tmp/docker")


def use_token(
    token: str, folder: Path = FOLDER, environ: MutableMapping[str, str] = os.environ, home: Path | None = None
) -> None:
    """Have the Docker SDK send the token with each request, in this process and those that it starts.

    The SDK reads headers from its configuration file. This function writes a copy of the present file, which may
    contain credentials of registries, into `folder`. Only the hub's user can read the copy.
    """
    if not token:
        return
    there = Path(environ.get("DOCKER_CONFIG") or (home or Path.home()) / ".docker") / "config.json"
    config = json.loads(there.read_text()) if there.is_file() else {}
    config["HttpHeaders"] = {**(config.get("HttpHeaders") or {}), TOKEN_HEADER: token}
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "config.json"
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writing:
        json.dump(config, writing)
    environ["DOCKER_CONFIG"] = str(folder)
