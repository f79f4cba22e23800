"""What a swarm's manager last said of every service that is ours.

A manager tells of no task's end: tasks have to be asked for. So all are listed every few seconds, at once when a node
or a service has changed, and while a server starts its task alone is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from dockerspawner._engine.client import Engine
from dockerspawner._engine.events import Event, Stream
from dockerspawner._engine.watch import Word, Words
from dockerspawner._errors.translation import EngineError, Gone, Unavailable, translating
from dockerspawner._records.ownership import INSTANCE, Owner
from dockerspawner._swarm.tasks import Task, current

# Seconds between two lists of all tasks, and the least between two that events have asked for.
RESYNC = 4.0
SOONEST = 0.5
# Seconds between two looks at the tasks of services that start.
LOOK_EVERY = 0.1
# Seconds after which a list that nobody could repeat is too old to answer by.
TOO_OLD = 2.5 * RESYNC


class SwarmWatch(Words):
    """The services of one instance on one swarm; the face of a Watch.

    - A server that ends is known within RESYNC seconds, whatever the number of servers.
    - Whoever starts a server looks at its task; one call serves all who look at the time.
    - Nothing is taken for granted from a list that is too old: whoever asks then waits for a new one.
    """

    def __init__(self, engine: Engine, instance: str, log: logging.Logger) -> None:
        super().__init__(engine, instance, log)
        self._label = f"{INSTANCE}={instance}"
        # When all was listed; before the first list, long ago.
        self._listed_at = float("-inf")
        self._syncing: asyncio.Task[None] | None = None
        self._prompted = asyncio.Event()
        self._stream: Stream | None = None
        self._looks: dict[str, list[asyncio.Future[Task | None]]] = {}
        self._looker: asyncio.Task[None] | None = None
        self._seen: dict[str, Task | None] = {}
        # Services that are gone and whose tasks are not: their nodes are lost.
        self._outlived: set[str] = set()
        # Made since the list was asked for, which is older than they are.
        self._fresh: set[str] = set()

    @property
    def following(self) -> bool:
        """Are the words young enough to answer by?"""
        return time.monotonic() - self._listed_at < TOO_OLD

    async def word(self, service_id: str) -> Word | None:
        """The last word on a service, at most a few seconds old; None where none of that id is ours.

        Unavailable where nobody can tell.
        """
        if not self.following:
            await self._sync()
        return self._words.get(service_id)

    async def of(self, *owners: Owner) -> list[Word]:
        """Return the known states of all services with labels of these owners. Unavailable if no manager answers."""
        if not self.following:
            await self._sync()
        return [word for word in self._words.values() if word.owner in owners]

    def made(self, service_id: str, name: str, owner: Owner) -> None:
        """A service that was made just now: no list has it yet."""
        self._words[service_id] = Word(service_id, name, owner, running=True)
        self._fresh.add(service_id)

    def stopped(self, service_id: str) -> None:
        """A service was removed by order."""
        self._seen.pop(service_id, None)
        if word := self._words.pop(service_id, None):
            word.running = word.exists = False

    # Looking at those that start

    async def look(self, service_id: str) -> Task | None:
        """The task of one service as it is now, None where it has none yet. Gone where there is no such service.

        Looks wait for each other: there are at most ten calls a second, each for all who look.
        """
        future: asyncio.Future[Task | None] = asyncio.get_running_loop().create_future()
        self._looks.setdefault(service_id, []).append(future)
        if self._looker is None or self._looker.done():
            self._looker = asyncio.get_running_loop().create_task(self._look())
        return await future

    async def _look(self) -> None:
        looks: dict[str, list[asyncio.Future[Task | None]]] = {}
        try:
            while self._looks:
                looks, self._looks = self._looks, {}
                for service_id, outcome in (await self._ask_for(list(looks))).items():
                    _resolve(looks[service_id], outcome)
                await asyncio.sleep(LOOK_EVERY)
        finally:
            # In any case, no caller may wait for an answer that will not come.
            for futures in (*looks.values(), *self._looks.values()):
                _resolve(futures, Unavailable("the swarm could not be queried"))
            self._looks = {}

    async def _ask_for(self, ids: list[str]) -> dict[str, Task | EngineError | None]:
        try:
            # A start waits for the answer: unsent calls are retried.
            answers = await translating("tasks", self._engine.send("tasks", (), {"filters": {"service": ids}}))
            tasks, unreadable = await self._read(answers)
        except Gone as error:
            # One of them is gone, and the engine tells of none.
            if len(ids) == 1:
                return {ids[0]: error}
            found = await asyncio.gather(*(self._ask_for([one]) for one in ids))
            return {one: outcome for answer in found for one, outcome in answer.items()}
        except EngineError as error:
            return dict.fromkeys(ids, error)
        except Exception as error:
            self._log_once("answer", error, ids)
            return dict.fromkeys(ids, Unavailable(f"the swarm's answer can't be read: {error!r}"))
        by_service = _by_service(tasks)
        unclear = Unavailable("the swarm's answer on a task can't be read")
        return {
            one: unclear if unreadable and one not in by_service else current(by_service.get(one, ())) for one in ids
        }

    async def _tasks(self, filters: Mapping[str, Any]) -> tuple[list[Task], bool]:
        return await self._read(await self._question("tasks", filters=filters))

    async def _read(self, answers: Any) -> tuple[list[Task], bool]:
        """Return the tasks, and whether others were unreadable; unreadable tasks are logged once."""
        # Thousands of them would hold up the hub.
        tasks, faults = await asyncio.to_thread(_read_tasks, answers)
        for answer, error in faults:
            self._log_once("description of a task", error, answer)
        return tasks, bool(faults)

    async def _question(self, method: str, **kwargs: Any) -> Any:
        return await translating(method, asyncio.wrap_future(self._engine.call(method, (), kwargs)))

    # Following

    async def _follow(self) -> None:
        try:
            while True:
                with contextlib.suppress(EngineError):
                    await self._sync()
                await asyncio.sleep(SOONEST)
                await self._until_prompted(RESYNC - SOONEST)
                self._prompted.clear()
        finally:
            if self._stream is not None:
                self._stream.close()

    async def _until_prompted(self, timeout: float) -> None:
        # Before Python 3.12, wait_for() loses a cancellation that comes together with the event.
        prompted = asyncio.ensure_future(self._prompted.wait())
        try:
            await asyncio.wait({prompted}, timeout=timeout)
        finally:
            prompted.cancel()

    async def _sync(self) -> None:
        """List all; one call for all who ask meanwhile."""
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._list())
            # Where every asker was cancelled nobody else looks at the outcome.
            self._syncing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._syncing)

    async def _list(self) -> None:
        self._open()
        self._fresh.clear()
        try:
            await self._list_all()
        except EngineError as error:
            self._log.debug("The swarm can't be asked: %s", error)
            raise
        except Exception as error:
            self._log_once("answer", error, "")
            raise Unavailable(f"the swarm's answer can't be read: {error!r}") from error
        self._listed_at = time.monotonic()

    async def _list_all(self) -> None:
        found, unreadable = await self._tasks({"label": [self._label]})
        tasks = _by_service(found)
        unsure = self._words.keys() - tasks.keys() - self._fresh
        if unsure or tasks.keys() - self._words.keys() - self._outlived or self._listed_at < 0:
            # For names, and for services without a task.
            self._take_services(await self._question("services", filters={"label": [self._label]}) or [])
            self._outlived = tasks.keys() - self._words.keys()
        for service_id, word in self._words.items():
            # An unreadable task may belong to any service that seems to have none.
            if service_id not in self._fresh and (service_id in tasks or not unreadable):
                self._take(word, current(tasks.get(service_id, ())))

    def _take_services(self, listed: list[Any]) -> None:
        services: dict[str, Mapping[str, Any]] = {}
        for service in listed:
            try:
                services[service["ID"]] = service["Spec"]
                if service["ID"] not in self._words:
                    owner = Owner.of(service["Spec"].get("Labels") or {})
                    self._words[service["ID"]] = Word(service["ID"], service["Spec"]["Name"], owner, running=False)
            except Exception as error:
                self._log_once("description of a service", error, service)
        # An unreadable service may be any of the missing services.
        readable = len(services) == len(listed)
        for service_id in self._words.keys() - services.keys() - self._fresh if readable else ():
            word = self._words.pop(service_id)
            self._seen.pop(service_id, None)
            word.running = word.exists = False
            self._tell(word)

    def _take(self, word: Word, task: Task | None) -> None:
        if task is not None and task == self._seen.get(word.id):
            return
        self._seen[word.id] = task
        described = task.as_inspected() if task and task.running and not task.ports else None
        before = word.running, word.described and word.described["NetworkSettings"]
        word.running = bool(task and task.alive)
        word.described = described
        if before != (word.running, described and described["NetworkSettings"]):
            self._tell(word)

    # Events only say that it is time to list.

    def _open(self) -> None:
        if self._stream is None or self._stream.ended.done():
            self._stream = Stream(self._engine, {"type": ["service", "node"]}, self._hear)

    def _hear(self, raw: Any) -> None:
        try:
            event = Event.of(raw)
        except ValueError as error:
            self._log_once("event", error, raw)
            return
        changed = event.type == "node" and {"state.new", "availability.new"} & event.attributes.keys()
        if changed or (event.action == "remove" and event.id in self._words):
            self._prompted.set()


def _resolve(futures: Iterable[asyncio.Future[Task | None]], outcome: Task | EngineError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(outcome, EngineError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _read_tasks(answers: Any) -> tuple[list[Task], list[tuple[Any, Exception]]]:
    """Return the readable tasks, and the unreadable ones with the reason."""
    tasks, faults = [], []
    for answer in answers or ():
        try:
            tasks.append(Task.of(answer))
        except Exception as error:
            faults.append((answer, error))
    return tasks, faults


def _by_service(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.service, []).append(task)
    return found
