"""List, then watch: what the engine last said of every container of ours, known without asking."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dockerspawner import metrics
from dockerspawner.engine import Engine
from dockerspawner.errors import EngineError, Unavailable, understood
from dockerspawner.events import Stream
from dockerspawner.ownership import INSTANCE, Owner

# Seconds after which all is listed again, since silence of a stream looks like health.
RESYNC = 60.0
# Nanoseconds around the end of a container in which an out-of-memory event is its cause.
OOM_WINDOW = 5_000_000_000
# Seconds after which an end that the engine was asked for, and that it has reported to the asker, is heard here.
EVENT_DELAY = 0.02
# Seconds after which an engine that does not answer is taken for one that can't tell.
PATIENCE = 10.0
# Seconds between the tries to reach an engine that can't be followed.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

EVENTS = ["create", "start", "die", "oom", "destroy", "rename", "pause", "unpause", "connect", "disconnect"]

Listener = Callable[["Word"], None]
Observer = Callable[[Mapping[str, Any] | None], None]
Container = dict[str, Any]


@dataclass
class Word:
    """The last word on one container.

    `described` has the container's state and addresses in the shape of an inspected one, None where they have to be
    asked for. Times are the engine's, in nanoseconds.
    """

    id: str
    name: str
    owner: Owner
    running: bool
    paused: bool = False
    exists: bool = True
    described: Container | None = None
    at: int = 0
    out_of_memory_at: int = 0

    @property
    def spared(self) -> bool:
        """Was the memory that it used up a while ago not the cause of its end?"""
        return bool(self.out_of_memory_at and self.at - self.out_of_memory_at > OOM_WINDOW)


class Words:
    """Last words, by what they are on, and who listens to them."""

    def __init__(self) -> None:
        self._words: dict[str, Word] = {}
        self._listeners: dict[str, weakref.WeakMethod[Listener]] = {}

    def last(self, object_id: str) -> Word | None:
        """The last word that was heard; maybe not the last one by now."""
        return self._words.get(object_id)

    def listen(self, object_id: str, listener: Listener) -> None:
        """Call a method on the event loop with every new word, for as long as its object lives."""
        self._listeners[object_id] = weakref.WeakMethod(listener)

    def ignore(self, object_id: str) -> None:
        """Tell nobody about it any more."""
        self._listeners.pop(object_id, None)

    def _tell(self, word: Word) -> None:
        reference = self._listeners.get(word.id)
        listener = reference() if reference else None
        if listener is not None:
            listener(word)
        if not word.exists or listener is None:
            self._listeners.pop(word.id, None)


class Watch(Words):
    """The containers of one instance on one engine.

    - While the stream of events is open, every word is the engine's last one.
    - While it is not, nothing is taken for granted: whoever asks shares one list call with all who ask.
    - Whatever was missed shows in the list that follows each opening of the stream, and in one each minute.
    """

    def __init__(self, engine: Engine, instance: str, log: logging.Logger) -> None:
        super().__init__()
        self._engine = engine
        self._instance = instance
        self._label = f"{INSTANCE}={instance}"
        self._log = log
        self._patience = min(PATIENCE, engine.quick_timeout)
        # What events, and orders, have told of since the list was asked for: the list is older than that.
        self._touched: set[str] = set()
        self._observer: Observer | None = None
        self._stream: Stream | None = None
        self._listed = False
        self._warned = False
        self._syncing: asyncio.Task[None] | None = None
        metrics.count_servers(
            instance,
            running=lambda: sum(word.running and not word.paused for word in self._words.values()),
            sleeping=lambda: sum(word.running and word.paused for word in self._words.values()),
        )
        self._follower = asyncio.get_running_loop().create_task(self._follow())

    @property
    def following(self) -> bool:
        """Are the words the engine's last ones?"""
        return self._listed and self._stream is not None and not self._stream.ended.done()

    def is_of_this_loop(self) -> bool:
        return self._follower.get_loop() is asyncio.get_running_loop() and not self._follower.done()

    async def word(self, container_id: str) -> Word | None:
        """The last word on a container, None where the engine lists none of that id as ours.

        Unavailable where nobody can tell.
        """
        await self._up_to_date()
        word = self._words.get(container_id)
        if word is not None and word.running:
            await asyncio.sleep(EVENT_DELAY)
        return self._words.get(container_id)

    async def of(self, owner: Owner) -> list[Word]:
        """The last words on all containers of one server. Unavailable where nobody can tell."""
        await self._up_to_date()
        return [word for word in self._words.values() if word.owner == owner]

    async def owners(self) -> set[Owner]:
        """Whose containers there are, running or not. Unavailable where nobody can tell."""
        await self._up_to_date()
        return {word.owner for word in self._words.values()}

    async def frozen(self) -> set[str]:
        """Ids of all containers that are paused. Unavailable where nobody can tell."""
        await self._up_to_date()
        await asyncio.sleep(EVENT_DELAY)
        return {word.id for word in self._words.values() if word.running and word.paused}

    async def _up_to_date(self) -> None:
        if not self.following:
            await self._sync()

    def observe(self, observer: Observer) -> None:
        """Give the event of each start on the engine, of a container of ours or not, and None after each list."""
        self._observer = observer

    def stopped(self, container_id: str) -> None:
        """The engine has stopped a container by order; the event that says so may be late."""
        if word := self._words.get(container_id):
            self._touched.add(container_id)
            word.running = False

    def paused(self, container_id: str) -> None:
        """As `stopped`, of one that is paused."""
        if word := self._words.get(container_id):
            self._touched.add(container_id)
            word.paused = True

    # Following

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while True:
                with contextlib.suppress(EngineError):
                    await self._sync()
                if self._stream is not None and self.following:
                    cut, _ = await asyncio.wait({self._stream.ended}, timeout=RESYNC)
                    if not cut:
                        pause = _FIRST_PAUSE
                        continue
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            if self._stream is not None:
                self._stream.close()

    async def _sync(self) -> None:
        """Open the stream of events and list; one for all who ask meanwhile."""
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._open_and_list())
            # Where every asker was cancelled nobody else looks at the outcome.
            self._syncing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._syncing)

    async def _open_and_list(self) -> None:
        try:
            await self._open()
            self._touched.clear()
            filters = {"label": [self._label]}
            call = self._engine.call("containers", (), {"all": True, "filters": filters})
            found = await understood("containers", asyncio.wait_for(asyncio.wrap_future(call), self._patience))
        except EngineError as error:
            self._listed = False
            self._log.debug("The Docker engine can't be followed: %s", error)
            raise
        self._take(found)
        self._listed = True
        if self._observer is not None:
            self._observer(None)

    async def _open(self) -> None:
        # Not by our label: events of networks have none, even where they are about a container of ours.
        stream = Stream(self._engine, {"type": ["container", "network"], "event": EVENTS}, self._hear)
        await asyncio.wait({stream.opened}, timeout=self._patience)
        if not stream.opened.done():
            stream.close()
            raise Unavailable("no stream of events", timed_out=True)
        if self._stream is not None:
            self._stream.close()
        self._stream = stream
        error = stream.opened.result()
        if isinstance(error, Unavailable):
            raise error
        if error is not None and not self._warned:
            self._warned = True
            self._log.warning("The Docker engine tells of no events; it will be asked all the more: %s", error)

    # Words

    def _take(self, found: list[Container]) -> None:
        listed = {summary["Id"]: summary for summary in found}
        for container_id in self._words.keys() - listed.keys() - self._touched:
            word = self._words.pop(container_id)
            word.running = word.exists = False
            self._tell(word)
        for container_id, summary in listed.items():
            if container_id in self._touched:
                continue
            before = self._words.get(container_id)
            word = self._words[container_id] = _listed_word(summary, before)
            if before is None or (before.running, _addresses(before)) != (word.running, _addresses(word)):
                self._tell(word)

    def _hear(self, event: Mapping[str, Any]) -> None:
        container_id, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]
        action, at = event["Action"], event.get("timeNano", 0)
        if event["Type"] == "network":
            self._hear_of_network(action, attributes.get("container", ""), at)
            return
        if self._observer is not None and action == "start":
            self._observer(event)
        if Owner.of(attributes).instance != self._instance:
            return
        metrics.heard(at)
        self._touched.add(container_id)
        word = self._words.get(container_id)
        if word is None:
            if action == "destroy":
                return
            owner = Owner.of(attributes)
            word = self._words[container_id] = Word(container_id, attributes.get("name", ""), owner, False)
        if action == "create":
            return
        if action == "oom":
            metrics.out_of_memory.inc()
            word.out_of_memory_at = max(at, word.out_of_memory_at)
        elif action == "rename":
            word.name = attributes.get("name", word.name)
            return
        elif at < word.at:
            # Overtaken by a later one.
            return
        elif action in ("pause", "unpause"):
            word.paused, word.at = action == "pause", at
            return
        elif action == "start":
            word.running, word.paused, word.described, word.at = True, False, None, at
        elif action == "die":
            word.running, word.described, word.at = False, None, at
        elif action == "destroy":
            word.running = word.exists = False
            del self._words[container_id]
        self._tell(word)

    def _hear_of_network(self, action: str, container_id: str, at: int) -> None:
        """A container has joined a network, or left one. Each start and each end brings such events, too."""
        word = self._words.get(container_id)
        if word is None or not word.running or action not in ("connect", "disconnect"):
            return
        metrics.heard(at)
        self._touched.add(container_id)
        word.described = None
        # Whoever has left for good has no address to be told of, and mostly it is about to end.
        if action == "connect":
            self._tell(word)


