"""List, then watch: what the engine last said of every container of ours, known without asking."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from dockerspawner._engine import metrics
from dockerspawner._engine.client import Engine
from dockerspawner._engine.events import Event, Stream
from dockerspawner._engine.retry import Retry
from dockerspawner._errors.translation import EngineError, Gone, Refused, Unavailable, translating
from dockerspawner._records.ownership import INSTANCE, Owner

# Seconds after which all is listed again, since silence of a stream looks like health.
RESYNC = 60.0
# Nanoseconds around the end of a container in which an out-of-memory event is its cause.
OOM_WINDOW = 5_000_000_000
# Seconds after which an end that the engine was asked for, and that it has reported to the asker, is heard here.
EVENT_DELAY = 0.02
# Seconds after which the event for a change that a list shows counts as missed.
EVENT_LATE = 0.5
# Seconds after which an engine that does not answer is taken for one that can't tell.
PATIENCE = 10.0
# Maximum ids in one list call: engines and proxies limit the length of a URL.
_MOST_IDS = 50
# Seconds between the tries to reach an engine that can't be followed.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# Factors of the patience: after the first, the engine is listed even without an open stream; after the second, the
# opening of a stream is given up.
_OPENING, _GIVE_UP = 0.2, 6.0
_RUNNING = ("running", "paused", "restarting")

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

    def __init__(self, engine: Engine, instance: str, log: logging.Logger) -> None:
        self._engine = engine
        self._words: dict[str, Word] = {}
        # Ids in the hub's own states: watched regardless of the containers' labels.
        self._expected: set[str] = set()
        self._listeners: dict[str, weakref.WeakMethod[Listener]] = {}
        self._instance = instance
        self._log = log
        self._logged: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._follower = self._loop.create_task(self._follow())
        metrics.count_servers(instance, self)

    async def _follow(self) -> None:
        """Keep the known states current until cancelled."""
        raise NotImplementedError

    def is_of_this_loop(self) -> bool:
        return self._loop is asyncio.get_running_loop()

    def keep_following(self) -> None:
        """Restart following if it was cancelled. It does not end otherwise."""
        if self._follower.done():
            self._follower = self._loop.create_task(self._follow())

    def running(self) -> int:
        return sum(word.running and not word.paused for word in self._words.values())

    def sleeping(self) -> int:
        return sum(word.running and word.paused for word in self._words.values())

    def last(self, object_id: str) -> Word | None:
        """The last word that was heard; maybe not the last one by now."""
        return self._words.get(object_id)

    def listen(self, object_id: str, listener: Listener) -> None:
        """Call a method on the event loop with every new word, for as long as its object lives."""
        self._expected.add(object_id)
        self._listeners[object_id] = weakref.WeakMethod(listener)

    def ignore(self, object_id: str) -> None:
        """Tell nobody about it any more."""
        self._listeners.pop(object_id, None)

    def _log_once(self, what: str, error: BaseException, example: Any) -> None:
        """Warn of an answer of unexpected shape once per kind, with the traceback and the beginning of the answer."""
        level = logging.DEBUG if what in self._logged else logging.WARNING
        self._logged.add(what)
        text = "The Docker engine's %s has an unexpected shape and is ignored (%r): %.300r"
        self._log.log(level, text, what, error, example, exc_info=error)

    def _tell(self, word: Word) -> None:
        reference = self._listeners.get(word.id)
        listener = reference() if reference else None
        if listener is not None:
            try:
                listener(word)
            except Exception:
                # Other listeners must still be notified.
                self._log.exception("A change of %s could not be processed", word.name)
        if not word.exists or listener is None:
            self._listeners.pop(word.id, None)
        if not word.exists:
            self._expected.discard(word.id)


W = TypeVar("W", bound=Words)


class Watch(Words):
    """The containers of one instance on one engine.

    - While the stream of events is open, every word is the engine's last one.
    - While it is not, nothing is taken for granted: whoever asks shares one list call with all who ask.
    - Whatever was missed shows in the list that follows each opening of the stream, and in one each minute.
    """

    def __init__(self, engine: Engine, instance: str, log: logging.Logger) -> None:
        super().__init__(engine, instance, log)
        self._label = f"{INSTANCE}={instance}"
        self._patience = min(PATIENCE, engine.quick_timeout)
        # What events, and orders, have told of since the list was asked for: the list is older than that.
        self._touched: set[str] = set()
        self._observer: Observer | None = None
        self._stream: Stream | None = None
        # The stream that was open at the request of the last list.
        self._heard_on: Stream | None = None
        # Did the last list have an entry with an unreadable owner or id?
        self._unreadable = False
        self._warned = False
        self._syncing: asyncio.Task[None] | None = None
        # Done when an event lacks data, so that the next list is due at once.
        self._doubt: asyncio.Future[None] | None = None

    @property
    def following(self) -> bool:
        """Are the words the engine's last ones?"""
        return self._heard_on is not None and self._heard_on is self._stream and self._stream.is_open

    async def word(self, container_id: str) -> Word | None:
        """The last word on a container, None where the engine lists none of that id as ours.

        Unavailable where nobody can tell.
        """
        await self._up_to_date()
        word = self._words.get(container_id)
        if word is not None and word.running:
            await asyncio.sleep(EVENT_DELAY)
        return self._words.get(container_id)

    async def of(self, *owners: Owner) -> list[Word]:
        """Return the known states of containers with labels of these owners. Unavailable if the engine is silent."""
        await self._up_to_date()
        return [word for word in self._words.values() if word.owner in owners]

    async def expect(self, container_ids: Collection[str]) -> None:
        """Watch containers by id, regardless of labels. Unavailable if the engine does not answer."""
        new = set(container_ids) - self._expected - self._words.keys()
        self._expected |= set(container_ids)
        if new and self.following:
            await self._sync()

    async def owners(self) -> set[Owner]:
        """Whose containers there are, running or not. Unavailable where nobody can tell."""
        await self._up_to_date()
        if self._unreadable:
            raise Unavailable("the Docker engine's list of containers can't be read")
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
        retry = Retry(_FIRST_PAUSE, _LONGEST_PAUSE, growth=2, spread=(0.5, 1.5))
        try:
            while True:
                with contextlib.suppress(EngineError):
                    await self._sync()
                if self._stream is not None and self.following:
                    doubt = self._doubt = self._loop.create_future()
                    await asyncio.wait({self._stream.ended, doubt}, timeout=RESYNC, return_when=asyncio.FIRST_COMPLETED)
                    if not self._stream.ended.done():
                        retry.reset()
                        if doubt.done():
                            await asyncio.sleep(_FIRST_PAUSE)
                        continue
                await retry.pause()
        finally:
            if self._stream is not None:
                self._stream.close()

    async def _sync(self) -> None:
        """Open an event stream and list; concurrent callers share one list. EngineError if that fails."""
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._open_and_list())
            # Where every asker was cancelled nobody else looks at the outcome.
            self._syncing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._syncing)

    async def _open_and_list(self) -> None:
        deadline = time.monotonic() + self._patience
        try:
            stream = await self._open()
            news = await self._list(deadline)
            if stream is not None and stream is self._heard_on and await self._missed(news):
                # The open stream delivers nothing: open another one before the next list.
                self._log.info("The Docker engine's event stream missed changes; the watch opens a new one")
                stream.close()
                stream = await self._open()
                await self._list(time.monotonic() + self._patience)
            self._heard_on = stream
        except EngineError as error:
            self._heard_on = None
            self._log.debug("The Docker engine can't be followed: %s", error)
            raise
        except Exception as error:
            self._heard_on = None
            self._log_once("answer", error, "")
            raise Unavailable(f"the Docker engine's answer can't be read: {error!r}") from error
        self._notify_observer(None)

    def _notify_observer(self, event: Mapping[str, Any] | None) -> None:
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception:
                self._log.exception("A container event could not be processed")

    async def _missed(self, news: set[str]) -> bool:
        """Did the list show changes for which no event arrives?"""
        if news:
            await asyncio.sleep(EVENT_LATE)
        return bool(news - self._touched)

    async def _list(self, deadline: float) -> set[str]:
        """List all containers, until `deadline` by time.monotonic(); return the ids of changed ones."""
        self._touched.clear()
        filters = {"label": [self._label]}
        call = self._engine.call("containers", (), {"all": True, "filters": filters})
        answered = asyncio.wait_for(asyncio.wrap_future(call), deadline - time.monotonic())
        found = await translating("containers", answered)
        listed = {_id_of(summary) for summary in found or ()} if isinstance(found or [], list) else set()
        return self._take(found or [], await self._list_expected(listed, deadline))

    async def _list_expected(self, listed: Set[str], deadline: float) -> list[Container]:
        """List containers that states name and the list by label lacks: with a former `instance`, or without labels."""
        missing = sorted(self._expected - listed - self._touched)
        batches = [missing[start : start + _MOST_IDS] for start in range(0, len(missing), _MOST_IDS)]
        found: list[Container] = []
        answers = True
        while batches:
            ids = batches.pop()
            try:
                found += await self._list_ids(ids, deadline)
            except Exception as error:
                if answers and _is_silence(error):
                    raise
                answers = False
                self._log.debug("The Docker engine can't list containers by id: %r", error)
                if isinstance(error, Refused) or _is_silence(error):
                    self._keep_unlisted([*ids, *itertools.chain(*batches)])
                    break
                if len(ids) > 1:
                    # One id that the engine does not know may fail the whole list.
                    batches += [[one] for one in ids]
                elif isinstance(error, Gone):
                    self._forget_unlisted(ids[0])
                else:
                    self._keep_unlisted(ids)
        # The engine matches ids by prefix.
        found = [summary for summary in found if _id_of(summary) in self._expected]
        self._expected -= set(missing) - {_id_of(summary) for summary in found} - self._touched
        return found

    async def _list_ids(self, ids: list[str], deadline: float) -> list[Any]:
        call = self._engine.call("containers", (), {"all": True, "filters": {"id": ids}})
        answered = asyncio.wait_for(asyncio.wrap_future(call), deadline - time.monotonic())
        found = await translating("containers", answered) or []
        if not isinstance(found, list):
            raise TypeError(f"a list of containers is a {type(found).__name__}")
        return found

    def _keep_unlisted(self, ids: list[str]) -> None:
        """Keep what events reported about containers that can't be listed, unless the watch missed events."""
        self._touched.update(ids)
        if not self.following:
            for container_id in ids:
                self._words.pop(container_id, None)

    def _forget_unlisted(self, container_id: str) -> None:
        """Drop a container that the engine does not find: callers then ask the engine."""
        self._touched.add(container_id)
        self._expected.discard(container_id)
        self._words.pop(container_id, None)

    async def _open(self) -> Stream | None:
        """Return the event stream, and open it if needed; None if the engine has not opened it yet."""
        stream = self._stream
        if stream is not None and not stream.opened.done() and _age(stream) > _GIVE_UP * self._patience:
            stream.close()
        if stream is None or stream.ended.done():
            # Not filtered by label: network events lack labels, even if they concern this hub's containers.
            stream = Stream(self._engine, {"type": ["container", "network"], "event": EVENTS}, self._hear)
            self._stream = stream
        await asyncio.wait({stream.opened}, timeout=self._patience * _OPENING)
        if not stream.opened.done():
            # A hanging engine does not answer the list, either.
            return None
        error = stream.opened.result()
        if isinstance(error, Unavailable):
            raise error
        if error is not None and not self._warned:
            self._warned = True
            self._log.warning("The Docker engine tells of no events; it will be asked all the more: %s", error)
        return stream

    # Words

    def _take(self, found: Any, expected: list[Container]) -> set[str]:
        """Apply a list, and the list by id; return ids of changed containers for which no event arrived."""
        if not isinstance(found, list):
            raise TypeError(f"a list of containers is a {type(found).__name__}")
        listed = self._readable(found)
        self._unreadable = len(listed) < len(found) or any(not word.owner.instance for word in listed.values())
        by_id = self._readable(expected)
        # An unreadable entry may be any of the missing containers.
        gone = set() if len(listed) < len(found) else self._words.keys() - listed.keys() - by_id.keys() - self._touched
        news = set(gone)
        for container_id in gone:
            word = self._words.pop(container_id)
            word.running = word.exists = False
            self._tell(word)
        for container_id, word in (listed | by_id).items():
            if container_id in self._touched:
                continue
            before = self._words.get(container_id)
            self._words[container_id] = word
            if before is None or before.running != word.running:
                # A container that was not expected before is not a change.
                news |= {container_id} if before or container_id in listed else set()
                self._tell(word)
            elif _addresses(before) != _addresses(word):
                self._tell(word)
        return news

    def _readable(self, found: list[Any]) -> dict[str, Word]:
        """Read a list into states by id; unreadable entries are skipped and logged once."""
        listed: dict[str, Word] = {}
        for summary in found:
            try:
                if not (container_id := _id_of(summary)):
                    raise ValueError("no id")
                listed[container_id] = _listed_word(summary, self._words.get(container_id))
            except Exception as error:
                self._log_once("entry in the list of containers", error, summary)
        return listed

    def _hear(self, raw: Any) -> None:
        try:
            self._hear_of(Event.of(raw))
        except Exception as error:
            self._log_once("event", error, raw)

    def _hear_of(self, event: Event) -> None:
        if event.type == "network":
            self._hear_of_network(event)
        elif event.type == "container" and event.action in EVENTS:
            self._hear_of_container(event)

    def _hear_of_container(self, event: Event) -> None:
        action, at = event.action, event.at
        if action == "start":
            self._notify_observer({"Actor": {"ID": event.id, "Attributes": event.attributes}})
        word = self._words.get(event.id)
        owner = Owner.of(event.attributes)
        if INSTANCE not in event.attributes:
            # A third-party container, or an engine that omits labels.
            if word is None:
                if event.id in self._listeners:
                    self._list_soon()
                return
            owner = word.owner
        elif owner.instance != self._instance and event.id not in self._expected:
            return
        metrics.heard(at)
        self._touched.add(event.id)
        if word is None:
            if action == "destroy":
                return
            word = self._words[event.id] = Word(event.id, event.attributes.get("name", ""), owner, False)
        if action == "create":
            return
        if action == "oom":
            metrics.out_of_memory.inc()
            word.out_of_memory_at = max(at, word.out_of_memory_at)
        elif action == "rename":
            word.name = event.attributes.get("name", word.name)
            return
        elif at and at < word.at:
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
            del self._words[event.id]
        self._tell(word)

    def _hear_of_network(self, event: Event) -> None:
        """A container has joined a network, or left one. Each start and each end brings such events, too."""
        word = self._words.get(event.attributes.get("container", ""))
        if word is None or not word.running or event.action not in ("connect", "disconnect"):
            return
        metrics.heard(event.at)
        self._touched.add(word.id)
        word.described = None
        # Whoever has left for good has no address to be told of, and mostly it is about to end.
        if event.action == "connect":
            self._tell(word)

    def _list_soon(self) -> None:
        if self._doubt is not None and not self._doubt.done():
            self._doubt.set_result(None)


