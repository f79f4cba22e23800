"""A check before a server's first start that files in the user's HOME outlive the container."""

from __future__ import annotations

import posixpath
from typing import Any

from traitlets import Unicode

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import misconfigured
from dockerspawner._records import ownership

# Homes by image id and user of the process, so that the spawner reads an image's /etc/passwd once.
_homes: dict[tuple[str, str], str] = {}


class HomeCheck(Core):
    """Fail a start whose server would lose the files in its user's HOME."""

    home_advice = Unicode(
        "",
        config=True,
        help="""Advice for the administrator if HOME of the server's user is neither on a named volume nor on a bind:
        files there are lost when the container is removed. If this is set, such a start fails, and the hub logs
        the advice, with {home} and {image} filled in. Empty: HOME is not checked. Default: empty.""",
    )

    async def _check_home_is_kept(self, container_id: str) -> None:
        """Fail if HOME of a new container is not on a volume or bind. A HOME of / means that the user has none."""
        if not self.home_advice:
            return
        container = await perform(self.docker, "inspect_container", container_id)
        home = await self._home_of_process(container)
        if home == "/" or ownership.is_kept(container, home):
            return
        advice = self.home_advice.replace("{home}", home).replace("{image}", self.image)
        self.log.error(
            "%s is not started: HOME is %s in image %s, and no volume is mounted there. Files there would be lost when "
            "the server stops. %s",
            self.object_name,
            home,
            self.image,
            advice,
        )
        raise misconfigured(
            f"The home of image {self.image} is {home}, where no volume is mounted: its files would be lost when the "
            "server stops."
        )

    async def _home_of_process(self, container: dict[str, Any]) -> str:
        """Return HOME of the container's process, as the engine sets it: from the environment, else /etc/passwd."""
        home = ownership.environment_of(container).get("HOME", "")
        if not home:
            key = (str(container["Image"]), str(container["Config"].get("User") or ""))
            if key not in _homes:
                _homes[key] = await self._home_files.of_user(container)
            home = _homes[key]
        return "/" + posixpath.normpath(home).strip("/")
