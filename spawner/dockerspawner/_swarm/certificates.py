"""Internal TLS on a swarm: keys come to their server as secrets of the swarm."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from docker.types import Mount, SecretReference

from dockerspawner._core import SwarmCore
from dockerspawner._engine.client import perform
from dockerspawner._errors.translation import EngineError, Gone
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.certificates import FOLDER

# A secret's name may have 64 characters.
_NAME = 40


class SwarmCerts(SwarmCore):
    """Key, certificate and authorities of a server: secrets, which only its own task is given, in memory.

    They go with the service.
    """

    @property
    def mount_binds(self) -> list[Mount]:
        # Not the volume that a container has for them.
        return [mount for mount in super().mount_binds if mount["Target"] != FOLDER]

    async def _place_certs(self) -> None:
        pass

    async def _own_secrets(self) -> list[Mapping[str, Any]]:
        """Make the secrets of the start under way; references to them."""
        await self._remove_secrets()
        labels = self._owner.labels("keys")
        found: list[Mapping[str, Any]] = []
        extra = await self._extra("extra_container_spec")
        user = str(extra.get("user") or self._create_defaults().get("user") or "").partition(":")[0]
        for file, content in self._moved_certs.items():
            name = f"{self.object_name[:_NAME]}-{file[:3]}-{secrets.token_hex(4)}"
            made = await perform(self.docker, "create_secret", name, content, labels=labels)
            # Nobody but this server's processes are in its container.
            owner = {"uid": user, "mode": 0o400} if user.isdigit() else {"mode": 0o444}
            found.append(SecretReference(made["ID"], name, filename=f"{FOLDER}/{file}", **owner))
        return found

    async def _undo_container(self, attempt: StartAttempt, token: str) -> None:
        await super()._undo_container(attempt, token)
        await self._remove_secrets()

    async def _remove_secrets(self) -> None:
        if not self.internal_ssl:
            return
        try:
            for secret in await perform(self.docker, "secrets", filters=self._labels(self._owner.labels("keys"))):
                with contextlib.suppress(Gone):
                    await perform(self.docker, "remove_secret", secret["ID"])
        except EngineError as error:
            self.log.warning("Secrets of %s are left for its next start: %s", self.object_name, error)
