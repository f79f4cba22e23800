"""Who sleeps on one engine, and the end of those who have slept enough."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from dockerspawner._engine.client import Engine, perform
from dockerspawner._engine.watch import watch_of
from dockerspawner._errors.translation import BeingRemoved, EngineError, Gone
from dockerspawner._records.database import forget_sleep, servers_on_record
from dockerspawner._start.gpus import Pool

# Seconds between two looks for sleepers that have slept too long.
_LOOK_EVERY = 60.0
# Seconds by which the event of a pause may be late, and between two looks while one is.
_LATE, _LOOK_AGAIN = 2.0, 0.5


def overdue(since: Mapping[str, float], now: float, most: int, longest: float) -> list[str]:
    """Of the sleepers, by when they fell asleep, those to end: who slept too long, and the oldest beyond `most`.

    Times in seconds; 0 is no limit.
    """
    oldest_first = sorted(since, key=lambda sleeper: since[sleeper])
    too_many = max(0, len(oldest_first) - most) if most else 0
    return [
        sleeper
        for number, sleeper in enumerate(oldest_first)
        if number < too_many or (longest and now - since[sleeper] > longest)
    ]


@dataclass(frozen=True)
class Sleeper:
    """A paused server: since when, in seconds since the epoch, and its own network, if any.

    `holder` holds its GPUs. `stop_timeout` is its grace period in seconds; None means the value of its image.
    """

    since: float
    network: str = ""
    stop_timeout: int | None = None
    holder: Hashable = None

    @classmethod
    def of(cls, state: Mapping[str, Any], holder: Hashable = None) -> Sleeper:
        """Create it from a state on record."""
        return cls(state["paused_at"], state.get("network") or "", state.get("paused_stop_timeout"), holder)


class Sleepers:
    """The sleepers of one hub, by container.

    - Ends who has slept too long, and the oldest of too many; tells the hub's record so.
    - One that is woken meanwhile is left alone.
    - Holds no spawner. What goes wrong is logged, and tried again at the next look.
    """

    def __init__(self, engine: Engine, instance: str, session: Any, log: logging.Logger) -> None:
        self.asleep: dict[str, Sleeper] = {}
        self._engine = engine
        self._instance = instance
        self._session = session
        self._log = log
        self._loaded = False
        self._limits: tuple[int, float] = (0, 0.0)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._keeper: asyncio.Task[None] | None = None
        self._news: asyncio.Future[None] | None = None

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        return self._engine.send(method, args, kwargs)

    def lock(self, container_id: str) -> asyncio.Lock:
        """To be held while a container is obtained for a start, and while a sleeper is ended: never both."""
        return self._locks.setdefault(container_id, asyncio.Lock())

    def add(self, container_id: str, sleeper: Sleeper) -> None:
        self.asleep[container_id] = sleeper
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def keep(self, most: int, longest: float) -> None:
        """Look from now on, by these limits, for who has slept enough; 0 is no limit."""
        self._limits = most, longest
        if (most or longest) and (self._keeper is None or self._keeper.done()):
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            self._keeper = loop.create_task(self._keep_looking(self._news))

    async def _keep_looking(self, news: asyncio.Future[None]) -> None:
        unclear = False
        while True:
            pause = _LOOK_AGAIN if unclear else min(_LOOK_EVERY, self._limits[1] or _LOOK_EVERY)
            # wait_for would swallow a cancel that comes together with news.
            await asyncio.wait({news}, timeout=pause)
            news = self._news = asyncio.get_running_loop().create_future()
            try:
                unclear = await self._end_overdue()
            except EngineError as error:
                self._log.warning("Who sleeps can't be told now: %s", error)
            except Exception:
                self._log.exception("Who has slept long enough can't be ended now")

    async def _end_overdue(self) -> bool:
        """True where somebody has just fallen asleep of whose pause the watch has not heard yet."""
        if not self._loaded:
            found = [(server, state) for server, state in servers_on_record(self._session) if state.get("paused_at")]
            known = {state["object_id"]: Sleeper.of(state, server) for server, state in found}
            self.asleep, self._loaded = known | self.asleep, True
        if not self.asleep:
            # Also on a swarm, where a proxy in front of the engine refuses questions about containers.
            return False
        watch = watch_of(self._engine, self._instance, self._log)
        await watch.expect(self.asleep)
        frozen = await watch.frozen()
        late = time.time() - _LATE
        self.asleep = {one: sleeper for one, sleeper in self.asleep.items() if one in frozen or sleeper.since > late}
        since = {one: sleeper.since for one, sleeper in self.asleep.items() if one in frozen}
        for container_id in overdue(since, time.time(), *self._limits):
            async with self.lock(container_id):
                try:
                    await self._end(container_id)
                except EngineError as error:
                    self._log.warning("Sleeping container %s can't be ended now: %s", container_id[:12], error)
        return not self.asleep.keys() <= frozen

    async def _end(self, container_id: str) -> None:
        watch = watch_of(self._engine, self._instance, self._log)
        word = await watch.word(container_id)
        sleeper = self.asleep.get(container_id)
        if sleeper is None or word is None or not word.running or not word.paused:
            return
        self._log.info("%s has slept long enough: its server is ended", word.name)
        with contextlib.suppress(Gone, BeingRemoved):
            await perform(self.docker, "stop", container_id, timeout=sleeper.stop_timeout)
        watch.stopped(container_id)
        self.asleep.pop(container_id, None)
        if pool := self._engine.known(Pool, self._instance):
            pool.give_back(sleeper.holder)
        forget_sleep(self._session, container_id)
        networks = self._engine.networks.get(self._instance)
        if networks and sleeper.network:
            await networks.attachments.detach(sleeper.network)
