"""Kernels that count aloud, each heard on a websocket that stays open: who works at a notebook notices nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Coroutine, Iterable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.user import User, execute_request
from support.wait import wait_until

COUNT = """
import itertools, time
for number in itertools.count():
    print(number, time.time(), flush=True)
    time.sleep(0.25)
"""


class Counter:
    """One user's kernel, and what was heard of it.

    `number` is the last one, said at `said_at` by the kernel's clock; `wrong` what should not have happened.
    """

    def __init__(self, user: User) -> None:
        self.user = user
        self.number = -1
        self.said_at = 0.0
        self.wrong = ""
        self._kernel = user.new_kernel()
        # As a browser's tab has one, under which it connects again.
        self._session = uuid.uuid4().hex

    async def connect(self) -> ClientConnection:
        channels = self.user.channels(self._kernel)
        channels["uri"] += f"?session_id={self._session}"
        # A socket that is silently lost shows by its silence.
        socket = await connect(**channels, ping_interval=None)
        if self.number < 0:
            await socket.send(json.dumps(execute_request(COUNT)))
        self.wrong = ""
        return socket

    async def listen(self, socket: ClientConnection) -> None:
        """Hear what the kernel counts for as long as the socket is open."""
        # Numbers may be lost between two sockets, and the second may begin within a line.
        missed, rest = self.number >= 0, ""
        skipped = not missed
        async with socket:
            try:
                while True:
                    message = json.loads(await socket.recv())
                    if message["msg_type"] != "stream":
                        continue
                    *lines, rest = (rest + message["content"]["text"]).split("\n")
                    for line in lines:
                        if skipped:
                            self._count(line, missed)
                            missed = False
                        skipped = True
            except ConnectionClosed as closed:
                self.wrong = self.wrong or f"the socket has ended: {closed}"

    def _count(self, line: str, missed: bool) -> None:
        number, said_at = int(line.split()[0]), float(line.split()[1])
        if number <= self.number or not (missed or number == self.number + 1):
            self.wrong = self.wrong or f"{number} came after {self.number}"
        self.number, self.said_at = number, said_at


class Counters:
    """Counters, heard on a thread of their own while the context lasts."""

    def __init__(self, counters: Iterable[Counter]) -> None:
        self._counters = list(counters)
        self._listening: list[asyncio.Task[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="counters")

    def __enter__(self) -> Counters:
        self._thread.start()
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def connect(self) -> None:
        """Connect all; again where they were connected, as a browser does when its socket has ended."""
        self._run(self._connect())

    async def _connect(self) -> None:
        await self._hang_up()
        sockets = await asyncio.gather(*(counter.connect() for counter in self._counters))
        self._listening = [
            asyncio.create_task(counter.listen(socket))
            for counter, socket in zip(self._counters, sockets, strict=True)
        ]  # fmt: skip

    async def _hang_up(self) -> None:
        for listening in self._listening:
            listening.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    @property
    def wrong(self) -> dict[str, str]:
        """What should not have happened, by the user's name."""
        return {counter.user.name: counter.wrong for counter in self._counters if counter.wrong}

    def go_on(self) -> None:
        """Return when each has counted on from now; none may have lost its socket or a number since it connected."""
        now = time.time()
        wait_until(
            lambda: self.wrong or all(counter.said_at > now for counter in self._counters), timeout=60, what="all count"
        )
        assert not self.wrong
