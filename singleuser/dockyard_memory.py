"""A server extension: whoever loses a kernel for want of memory reads that below the cell that was running.

Jupyter says no more than that the kernel died. That a process of the container was killed, because the container had
used up its memory, is counted by Linux.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
# Of version 2, and of version 1.
_COUNTERS = ("memory.events", "memory/memory.oom_control")


def kills() -> int:
    """How many processes of this container were killed for want of memory so far; 0 where nobody counts."""
    for name in _COUNTERS:
        try:
            counted = dict(line.split() for line in (CGROUP / name).read_text().splitlines())
        except OSError:
            continue
        return int(counted.get("oom_kill", 0))
    return 0


def sentence(limit: str) -> str:
    """What the user reads; `limit` is a number of bytes, or something else where it is not known."""
    size = f" ({int(limit) // 2**20} MiB)" if limit.isdecimal() else ""
    return (
        f"The kernel was killed: this server has used up its memory{size}.\n"
        "Its variables are lost. Shut down kernels that you don't need, or work on less at a time."
    )


class Telling:
    """Mixed into the class of kernels' websockets, through which requests and replies go.

    A kernel does what its user asks in turn: what it was doing when it died is the first that has no reply. By what it
    has told of that itself one can't go: nobody hears of it where the memory is used up at once.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Headers of requests without a reply, by their ids; how many were killed before the first of them was begun.
        self._asked: dict[str, Any] = {}
        self._before = 0

    def handle_incoming_message(self, message: str | bytes) -> None:
        if (b"execute_request" if isinstance(message, bytes) else "execute_request") in message:
            header = self._header(message)
            if header["msg_type"] == "execute_request":
                self._before = self._before if self._asked else kills()
                self._asked[header["msg_id"]] = header
        super().handle_incoming_message(message)

    def _header(self, message: str | bytes) -> Any:
        if isinstance(message, str):
            return json.loads(message)["header"]
        from jupyter_server.services.kernels.connection import base

        if self.subprotocol:
            return self.session.unpack(base.deserialize_msg_from_ws_v1(message)[1][0])
        return base.deserialize_binary_message(message)["header"]

    def handle_outgoing_message(self, stream: Any, message: Any) -> None:
        _, parts = self.session.feed_identities(message)
        if b"execute_reply" in parts[1]:
            self._asked.pop(self.session.unpack(parts[2]).get("msg_id"), None)
            self._before = kills()
        super().handle_outgoing_message(stream, message)

    def on_kernel_restarted(self) -> None:
        """The kernel has died, and is about to be started again."""
        if self._asked and kills() > self._before:
            self.write_stderr(sentence(os.environ.get("MEM_LIMIT", "")), next(iter(self._asked.values())))
        self._asked.clear()
        super().on_kernel_restarted()


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Whatever class is configured stays in force; one that has not the means to write to its user is left alone."""
    settings, name = app.web_app.settings, "kernel_websocket_connection_class"
    if hasattr(settings[name], "write_stderr"):
        settings[name] = type(settings[name].__name__, (Telling, settings[name]), {})
