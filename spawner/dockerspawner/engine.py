"""The only door to Docker: clients, lanes of threads, time-outs, and what an error means.

EngineError
  Gone                what was asked for is not there (404)
    NoSuchImage
    NoSuchNetwork
  Conflict            the engine's state stands against it (409)
    NameTaken
    BeingRemoved
  Refused             the engine, or its client, does not accept the order (other 4xx)
  Failed              the engine tried to carry out an order and could not (5xx)
  Unavailable         nobody knows: no connection, no answer in time, 5xx to a question
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import random
import re
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env
from traitlets import Any as AnyTrait
from traitlets import Dict, Float, Integer
from traitlets.config import LoggingConfigurable

T = TypeVar("T")
Client = Any
Call = Callable[[Client], T]

QUESTIONS = frozenset(
    {"containers", "inspect_container", "inspect_image", "inspect_network", "inspect_volume", "logs", "port"}
)
QUICK = (QUESTIONS - {"logs"}) | {"create_container", "create_volume", "start", "remove_container"}

# Seconds between the tries of a question that nobody answered.
_PAUSES = (0.1, 0.4)


class EngineError(Exception):
    """Something that Docker did not do, in the engine's own words."""


class Gone(EngineError):
    pass


class NoSuchImage(Gone):
    pass


class NoSuchNetwork(Gone):
    pass


class Conflict(EngineError):
    pass


class NameTaken(Conflict):
    pass


class BeingRemoved(Conflict):
    pass


class Refused(EngineError):
    pass


class Failed(EngineError):
    pass


class Unavailable(EngineError):
    """`timed_out`: the call was sent and may have been carried out."""

    def __init__(self, message: str, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


def meaning(method: str, error: Exception) -> Exception:
    """What an exception of the Docker SDK, raised by `method`, says; others are returned as they are."""
    if isinstance(error, APIError) and error.status_code:
        return _meaning_of_answer(method, error.status_code, str(error.explanation or error), error)
    cause = error.__cause__ or error
    if isinstance(error, requests.exceptions.RequestException | OSError) or type(error) is DockerException:
        return Unavailable(str(error), timed_out=isinstance(cause, requests.exceptions.Timeout | TimeoutError))
    if isinstance(error, DockerException):
        return Refused(str(error))
    return error


def _meaning_of_answer(method: str, status: int, message: str, error: APIError) -> EngineError:
    if status == 404:
        if isinstance(error, ImageNotFound):
            return NoSuchImage(message)
        return NoSuchNetwork(message) if re.search(r"\bnetwork \S+ not found", message) else Gone(message)
    if status == 409:
        if "is already in use by container" in message:
            return NameTaken(message)
        return BeingRemoved(message) if "removal of container" in message else Conflict(message)
    if status < 500:
        return Refused(message)
    return Unavailable(message) if method in QUESTIONS else Failed(message)


async def understood(method: str, awaiting: Awaitable[T]) -> T:
    """Await what may raise the SDK's exceptions, as overrides of public methods do; raise EngineErrors."""
    try:
        return await awaiting
    except Exception as error:
        meant = meaning(method, error)
        raise meant from (None if meant is error else error)


async def perform(docker: Callable[..., Any], method: str, *args: Any, **kwargs: Any) -> Any:
    """Call `docker(method, ...)` and await it, raising EngineErrors.

    A question that could not be put is put again twice, within a second; orders and time-outs are never
    repeated.
    """
    for pause in (*_PAUSES, None) if method in QUESTIONS else (None,):
        try:
            return await understood(method, docker(method, *args, **kwargs))
        except Unavailable as error:
            if pause is None or error.timed_out:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


class Lane:
    """A few threads, one client, and a queue in which the highest rank is served first.

    Equal ranks are served in the order of their arrival. Threads are made as calls come, and don't hold up
    the end of the process.
    """

    def __init__(self, name: str, threads: int, connect: Callable[[], Client]) -> None:
        self._name = name
        self._threads = threads
        self._connect = connect
        self._connected: Client | None = None
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

    def client(self) -> Client:
        """This lane's client, made when it is first needed. Blocks; raises what connecting raises."""
        if self._connected is None:
            # Not under the lock: an engine that hangs would make the callers wait for each other's time-out.
            client = self._connect()
            with self._changed:
                self._connected = self._connected or client
        return self._connected

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting)
                self._idle -= 1
                _, _, future, call = heapq.heappop(self._waiting)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call(self.client()))
            except BaseException as error:
                future.set_exception(error)
            # An idle thread must not keep the last caller's objects alive.
            del future, call


class Engine:
    """One Docker engine: a quick and a slow lane, so that a slow call never delays a quick one.

    `connect(timeout, pool_size)` makes a client whose every call ends within `timeout` seconds of silence.
    """

    def __init__(
        self,
        connect: Callable[[float, int], Client],
        *,
        quick_threads: int = 8,
        slow_threads: int = 8,
        quick_timeout: float = 30,
        slow_timeout: float = 120,
    ) -> None:
        self.quick = Lane("quick", quick_threads, lambda: connect(quick_timeout, quick_threads))
        self.slow = Lane("slow", slow_threads, lambda: connect(slow_timeout, slow_threads))
        self.pulls: dict[str, Any] = {}

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int = 0) -> Future[Any]:
        """Call the client's `method` in its lane; one that no lane lists takes the slow one."""
        lane = self.quick if method in QUICK else self.slow
        return lane.submit(lambda client: getattr(client, method)(*args, **kwargs), rank)


class _BoundedClient(APIClient):
    """Gives the calls that the SDK leaves without a time-out, a pull among them, that of the client."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        return super().request(*args, **kwargs)


_engines: dict[str, Engine] = {}
_engines_lock = threading.Lock()


class EngineAccess(LoggingConfigurable):
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
        help="Threads for calls that take long: pull, stop, exec. Those of the first spawner count.",
    )

    quick_timeout = Float(30, config=True, help="Seconds after which a quick call is given up.")

    slow_timeout = Float(120, config=True, help="Seconds of silence after which a slow call is given up.")

    engine = AnyTrait(help="The Engine that every call goes to.")

    # How far the spawn is; of waiting calls, those of the furthest go first.
    _stage = 0

    def _engine_default(self) -> Engine:
        sizes = {
            name: getattr(self, name) for name in ("quick_threads", "slow_threads", "quick_timeout", "slow_timeout")
        }
        settings = dict(self.client_kwargs)
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

    @property
    def client(self) -> Client:
        """The slow lane's docker.APIClient. Made at first use, which blocks."""
        return self.engine.slow.client()

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Call a method of docker.APIClient in a thread; the Future returned is already running.

        Raises what the SDK raises.
        """
        return asyncio.wrap_future(self.engine.call(method, args, kwargs, self._stage))
