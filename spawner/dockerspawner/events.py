"""The engine's events, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from dockerspawner.engine import Client, Engine
from dockerspawner.errors import EngineError, meaning


class Stream:
    """The engine's events, read in a thread and heard on the event loop.

    `opened` gives None, or the error where it could not be opened; `ended` is done when nothing more comes.
    """

    def __init__(self, engine: Engine, filters: Mapping[str, Any], hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._filters = dict(filters)
        self._hear = hear
        self._response: Any = None
        self._closed = False
        self.opened: asyncio.Future[EngineError | None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        engine.events.submit(self._read).add_done_callback(self._done)

    def close(self) -> None:
        """Hear nothing more."""
        self._closed = True
        if self._response is not None:
            self._response.close()
        self._settle(self.ended, None)

    def _read(self, client: Client) -> None:
        if self._closed:
            return
        self._response = client.events(filters=self._filters, decode=True)
        self._on_loop(self._settle, self.opened, None)
        try:
            for event in self._response:
                if self._closed:
                    return
                self._on_loop(self._hear_unless_closed, event)
        finally:
            # The SDK closes the socket, but not the response that reads from it.
            if response := getattr(self._response, "_response", None):
                response.close()

    def _done(self, read: Future[None]) -> None:
        error = read.exception()
        self._on_loop(self._settle, self.opened, meaning("events", error) if isinstance(error, Exception) else None)
        self._on_loop(self._settle, self.ended, None)

    def _hear_unless_closed(self, event: Mapping[str, Any]) -> None:
        if not self._closed:
            self._hear(event)

    @staticmethod
    def _settle(future: asyncio.Future[Any], result: Any) -> None:
        if not future.done():
            future.set_result(result)

    def _on_loop(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop is closed: nobody listens.
            self._closed = True
