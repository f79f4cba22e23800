"""The only door to Docker: clients, lanes of threads, time-outs."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import requests
from docker import APIClient
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env
from traitlets import Any as AnyTrait
from traitlets import Dict, Float, Integer

from dockerspawner._core import Core
from dockerspawner._engine import metrics
from dockerspawner._engine.retry import Retry
from dockerspawner._errors.failures import misconfigured
from dockerspawner._errors.translation import (
    QUESTIONS,
    Gone,
    Unavailable,
    mark_at_door,
    meaning,
    never_sent,
    understood,
)

T = TypeVar("T")
Client = Any
Call = Callable[[Client], T]

QUICK = (QUESTIONS - {"events", "logs", "service_logs"}) | {
    "connect_container_to_network",
    "create_container",
    "create_network",
    "create_secret",
    "create_service",
    "create_volume",
    "disconnect_container_from_network",
    "get_archive",
    "pause",
    "put_archive",
    "remove_container",
    "remove_network",
    "remove_secret",
    "remove_service",
    "rename",
    "start",
    "unpause",
    "update_container",
}
# Pooled connections of a client for event streams; it opens more on demand.
_STREAMS = 8

# Seconds for which unsent calls are retried if the engine is unreachable, for example during a restart. They count
# from the first failed call to the engine, so that a start does not wait again for each of its calls.
RETRY_FOR = 10.0
# Seconds between two tries to send a call: the first pause, and the longest.
_SOON, _LATER = 0.1, 1.0
_impatient: ContextVar[bool] = ContextVar("impatient", default=False)

# Tries of a question that was not answered, and the first pause between them in seconds.
_TRIES, _PAUSE = 3, 0.1


async def perform(docker: Callable[..., Any], method: str, *args: Any, **kwargs: Any) -> Any:
    """Call `docker(method, ...)` and await it, raising EngineErrors.

    A question that could not be put is put again twice, within a second; orders and time-outs are never
    repeated.
    """
    retry = Retry(_PAUSE, growth=4, spread=(0.5, 1.5))
    tries_left = _TRIES if method in QUESTIONS else 1
    while True:
        tries_left -= 1
        try:
            return await understood(method, docker(method, *args, **kwargs))
        except Unavailable as error:
            if not tries_left or error.timed_out:
                raise
        await retry.pause()


async def described(docker: Callable[..., Any], question: str, name: str) -> dict[str, Any] | None:
    """What the engine says of one thing, asked by a method such as inspect_volume; None where there is none.

    Unavailable where nobody can tell.
    """
    try:
        answer: dict[str, Any] = await perform(docker, question, name)
    except Gone:
        return None
    return answer


class Connection:
    """A lazily created client."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._connected: Client | None = None
        self._lock = threading.Lock()

    def client(self) -> Client:
        """Return the client; create a new one if its SSH connection broke. Blocks, and raises connection errors."""
        connected = self._connected
        if connected is None or _is_cut(connected):
            # Outside of the lock: with a hanging engine, callers would wait for each other's timeout.
            client = self._connect()
            with self._lock:
                if self._connected is connected:
                    self._connected = client
        return self._connected


def _is_cut(client: Client) -> bool:
    """Did the client's SSH connection break? The SDK opens one for all calls, and never reconnects."""
    ssh = getattr(getattr(client, "_custom_adapter", None), "ssh_client", None)
    transport = ssh.get_transport() if ssh is not None else None
    return ssh is not None and (transport is None or not transport.is_active())


class Lane:
    """A few threads, one client, and a queue in which the highest rank is served first.

    Equal ranks are served in the order of their arrival. Threads are made as calls come, and don't hold up
    the end of the process.
    """

    def __init__(self, name: str, threads: int, connect: Callable[[], Client]) -> None:
        self._name = name
        self._threads = threads
        self.client = Connection(connect).client
        self._waiting: list[tuple[int, int, Future[Any], Call[Any]]] = []
        self._arrivals = itertools.count()
        self._changed = threading.Condition()
        self._started = 0
        self._idle = 0

    def submit(self, call: Call[T], rank: int = 0) -> Future[T]:
        """Queue `call(client)`. Cancelling the future takes it out of the queue; a running call goes on."""
        future: Future[T] = Future()
        with self._changed:
            heapq.heappush(self._waiting, (-rank, next(self._arrivals), future, call))
            if self._idle < len(self._waiting) and self._started < self._threads:
                self._started += 1
                name = f"docker-{self._name}-{self._started}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            self._changed.notify()
        return future

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting)
                self._idle -= 1
                _, _, future, call = heapq.heappop(self._waiting)
            if not future.set_running_or_notify_cancel():
                continue
            client = None
            try:
                client = self.client()
                future.set_result(call(client))
            except BaseException as error:
                if isinstance(error, Exception):
                    mark_at_door(error, connecting=client is None)
                future.set_exception(error)
            # An idle thread must not keep the last caller's objects alive.
            del future, call