def _id_of(summary: Any) -> str:
    """Return the id of a listed container, empty if unreadable."""
    found = summary.get("Id") if isinstance(summary, Mapping) else ""
    return found if isinstance(found, str) else ""


def _is_silence(error: Exception) -> bool:
    """Return whether the engine was unreachable or silent, and did not send an unusable answer."""
    return isinstance(error, Unavailable) and not error.status_code and not isinstance(error.__cause__, ValueError)


def _age(stream: Stream) -> float:
    return time.monotonic() - stream.began


def _listed_word(summary: Container, before: Word | None) -> Word:
    state = _state(summary)
    names = summary.get("Names") or [""]
    word = Word(
        id=summary["Id"],
        name=str(names[0]).lstrip("/"),
        owner=Owner.of(summary.get("Labels") or {}),
        running=state in _RUNNING,
        paused=state == "paused",
        described=as_inspected(summary),
    )
    if before is not None:
        word.at, word.out_of_memory_at = before.at, before.out_of_memory_at
        if not state:
            word.running, word.paused = before.running, before.paused
        if not word.owner.instance:
            word.owner = before.owner
    return word


def _state(summary: Container) -> str:
    """Return the state of a listed container, such as "running", else derive it from the status; empty if unknown."""
    state = summary.get("State")
    if isinstance(state, str) and state:
        return state.lower()
    status = str(summary.get("Status") or "").lower()
    if "(paused)" in status:
        return "paused"
    return "running" if status.startswith("up") else status.partition(" ")[0]


