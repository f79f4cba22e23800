"""A proxy in front of the engine's socket that allows only some calls, as operators run it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from support.ports import free_port

# Exactly the calls of dockerspawner 14 from a start to the removal.
PREDECESSOR = (
    r"GET /(_ping|version)|GET /(containers|images)/\S+/json|POST /images/create|POST /containers/create"
    r"|POST /containers/[^/]+/(start|stop)|DELETE /containers/[^/]+"
)


class Allowing:
    """A TCP port that forwards calls whose method and path match `allowed`; it answers others with `status`.

    `refused` lists the rejected calls, without the API version.
    """

    def __init__(self, engine: str, allowed: str, status: int = 403) -> None:
        self.refused: list[str] = []
        self._engine, self._allowed, self._status = engine, re.compile(allowed), status
        self.port = free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), client.makefile("rb") as request:
            head = [line.rstrip(b"\r\n") for line in iter(request.readline, b"\r\n") if line]
            if not head:
                return
            method, target, _ = head[0].decode().split(" ", 2)
            length = next((int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")), 0)
            body = request.read(length)
            call = f"{method} {re.sub(r'^/v[0-9.]+(?=/)|[?].*', '', target)}"
            if not self._allowed.fullmatch(call):
                self.refused.append(call)
                client.sendall(f"HTTP/1.1 {self._status} Refused\r\nConnection: close\r\n\r\nnot allowed\n".encode())
                return
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(self._engine)
                passed = [line for line in head if not line.lower().startswith(b"connection:")]
                engine.sendall(b"\r\n".join([*passed, b"Connection: close", b"", body]))
                while data := engine.recv(65536):
                    client.sendall(data)