def _listed_word(summary: Container, before: Word | None) -> Word:
    labels = summary.get("Labels") or {}
    word = Word(
        id=summary["Id"],
        name=summary["Names"][0].lstrip("/") if summary.get("Names") else "",
        owner=Owner.of(labels),
        running=summary["State"] in ("running", "paused", "restarting"),
        paused=summary["State"] == "paused",
        described=as_inspected(summary),
    )
    if before is not None:
        word.at, word.out_of_memory_at = before.at, before.out_of_memory_at
    return word


def as_inspected(summary: Container) -> Container:
    """What a listed container says of state and addresses, in the shape that inspecting it gives."""
    ports: dict[str, list[dict[str, str]]] = {}
    for port in summary.get("Ports") or ():
        published = ports.setdefault(f"{port['PrivatePort']}/{port['Type']}", [])
        if "PublicPort" in port:
            published.append({"HostIp": port.get("IP", ""), "HostPort": str(port["PublicPort"])})
    return {
        "Id": summary["Id"],
        "State": {"Status": summary["State"], "Running": summary["State"] in ("running", "paused", "restarting")},
        "HostConfig": {"NetworkMode": summary.get("HostConfig", {}).get("NetworkMode", "")},
        "NetworkSettings": {"Networks": (summary.get("NetworkSettings") or {}).get("Networks") or {}, "Ports": ports},
    }


def _addresses(word: Word) -> Any:
    if word.described is None:
        return None
    settings = word.described["NetworkSettings"]
    networks = {name: (entry or {}).get("IPAddress") for name, entry in settings["Networks"].items()}
    return networks, settings["Ports"]


def watch_of(engine: Engine, instance: str, log: logging.Logger, kind: Callable[..., Any] = Watch) -> Any:
    """The watch of an instance on an engine: one of each kind for all spawners of this event loop."""
    watch = engine.watches.get((kind, instance))
    if watch is None or not watch.is_of_this_loop():
        watch = engine.watches[kind, instance] = kind(engine, instance, log)
    return watch
