"""Where the user's files are in a container, and whether they would go with it."""

from __future__ import annotations

import asyncio
import posixpath
from typing import Any

from dockerspawner._core import Core
from dockerspawner._engine import archive
from dockerspawner._errors.translation import Gone, Refused
from dockerspawner._records import ownership
from dockerspawner._storage.accounts import home_in


class HomeFiles:
    """Finds the user's files in the containers of one server."""

    def __init__(self, server: Core) -> None:
        self._server = server

    async def are_in(self, container: dict[str, Any]) -> bool:
        """Would removing the container delete the user's files?

        Without notebook_dir, the files may be in the working directory and in the user's HOME.
        """
        if self._server._home():
            return ownership.holds_home(container, await self.path(container))
        working_dir = posixpath.normpath(container["Config"].get("WorkingDir") or "/").lstrip("/")
        if working_dir and ownership.holds_home(container, f"/{working_dir}"):
            return True
        home = ownership.environment_of(container).get("HOME") or await self.of_user(container)
        home = posixpath.normpath(home).lstrip("/")
        if home or not working_dir:
            return ownership.holds_home(container, f"/{home}")
        return False

    async def path(self, container: dict[str, Any]) -> str:
        """Return the absolute path of the user's files in a container: notebook_dir, else the working directory."""
        home = self._server._home()
        if not home.startswith("~"):
            return posixpath.normpath(posixpath.join(container["Config"].get("WorkingDir") or "/", home))
        user, _, rest = home[1:].partition("/")
        environment = ownership.environment_of(container)
        found = "" if user else environment.get("HOME", "")
        return posixpath.normpath(posixpath.join(found or await self.of_user(container, user), rest))

    async def of_user(self, container: dict[str, Any], user: str = "") -> str:
        """Read the home of `user`, or else of the user who runs the server, from the container's /etc/passwd."""
        name = user or str(container["Config"].get("User") or "0").partition(":")[0]
        try:
            passwd = await self._server._read_archive(container["Id"], "/etc/passwd", archive.text_of)
        except (Gone, Refused):
            # Refused: by a proxy in front of the engine.
            passwd = ""
        # In a thread: the container's user may have written a long file.
        return await asyncio.to_thread(home_in, passwd, name) or "/"
