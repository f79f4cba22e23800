"""Internal TLS on a swarm: keys come to their server as secrets of the swarm."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from docker.types import Mount, SecretReference

from dockerspawner._engine.client import perform
from dockerspawner._errors.translation import EngineError, Gone
from dockerspawner._start.certificates import FOLDER, Certs

# A secret's name may have 64 characters.
_NAME = 40


class SwarmCerts(Certs):
    """Key, certificate and authorities of a server: secrets, which only its own task is given, in memory.

    They go with the service.
    """

    def mounts(self) -> list[Mount]:
        """None: a service has no volume for its keys."""
        return []

    async def place(self) -> None:
        """Nothing: the swarm mounts the secrets when it starts the task."""

    async def references(self, user: str) -> list[Mapping[str, Any]]:
        """Make the secrets of the current start for processes of `user`; return references to them."""
        await self.remove()
        server = self._server
        labels = server._owner.labels("keys")
        uid = user.partition(":")[0]
        found: list[Mapping[str, Any]] = []
        for file, content in self.files.items():
            name = f"{server.object_name[:_NAME]}-{file[:3]}-{secrets.token_hex(4)}"
            made = await perform(server.docker, "create_secret", name, content, labels=labels)
            # Nobody but this server's processes are in its container.
            owner = {"uid": uid, "mode": 0o400} if uid.isdigit() else {"mode": 0o444}
            found.append(SecretReference(made["ID"], name, filename=f"{FOLDER}/{file}", **owner))
        return found

    async def remove(self) -> None:
        """Remove the secrets of earlier starts."""
        server = self._server
        if not server.internal_ssl:
            return
        filters = {"label": [f"{name}={value}" for name, value in server._owner.labels("keys").items()]}
        try:
            for secret in await perform(server.docker, "secrets", filters=filters):
                with contextlib.suppress(Gone):
                    await perform(server.docker, "remove_secret", secret["ID"])
        except EngineError as error:
            server.log.warning("Secrets of %s are left for its next start: %s", server.object_name, error)