def as_inspected(summary: Container) -> Container | None:
    """Convert the state and addresses of a listed container to the shape of an inspected one; None if the list lacks
    them."""
    state = _state(summary)
    networks = (summary.get("NetworkSettings") or {}).get("Networks")
    if not state or not isinstance(networks, Mapping):
        return None
    ports: dict[str, list[dict[str, str]]] = {}
    for port in summary.get("Ports") or ():
        if not port.get("PrivatePort"):
            continue
        published = ports.setdefault(f"{port['PrivatePort']}/{port.get('Type') or 'tcp'}", [])
        if port.get("PublicPort"):
            published.append({"HostIp": port.get("IP") or "", "HostPort": str(port["PublicPort"])})
    return {
        "Id": summary["Id"],
        "State": {"Status": state, "Running": state in _RUNNING},
        "HostConfig": {"NetworkMode": (summary.get("HostConfig") or {}).get("NetworkMode") or ""},
        "NetworkSettings": {"Networks": networks, "Ports": ports},
    }


def _addresses(word: Word) -> Any:
    if word.described is None:
        return None
    settings = word.described["NetworkSettings"]
    networks = {name: (entry or {}).get("IPAddress") for name, entry in settings["Networks"].items()}
    return networks, settings["Ports"]


def shared_watch(kind: type[W], engine: Engine, instance: str, log: logging.Logger) -> W:
    """The watch of an instance on an engine: one of each kind for all spawners of this event loop."""
    watch = engine.shared(kind, instance, lambda: kind(engine, instance, log))
    if not watch.is_of_this_loop():
        engine.forget(kind, instance)
        watch = engine.shared(kind, instance, lambda: kind(engine, instance, log))
    watch.keep_following()
    return watch


def watch_of(engine: Engine, instance: str, log: logging.Logger) -> Watch:
    """The watch of an instance's containers on an engine."""
    return shared_watch(Watch, engine, instance, log)