class Outage:
    """Duration for which an engine is unreachable, measured by calls that could not be sent."""

    def __init__(self) -> None:
        self._began = self._last = float("-inf")

    def note(self, error: BaseException | None) -> None:
        """Note the outcome of a call: its error, or None for success."""
        now = time.monotonic()
        if error is None or not never_sent(error):
            self._began = float("-inf")
        elif self._began == float("-inf") or now - self._last > RETRY_FOR:
            # No call for a while: the engine may have been reachable since.
            self._began = now
        self._last = now

    def left(self) -> float:
        """Return the remaining seconds of retries for unsent calls; all seconds if the outage is over."""
        return RETRY_FOR if self._began == float("-inf") else self._began + RETRY_FOR - time.monotonic()


@contextmanager
def impatient() -> Iterator[None]:
    """Disable retries of unsent calls, for callers that prefer a failure to a delay."""
    token = _impatient.set(True)
    try:
        yield
    finally:
        _impatient.reset(token)


class Engine:
    """One Docker engine, with thread pools for quick calls, slow calls and pulls: a slow call never delays a quick one.

    Each event stream has its own thread. All streams share the client that `events_client` returns.

    `connect(timeout, pool_size)` creates a client whose calls end after `timeout` seconds of silence.
    """

    def __init__(
        self,
        connect: Callable[[float, int], Client],
        *,
        quick_threads: int = 8,
        slow_threads: int = 8,
        quick_timeout: float = 30,
        slow_timeout: float = 120,
        starts_at_once: int = 6,
    ) -> None:
        self.quick_timeout = quick_timeout
        self.quick = Lane("quick", quick_threads, lambda: connect(quick_timeout, quick_threads))
        self.slow = Lane("slow", slow_threads, lambda: connect(slow_timeout, slow_threads))
        # Their own: registries that say nothing must not hold up a stop.
        self.pulling = Lane("pull", slow_threads, lambda: connect(slow_timeout, slow_threads))
        # Opening a stream has the timeout of a quick call. An open stream may be silent for longer.
        self.events_client = Connection(lambda: connect(quick_timeout, _STREAMS)).client
        self._starts_at_once = starts_at_once
        self._admissions: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self.pulls: dict[str, Any] = {}
        self.preparing: dict[str, asyncio.Event] = {}
        self.sweeps: dict[str, asyncio.Task[None]] = {}
        # Calls whose rejection is logged already.
        self.reported: set[str] = set()
        self.networks: dict[str, Any] = {}
        # Reserved host ports, each with the spawner whose start chose it.
        self.reserved_ports: dict[int, Any] = {}
        self.outage = Outage()
        self._shared: dict[tuple[type[Any], Hashable], Any] = {}

    def shared(self, kind: type[T], key: Hashable, make: Callable[[], T]) -> T:
        """Return the object of type `kind` that all spawners of this engine share for `key`; the first call makes it.

        `key` is the instance of the hub for what one hub's spawners share.
        """
        found = self.known(kind, key)
        if found is None:
            found = self._shared[kind, key] = make()
        return found

    def known(self, kind: type[T], key: Hashable) -> T | None:
        """Return the shared object; None if no spawner has used it yet."""
        found: T | None = self._shared.get((kind, key))
        return found

    def forget(self, kind: type[Any], key: Hashable) -> None:
        """Have the next call of shared() make another object."""
        self._shared.pop((kind, key), None)

    def admission(self) -> asyncio.Semaphore:
        """To be held from the creation of a container until it is started."""
        return self._admissions.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._starts_at_once))

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int = 0) -> Future[Any]:
        """Call the client's `method` in its lane; one that no lane lists takes the slow one."""
        lane = self.quick if method in QUICK else self.slow

        def observed(client: Client) -> Any:
            with metrics.call(method, lambda error: type(meaning(method, error)).__name__):
                return getattr(client, method)(*args, **kwargs)

        future = lane.submit(observed, rank)
        future.add_done_callback(self._note)
        return future

    def send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int = 0) -> asyncio.Future[Any]:
        """Start a call like `call`, and return a future of the event loop.

        If the call was certainly not sent, it is retried until the engine was unreachable for RETRY_FOR seconds. No
        thread waits between the tries.
        """
        first = asyncio.wrap_future(self.call(method, args, kwargs, rank))
        return asyncio.ensure_future(self._sent(first, lambda: self.call(method, args, kwargs, rank)))

    async def _sent(self, sending: asyncio.Future[T], again: Callable[[], Future[T]]) -> T:
        retry, end = Retry(_SOON, _LATER, growth=2, spread=(0.5, 1.0)), time.monotonic() + RETRY_FOR
        while True:
            try:
                return await sending
            except Exception as error:
                left = min(self.outage.left(), end - time.monotonic())
                if _impatient.get() or left <= 0 or not never_sent(error):
                    raise
            await retry.pause(at_most=left)
            sending = asyncio.wrap_future(again())

    def _note(self, done: Future[Any]) -> None:
        if not done.cancelled():
            self.outage.note(done.exception())


