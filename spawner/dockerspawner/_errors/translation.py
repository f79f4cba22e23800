"""Translation of errors of the Docker SDK.

EngineError
  Gone                the object does not exist (404)
    NoSuchImage
    NoSuchNetwork
  Conflict            the engine's state prevents the call (409)
    NameTaken
    BeingRemoved
  Refused             the engine, its client or a proxy rejects the call (other 4xx, 501)
  Failed              the engine failed to execute a write call (5xx), or to mount what get_archive reads (500)
  Unavailable         unknown: no connection, a timeout, or 5xx for a read call
    NoLeader

Each is also an error of the SDK (docker.errors.APIError, NotFound, ImageNotFound), so that existing except clauses
catch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Iterator
from inspect import isawaitable
from typing import TypeVar

import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

T = TypeVar("T")

QUESTIONS = frozenset(
    {
        "containers",
        "events",
        "get_archive",
        "inspect_container",
        "inspect_image",
        "inspect_network",
        "inspect_node",
        "inspect_service",
        "inspect_task",
        "inspect_volume",
        "logs",
        "networks",
        "nodes",
        "port",
        "secrets",
        "service_logs",
        "services",
        "tasks",
        "volumes",
    }
)

# Raised only before anything is sent: missing socket, no listener, full queue, unknown host name.
_NOT_CONNECTED = (
    requests.exceptions.ConnectTimeout,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    FileNotFoundError,
    ConnectionRefusedError,
    BlockingIOError,
    socket.gaierror,
)
# asyncio's time-out is one of its own before Python 3.11.
_TIMED_OUT = (requests.exceptions.Timeout, TimeoutError, asyncio.TimeoutError)
_OF_A_SWARM = re.compile(r"service|task|node|secret")
_NO_LEADER = re.compile(r"leader|deadline ?exceeded|rpc error: code = (Unavailable|Aborted)", re.I)
# As in the SDK's requests to an engine, by socket or TCP.
_ENGINE_URL = re.compile(r"http\+docker://|https?://[^/]+/(v1\.\d+/|version$|_ping$)")
_LOST = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, *_TIMED_OUT)


class EngineError(APIError):
    """Something that Docker did not do; its text is the engine's own, or a sentence around it."""

    def __init__(self, message: str, response: requests.Response | None = None) -> None:
        super().__init__(message, response=response, explanation=message)

    def __str__(self) -> str:
        return str(self.explanation)


class Gone(EngineError, NotFound):
    pass


class NoSuchImage(Gone, ImageNotFound):
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

    def __init__(self, message: str, response: requests.Response | None = None, timed_out: bool = False) -> None:
        super().__init__(message, response)
        self.timed_out = timed_out


class NoLeader(Unavailable):
    """The swarm's managers are no majority, or are choosing another leader. An order may have been carried out."""


def meaning(method: str, error: Exception) -> Exception:
    """What an exception of the Docker SDK, raised by `method`, says; others are returned as they are."""
    if isinstance(error, EngineError) or hasattr(error, "jupyterhub_message"):
        # The latter already has a complete message.
        return error
    status = 404 if isinstance(error, NotFound) else getattr(error, "status_code", None)
    if isinstance(error, APIError) and status:
        message = str(error.explanation or error)
        if status >= 500 and _OF_A_SWARM.search(method) and _NO_LEADER.search(message):
            return NoLeader(message, error.response, timed_out=True)
        return _kind(method, status, message, error)(message, error.response)
    if isinstance(error, _LOST) or type(error) is DockerException or _is_of_ssh(error):
        timed_out = isinstance(error.__cause__ or error, _TIMED_OUT) and not never_sent(error)
        return Unavailable(str(error) or "no answer in time", timed_out=timed_out)
    if isinstance(error, DockerException):
        return Refused(str(error))
    return error


