"""Internal TLS: the keys that the hub makes for a server, and how it comes to them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.types import Mount

from dockerspawner._core import Core
from dockerspawner._engine import archive
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Gone

# Not below a directory that somebody may mount something on.
FOLDER = "/jupyterhub-ssl"
FILES = {"keyfile": "key.pem", "certfile": "cert.pem", "cafile": "ca.pem"}


class Certs(Core):
    """Key, certificate and authorities of a server, where the hub has internal_ssl.

    - They are in a volume that only this container has, and that goes with it; in no image, and in none of its layers.
    - Only who runs the server may read them: mode 0600.
    - Each start brings new ones; a server that sleeps goes on with those that it has.
    """

    # What the hub has made for the start that comes next.
    _made_certs: Mapping[str, bytes] = {}
    # What is to be put into the container; empty without internal_ssl, or where move_certs is a subclass's own.
    _moved_certs: Mapping[str, bytes] = {}

    @property
    def scheme(self) -> str:
        return "https" if self.internal_ssl else "http"

    async def create_certs(self) -> dict[str, str]:
        paths: dict[str, str] = await super().create_certs()
        # Read at once: the user's other servers get theirs under the same names.
        self._made_certs = _read(paths)
        return paths

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Where key, certificate and authorities will be in the container; start() puts them there."""
        self._moved_certs = self._made_certs or _read(paths)
        self._made_certs = {}
        return {name: f"{FOLDER}/{file}" for name, file in FILES.items()}

    @property
    def mount_binds(self) -> list[Mount]:
        mounts: list[Mount] = super().mount_binds
        if self._moved_certs:
            labels = self._labels_of("{username}{servername}")
            mounts = [*mounts, Mount(FOLDER, None, type="volume", no_copy=True, labels=labels)]
        return mounts

    async def _place_certs(self) -> None:
        """Put the certificates into the container, which need not run."""
        if not self._moved_certs:
            return
        who = await self._runs_as(self.container_id)
        if who is None:
            raise failure(
                f"The server's key can't be given to it: image {self.image} does not say which uid its user has.",
                reason="certs",
            )
        packed = archive.packed(self._moved_certs, who.uid, who.gid, 0o600)
        try:
            await perform(self.docker, "put_archive", self.container_id, FOLDER, packed)
        except Gone:
            raise failure(
                f"Container {self.object_name} was made when the hub had no internal_ssl, and its user's files are "
                "inside it: they have to be copied out of it before it can be replaced.",
                reason="certs",
            ) from None

    async def _remove(self, container_id: str, volumes: bool) -> None:
        keys = "" if volumes else await self._volume_of_certs(container_id)
        await super()._remove(container_id, volumes)
        if keys:
            with contextlib.suppress(Gone):
                await perform(self.docker, "remove_volume", keys)

    async def _volume_of_certs(self, container_id: str) -> str:
        container = await self._inspect(container_id) or {}
        mounts = (mount for mount in container.get("Mounts") or () if mount["Destination"] == FOLDER)
        return next((str(mount["Name"]) for mount in mounts if mount["Type"] == "volume"), "")

    def _tls(self) -> ssl.SSLContext | None:
        """For a handshake that shows that the server answers: with the hub's certificate, else the server complains.

        The hub itself verifies the server's, before it sends anything.
        """
        if not self.internal_ssl:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        settings: Mapping[str, Any] = getattr(self.user, "settings", {})
        if certificate := settings.get("internal_ssl_cert"):
            context.load_cert_chain(certificate, settings.get("internal_ssl_key"))
        return context


def _read(paths: Mapping[str, str]) -> dict[str, bytes]:
    return {file: Path(paths[name]).read_bytes() for name, file in FILES.items()}
