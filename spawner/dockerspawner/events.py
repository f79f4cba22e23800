"""The engine's events, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dockerspawner.engine import Client, Engine
from dockerspawner.errors import EngineError, Unavailable, mark_at_door, meaning

# Seconds of silence after which an open stream is taken for dead. What a deaf stream has missed shows in the next list.
SILENCE = 900.0
# Seconds that a process of `ssh` may take to end.
_SSH_END = 5.0

# Podman's words for what happens to a container.
_PODMAN = {"died": "die", "remove": "destroy"}

_log = logging.getLogger(__name__)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Event:
    """One event of the engine.

    `action` is without what some actions append after a colon; `at` is the engine's time in nanoseconds, 0 where the
    event has none.
    """

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    at: int = 0

    @classmethod
    def of(cls, raw: Any) -> Event:
        """Read an event of Docker, of Podman, or in the form from before API 1.22. ValueError where it is not one."""
        if not isinstance(raw, Mapping):
            raise ValueError("not a mapping")
        actor = _mapping(raw.get("Actor"))
        type_ = raw.get("Type") or "container"
        action, object_id = raw.get("Action") or raw.get("status"), actor.get("ID") or raw.get("id")
        if not (isinstance(type_, str) and isinstance(action, str) and isinstance(object_id, str)):
            raise ValueError("no action or no id")
        action = action.partition(":")[0].strip().lower()
        texts = {
            str(name): str(value) for name, value in _mapping(actor.get("Attributes")).items() if value is not None
        }
        if type_.lower() == "container":
            action = _PODMAN.get(action, action)
        return cls(type_.lower(), action, object_id, texts, _nanoseconds(raw))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _nanoseconds(raw: Mapping[str, Any]) -> int:
    for name, unit in (("timeNano", 1), ("time", 1_000_000_000)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if at := int(raw.get(name) or 0):
                return at * unit
    return 0


class Stream:
    """The engine's events, read in a thread of the stream's own and heard on the event loop, unmodified.

    `opened` gives None, or the error where it could not be opened; `ended` is done when nothing more comes. `began` is
    when its opening began, by time.monotonic().
    """

    def __init__(self, engine: Engine, filters: Mapping[str, Any], hear: Callable[[Any], None]) -> None:
        self.began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._filters = dict(filters)
        self._hear = hear
        self._response: Any = None
        self._closed = False
        self.opened: asyncio.Future[EngineError | None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # Of its own: a stream must not wait until another one ends.
        threading.Thread(target=self._run, name=f"docker-events-{next(_numbers)}", daemon=True).start()

    @property
    def is_open(self) -> bool:
        return self.opened.done() and self.opened.result() is None and not self.ended.done()

    def close(self) -> None:
        """Hear nothing more; never raises. One that is still being opened is closed as soon as it is open."""
        self._closed = True
        if self._response is not None:
            hang_up(self._response)
        self._settle(self.ended, None)

    def _run(self) -> None:
        error: EngineError | None = None
        try:
            if not self._closed:
                self._read(self._engine.events_client())
        except Exception as raised:
            mark_at_door(raised)
            self._engine.outage.note(raised)
            meant = meaning("events", raised)
            error = meant if isinstance(meant, EngineError) else Unavailable(f"unreadable events: {raised!r}")
            _log.debug("An event stream has ended: %s", error)
        self._on_loop(self._finish, error)

    def _finish(self, error: EngineError | None) -> None:
        self._settle(self.opened, error)
        self._settle(self.ended, None)

    def _read(self, client: Client) -> None:
        # Kept before the look whether it was closed meanwhile: either close() hangs up, or this does.
        self._response = events = client.events(filters=self._filters, decode=True)
        ssh = getattr(_channel(events), "proc", None)
        try:
            if self._closed:
                return
            allow_silence(events, SILENCE)
            self._on_loop(self._settle, self.opened, None)
            for event in events:
                if self._closed:
                    return
                self._on_loop(self._hear_unless_closed, event)
        finally:
            hang_up(events)
            # The SDK closes the socket, but not the response that reads from it.
            if response := getattr(events, "_response", None):
                with contextlib.suppress(Exception):
                    response.close()
            if ssh is not None:
                # The SDK leaves it a zombie.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ssh.wait(_SSH_END)

    def _hear_unless_closed(self, event: Any) -> None:
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
            # The loop is closed: nothing listens.
            self._closed = True


def hang_up(events: Any) -> None:
    """Cut the connection of the SDK's stream, which ends its reader; never raises."""
    try:
        channel = _channel(events)
        if channel is None:
            events.close()
        elif (process := getattr(channel, "proc", None)) is not None:
            process.terminate()
        else:
            # The SDK's own close() raises for a channel of SSH.
            channel.close()
    except Exception as error:
        _log.debug("An event stream can't be closed: %r", error)


def allow_silence(events: Any, seconds: float) -> None:
    """Let the SDK's stream say nothing for so long; its connection was opened with less patience."""
    with contextlib.suppress(Exception):
        channel = _channel(events)
        raw = getattr(_file(events), "raw", None)
        for socket in (channel, raw, getattr(raw, "_sock", None)):
            if hasattr(socket, "settimeout"):
                socket.settimeout(seconds)  # type: ignore[union-attr]


def _file(events: Any) -> Any:
    """What the response of the SDK's stream is read from; None where it is closed."""
    fp = getattr(getattr(getattr(events, "_response", None), "raw", None), "_fp", None)
    return getattr(fp, "fp", None)


def _channel(events: Any) -> Any:
    """The channel of SSH that the SDK's stream comes by, None where it comes by a socket."""
    return getattr(_file(events), "channel", None)
