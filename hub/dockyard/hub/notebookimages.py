"""The notebook images of the settings, and a trial of one image, for scripts/notebook.

python -m dockyard.hub.notebookimages list <.env     print the hub's version, then each image of the settings
python -m dockyard.hub.notebookimages try SECONDS    act as the hub of one server; print the check's result
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jupyterhub
import yaml

from dockerspawner._start import readiness
from dockyard.settings import envfile, profilesfile
from dockyard.settings.overrides import overrides

HUB_PORT, SERVER_PORT = 8081, 8888
# What scripts/notebook gives the server as its URL and its OAuth client.
PREFIX, CLIENT = "/user/probe/", "jupyterhub-user-probe"


@dataclass(frozen=True)
class Named:
    """An image, the setting that names it, and how its servers are started. An empty `home` is not checked."""

    setting: str
    image: str
    ready_check: str = "jupyterhub"
    home: str = ""
    command: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the tab-separated fields; '-' for an empty one, which a shell would skip."""
        return "\t".join(
            field or "-" for field in (self.setting, self.image, self.ready_check, self.home, *self.command)
        )


def named(values: Mapping[str, str], profiles: Any) -> Iterator[Named]:
    """Yield the images that `.env` and the profiles name, once for each way to start them.

    An image may be a template that users fill in.
    """
    home = values.get("HOME_PATH") or "/home/jovyan"
    found = [Named("NOTEBOOK_IMAGE", values.get("NOTEBOOK_IMAGE", ""), home=home)]
    found += [
        Named("ALLOWED_IMAGES", image.strip(), home=home) for image in values.get("ALLOWED_IMAGES", "").split(",")
    ]
    for override, _ in overrides(profiles):
        command = override.get("cmd") or ()
        # The profile may mount the home elsewhere.
        moved = "volumes" in override or "mounts" in override
        found.append(
            Named(
                "PROFILES_FILE",
                str(override.get("image") or ""),
                str(override.get("ready_check") or "jupyterhub").lower(),
                str(override.get("notebook_dir") or "") if moved else home,
                tuple(command.split()) if isinstance(command, str) else tuple(map(str, command)),
            )
        )
    seen = set()
    for one in found:
        key = (one.image, one.ready_check, one.home, one.command)
        if one.image and key not in seen:
            seen.add(key)
            yield one


def profiles() -> Any:
    """Return the content of PROFILES_FILE; nothing if it can't be read, which the check of `.env` reports."""
    try:
        return yaml.safe_load(profilesfile.MOUNTED.read_text()) or []
    except (OSError, ValueError, yaml.YAMLError):
        return []


async def _hub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request as the hub answers a server that asks for its version."""
    while (await reader.readline()).strip():
        pass
    body = json.dumps({"version": jupyterhub.__version__}).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def attempt(seconds: float, hub_port: int = HUB_PORT, server_port: int = SERVER_PORT) -> str:
    """Act as the hub of a server until it answers. Return jupyterhub VERSION, other STATUS, or nothing."""
    judge = readiness.own_server(PREFIX, CLIENT)
    probe = readiness.Probe("127.0.0.1", server_port, f"{PREFIX}api", None, judge)
    async with await asyncio.start_server(_hub, "127.0.0.1", hub_port):
        try:
            await asyncio.wait_for(probe.until_ready(), seconds)
        except (readiness.WrongServer, asyncio.TimeoutError):
            return f"other {probe.answer.status}" if probe.answer else "nothing"
    assert probe.answer
    return f"jupyterhub {probe.answer.headers[readiness.HEADER]}"


def main(verb: str, *arguments: str) -> None:
    if verb == "list":
        values, _ = envfile.read(sys.stdin.read())
        # Compose gives the hub the name of the image that it builds.
        values["NOTEBOOK_IMAGE"] = values.get("NOTEBOOK_IMAGE") or os.environ.get("NOTEBOOK_IMAGE", "")
        print(jupyterhub.__version__)
        for one in named(values, profiles()):
            print(one.line())
    else:
        print(asyncio.run(attempt(float(arguments[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
