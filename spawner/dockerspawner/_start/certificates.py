"""Internal TLS: the keys that the hub makes for a server, and how it comes to them."""

from __future__ import annotations

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


class Certs:
    """Key, certificate and authorities of a server, where the hub has internal_ssl.

    - They are in a volume that only this container has, and that goes with it; in no image, and in none of its layers.
    - Only who runs the server may read them: mode 0600.
    - Each start brings new ones; a server that sleeps goes on with those that it has.
    """

    def __init__(self, server: Core) -> None:
        self._server = server
        # What the hub has made for the start that comes next.
        self._made: Mapping[str, bytes] = {}
        # What is to be put into the container; empty without internal_ssl, or where move_certs is a subclass's own.
        self.files: Mapping[str, bytes] = {}

    def note_created(self, paths: Mapping[str, str]) -> None:
        """Read the files that the hub has made, at once: the user's other servers get theirs under the same names."""
        self._made = _read(paths)

    def move(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Where key, certificate and authorities will be in the container; place() puts them there."""
        self.files = self._made or _read(paths)
        self._made = {}
        return {name: f"{FOLDER}/{file}" for name, file in FILES.items()}

    def mounts(self) -> list[Mount]:
        """The volume that the container has for its certificates."""
        if not self.files:
            return []
        labels = self._server._labels_of("{username}{servername}")
        return [Mount(FOLDER, None, type="volume", no_copy=True, labels=labels)]

    async def place(self) -> None:
        """Put the certificates into the container, which need not run."""
        if not self.files:
            return
        who = await self._server._runs_as(self._server.container_id)
        if who is None:
            raise failure(
                f"The server's key can't be given to it: image {self._server.image} does not say which uid its user "
                "has.",
                reason="certs",
            )
        packed = archive.packed(self.files, who.uid, who.gid, 0o600)
        try:
            await perform(self._server.docker, "put_archive", self._server.container_id, FOLDER, packed)
        except Gone:
            raise failure(
                f"Container {self._server.object_name} was made when the hub had no internal_ssl, and its user's files "
                "are inside it: they have to be copied out of it before it can be replaced.",
                reason="certs",
            ) from None

    async def remove(self) -> None:
        """Nothing: the certificates go with the container's volume."""

    def tls_context(self) -> ssl.SSLContext | None:
        """For a handshake that shows that the server answers: with the hub's certificate, else the server complains.

        The hub itself verifies the server's, before it sends anything.
        """
        if not self._server.internal_ssl:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        settings: Mapping[str, Any] = getattr(self._server.user, "settings", {})
        if certificate := settings.get("internal_ssl_cert"):
            context.load_cert_chain(certificate, settings.get("internal_ssl_key"))
        return context


def _read(paths: Mapping[str, str]) -> dict[str, bytes]:
    return {file: Path(paths[name]).read_bytes() for name, file in FILES.items()}


def volume_of_certs(container: Mapping[str, Any]) -> str:
    """Return the name of the volume that an inspected container has for its certificates, empty if it has none."""
    mounts = (mount for mount in container.get("Mounts") or () if mount["Destination"] == FOLDER)
    return next((str(mount["Name"]) for mount in mounts if mount["Type"] == "volume"), "")