class _BoundedClient(APIClient):
    """Gives the calls that the SDK leaves without a time-out, a pull among them, that of the client."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        return super().request(*args, **kwargs)


# The key is made of settings, or of a subclass and the endpoint of its own client.
_engines: dict[Any, Engine] = {}
_engines_lock = threading.Lock()


def _endpoint(client: Client) -> str | None:
    """Return the endpoint and credentials of a client of the SDK; None if they can't be read."""
    base_url = getattr(client, "base_url", None)
    if not isinstance(base_url, str):
        return None
    adapter = getattr(client, "_custom_adapter", None)
    places = [getattr(adapter, name, None) for name in ("socket_path", "ssh_host", "npipe_path")]
    credentials = [getattr(client, name, None) for name in ("cert", "verify", "auth")]
    return repr((base_url, places, credentials, sorted(dict(getattr(client, "headers", None) or {}).items())))


class EngineAccess(Core):
    """A spawner's way to its engine, shared by every spawner of the process that has the same settings."""

    client_kwargs = Dict(
        config=True,
        help="""Keyword arguments of docker.APIClient. They go before tls_config, and both before DOCKER_HOST
        and its kin. A `timeout` here replaces quick_timeout and slow_timeout.""",
    )

    tls_config = Dict(config=True, help="Keyword arguments of docker.tls.TLSConfig.")

    quick_threads = Integer(
        8,
        min=1,
        config=True,
        help="Threads for calls that an engine answers at once. Those of the first spawner count.",
    )

    slow_threads = Integer(
        8,
        min=1,
        config=True,
        help="Threads for calls that take long (stop, exec), and as many for pulls. Those of the first spawner count.",
    )

    starts_at_once = Integer(
        6,
        min=1,
        config=True,
        help="""Containers that are between their creation and their start at a time. More are hardly done earlier,
        but most users wait longer. That of the first spawner counts.""",
    )

    quick_timeout = Float(30, config=True, help="Seconds after which a quick call is given up.")

    slow_timeout = Float(120, config=True, help="Seconds of silence after which a slow call is given up.")

    engine = AnyTrait(help="The Engine that every call goes to.")

    @property
    def _rank(self) -> int:
        """How far the start is; of waiting calls, those of the furthest go first."""
        return 0

    def _engine_default(self) -> Engine:
        names = ("quick_threads", "slow_threads", "starts_at_once", "quick_timeout", "slow_timeout")
        sizes = {name: getattr(self, name) for name in names}
        if type(self).client is not EngineAccess.client:
            return self._engine_of_own_client(sizes)
        settings = dict(self.client_kwargs)
        if (timeout := settings.pop("timeout", None)) is not None:
            sizes |= {"quick_timeout": timeout, "slow_timeout": timeout}
        tls = dict(self.tls_config)

        def connect(timeout: float, pool_size: int) -> Client:
            kwargs: dict[str, Any] = {"timeout": timeout, "max_pool_size": pool_size, **kwargs_from_env()}
            if tls:
                kwargs["tls"] = TLSConfig(**tls)
            return _BoundedClient(**{**kwargs, **settings})

        environment = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        key = json.dumps([settings, tls, environment, sizes], sort_keys=True, default=lambda o: f"{type(o)}{vars(o)}")
        with _engines_lock:
            return _engines.setdefault(key, Engine(connect, **sizes))

    def _engine_of_own_client(self, sizes: dict[str, Any]) -> Engine:
        """Return the engine of a subclass with its own client: one engine for each endpoint.

        A client without a readable endpoint gets a separate engine. The property must then return the same client.
        """
        own = self.client
        endpoint = _endpoint(own)
        if endpoint is None and self.client is not own:
            raise misconfigured(
                f"The property client of {type(self).__name__} returns a new client at each access. "
                "It must return the same client, or a docker.APIClient, whose endpoint can be read."
            )
        key = (type(self), id(own)) if endpoint is None else (type(self), endpoint)
        with _engines_lock:
            return _engines.setdefault(key, Engine(lambda timeout, pool_size: own, **sizes))

    @property
    def client(self) -> Client:
        """The slow lane's docker.APIClient. Made at first use, which blocks."""
        return self.engine.slow.client()

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Call a method of docker.APIClient in a thread; return the running Future.

        Raises the SDK's exceptions. A call that could not be sent is retried for about ten seconds.
        """
        engine: Engine = self.engine
        return engine.send(method, args, kwargs, self._rank)
