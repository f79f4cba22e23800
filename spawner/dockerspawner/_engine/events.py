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

from dockerspawner._engine.client import Client, Engine
from dockerspawner._errors.translation import EngineError, Unavailable, mark_at_door, meaning

# Seconds of silence after which an open stream counts as dead. The next list shows what it missed.
SILENCE = 900.0
# Seconds in which an `ssh` process must exit.
_SSH_END = 5.0

# Podman's names of container actions.
_PODMAN = {"died": "die", "remove": "destroy"}

_log = logging.getLogger(__name__)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Event:
    """One event of the engine.

    `action` lacks the suffix that some actions have after a colon. `at` is the engine's time in nanoseconds, 0 if
    unknown.
    """

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    at: int = 0

    @classmethod
    def of(cls, raw: Any) -> Event:
        """Read an event of Docker, Podman, or an engine before API 1.22; ValueError if it is not an event."""
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
    """The engine's unmodified events, read in a separate thread and delivered on the event loop.

    `opened` results in None, or in the error of the opening. `ended` is done when the stream has ended. `began` is the
    time.monotonic() at which the opening began.
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
        # A separate thread: a stream must not wait for the end of another one.
        threading.Thread(target=self._run, name=f"docker-events-{next(_numbers)}", daemon=True).start()

    @property
    def is_open(self) -> bool:
        return self.opened.done() and self.opened.result() is None and not self.ended.done()

    def close(self) -> None:
        """Stop the delivery; never raises. A stream that is still opening is closed as soon as it is open."""
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
        # Stored before the check of `_closed`, so that either close() or this thread hangs up.
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
                # The SDK leaves a zombie process.
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
            # The event loop is closed: there is no listener.
            self._closed = True


def hang_up(events: Any) -> None:
    """Close the connection of the SDK's stream, which ends its reader; never raises."""
    try:
        channel = _channel(events)
        if channel is None:
            events.close()
        elif (process := getattr(channel, "proc", None)) is not None:
            process.terminate()
        else:
            # The SDK's close() raises for an SSH channel.
            channel.close()
    except Exception as error:
        _log.debug("An event stream can't be closed: %r", error)


def allow_silence(events: Any, seconds: float) -> None:
    """Set the read timeout of the SDK's stream; its connection was opened with a shorter one."""
    with contextlib.suppress(Exception):
        channel = _channel(events)
        raw = getattr(_file(events), "raw", None)
        for socket in (channel, raw, getattr(raw, "_sock", None)):
            if hasattr(socket, "settimeout"):
                socket.settimeout(seconds)  # type: ignore[union-attr]


def _file(events: Any) -> Any:
    """Return the source of the response of the SDK's stream; None if it is closed."""
    fp = getattr(getattr(getattr(events, "_response", None), "raw", None), "_fp", None)
    return getattr(fp, "fp", None)


def _channel(events: Any) -> Any:
    """Return the SSH channel of the SDK's stream, None for a socket."""
    return getattr(_file(events), "channel", None)
