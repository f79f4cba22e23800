"""A way to the engine that can be taken away and put back."""

from __future__ import annotations

import contextlib
import socket
import threading

from support.ports import free_port


class Relay:
    """A TCP port in front of the engine's own socket, that can be taken away and put back."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._open: list[socket.socket] = []
        self.port = free_port()
        self.put_back()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def put_back(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port))
        self._open.append(listening)
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def take_away(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                engine = socket.socket(socket.AF_UNIX)
                self._open += [client, engine]
                engine.connect(self._engine)
                for source, sink in ((client, engine), (engine, client)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