def _kind(method: str, status: int, message: str, error: APIError) -> type[EngineError]:
    # Where the engine is a manager of a swarm, it says that with 500: of a service's network, and of a container's.
    of_a_manager = method == "create_service" or "code = NotFound" in message
    if (status < 500 or of_a_manager) and re.search(r"\bnetwork \S+ not found", message):
        return NoSuchNetwork
    if status == 404:
        return NoSuchImage if isinstance(error, ImageNotFound) else Gone
    if status == 409:
        if "is already in use by container" in message or "name conflicts with an existing object" in message:
            return NameTaken
        return BeingRemoved if "removal of container" in message else Conflict
    # 501: the engine lacks the call, regardless of its state.
    if status < 500 or status == 501:
        return Refused
    # For get_archive, the engine mounts the container's binds and creates missing host folders.
    is_order = method not in QUESTIONS or (method == "get_archive" and status == 500)
    return Failed if is_order else Unavailable


def is_not_offered(error: EngineError) -> bool:
    """Is the call unavailable, because a proxy rejects it or the engine lacks it?"""
    return error.status_code in (401, 403, 404, 405, 501)


async def translating(method: str, awaiting: Awaitable[T]) -> T:
    """Await an engine call; raise errors of the SDK and the connection as EngineErrors."""
    try:
        return await awaiting
    except Exception as error:
        meant = meaning(method, error)
        if meant is error:
            raise
        raise meant from error


def _is_of_ssh(error: BaseException) -> bool:
    """Did SSH fail during the call? Its optional library has its own exceptions."""
    return isinstance(error, EOFError) or type(error).__module__.startswith("paramiko.")


def mark_at_door(error: Exception, connecting: bool = False) -> None:
    """Mark an exception as raised by an engine call; `connecting` means before the client existed."""
    with contextlib.suppress(AttributeError):
        error.came_through_door = True  # type: ignore[attr-defined]
        error.while_connecting = connecting  # type: ignore[attr-defined]


def never_sent(error: BaseException) -> bool:
    """Does the error prove that the engine did not receive the call, and can it be temporary, as during a restart?"""
    chain = list(_causes(error))
    if any(isinstance(one, requests.exceptions.SSLError | urllib3.exceptions.SSLError) for one in chain):
        return False
    if getattr(error, "while_connecting", False):
        return any(isinstance(one, OSError) for one in chain)
    # SSH raises this when a call opens its channel.
    return any(isinstance(one, _NOT_CONNECTED) or str(one) == "SSH session not active" for one in chain)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that the SDK and its libraries wrapped in it."""
    yield error
    # urllib3 and requests keep them in `args` or `reason`.
    wrapped = [error.__cause__, getattr(error, "reason", None), *error.args]
    for one in wrapped:
        if isinstance(one, BaseException):
            yield from _causes(one)


def came_through_door(error: Exception) -> bool:
    """Did an engine call of this package raise this?"""
    return isinstance(error, EngineError) or getattr(error, "came_through_door", False)


def came_from_engine(error: Exception) -> bool:
    """Did any engine call raise this, as far as can be determined?

    An operator's code may raise the same types.
    """
    if came_through_door(error):
        return True
    if isinstance(error, requests.exceptions.RequestException) and not isinstance(error, APIError):
        # From a client that a subclass created.
        return bool(_ENGINE_URL.match(str(getattr(error.request, "url", None) or "")))
    return isinstance(error, DockerException)


def meaning_outside(method: str, error: Exception) -> Exception:
    """Translate like `meaning`, but return an error of operator code unmodified."""
    return meaning(method, error) if came_from_engine(error) else error


async def understood(method: str, awaiting: Awaitable[T]) -> T:
    """Await code that may raise the SDK's exceptions, such as an overridden method; raise EngineErrors.

    An override may be a plain function. Exceptions of its own code are raised unmodified.
    """
    try:
        return await awaiting if isawaitable(awaiting) else awaiting
    except Exception as error:
        meant = meaning_outside(method, error)
        if meant is error:
            raise
        raise meant from error
