"""Checks whether a server answers, whether it is the user's JupyterHub server, and whether it has exited."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from dockerspawner._engine.retry import Retry
from dockerspawner._start.cancelling import end

FIRST_PAUSE = 0.025
LONGEST_PAUSE = 0.25
GROWTH = 1.2
# A server that has accepted a connection may still be loading: longer than that one answer takes.
ANSWER_TIMEOUT = 5.0
# The start fails if every answer of this many seconds is wrong. A proxy may answer while the server loads.
WRONG_FOR = 10.0
# Maximum bytes of an answer's head that are read. The body is never read.
LONGEST_HEAD = 65536

# JupyterHub's single-user server, and its replacements, send this header with every answer.
HEADER = "x-jupyterhub-version"


@dataclass(frozen=True)
class Answer:
    """The head of an HTTP answer, with header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Verdict(Enum):
    READY = auto()
    # No answer, or an answer that the server is not available yet.
    LOADING = auto()
    # An HTTP server that is not JupyterHub's single-user server.
    NOT_JUPYTERHUB = auto()
    # JupyterHub's single-user server of another user or server.
    OTHER_SERVER = auto()


WRONG = frozenset({Verdict.NOT_JUPYTERHUB, Verdict.OTHER_SERVER})

Judge = Callable[[Answer | None], Verdict]


class WrongServer(Exception):
    """For WRONG_FOR seconds, every answer came from a server that is not the user's own."""

    def __init__(self, verdict: Verdict, answer: Answer) -> None:
        self.verdict = verdict
        self.answer = answer
        super().__init__(f"{verdict.name} (status {answer.status})")


class NotReady(Exception):
    """The timeout expired. `answer` is the last answer, None without one."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        super().__init__("no answer" if answer is None else f"status {answer.status}")


def any_answer(answer: Answer | None) -> Verdict:
    """Treat every HTTP answer as ready, regardless of its status."""
    return Verdict.LOADING if answer is None else Verdict.READY


def own_server(base_url: str, client_id: str = "") -> Judge:
    """Treat only the answer of JupyterHub's single-user server to `<base_url>api` as ready.

    `client_id` is the server's OAuth client: a redirect to the hub's sign-in must contain it.
    """
    asked = f"{base_url}api"

    def leads_here(location: str) -> bool:
        try:
            target = urlsplit(urljoin(asked, location))
        except ValueError:
            # From a URL such as http://[
            return False
        if target.path.startswith(base_url):
            return target.path != asked
        return client_id in parse_qs(target.query).get("client_id", ())

    def judge(answer: Answer | None) -> Verdict:
        if answer is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Verdict.LOADING
        if not answer.headers.get(HEADER):
            return Verdict.NOT_JUPYTERHUB
        if 300 <= answer.status < 400:
            return Verdict.READY if leads_here(answer.headers.get("location", "")) else Verdict.OTHER_SERVER
        return Verdict.OTHER_SERVER if answer.status == HTTPStatus.NOT_FOUND else Verdict.READY

    return judge


async def ask(host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> Answer | None:
    """Send a GET; return None without an HTTP answer. A connection or a handshake alone is not an answer."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=LONGEST_HEAD)
        name = f"[{host}]" if ":" in host else host
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
        return await _head(reader)
    except OSError:
        return None
    finally:
        if writer is not None:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> Answer | None:
    left = LONGEST_HEAD
    while True:
        line = await _line(reader)
        left -= len(line)
        status = _status(line)
        if status is None:
            return None
        headers: dict[str, str] = {}
        while left > 0 and (line := await _line(reader)).strip():
            left -= len(line)
            name, _, value = line.decode("latin-1").partition(":")
            headers.setdefault(name.strip().lower(), value.strip())
        # The final answer follows an interim one.
        if status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
            return Answer(status, headers)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        # Longer than LONGEST_HEAD.
        return b""


def _status(line: bytes) -> int | None:
    """Parse the status in the first line of an answer, None if it is not HTTP."""
    version, _, rest = line.partition(b" ")
    digits = rest.strip()[:3]
    return int(digits) if version.startswith(b"HTTP/") and len(digits) == 3 and digits.isdigit() else None


class Probe:
    """The tries of one start, and the result of the last try."""

    def __init__(self, host: str, port: int, path: str, tls: ssl.SSLContext | None, judge: Judge) -> None:
        self._target = (host, port, path, tls)
        self._judge = judge
        self.answer: Answer | None = None

    async def until_ready(self) -> None:
        """Return as soon as the server is ready. The interval between tries grows from 25 ms to 250 ms.

        WrongServer if all answers of WRONG_FOR seconds come from a wrong server.
        """
        retry, wrong_since = Retry(FIRST_PAUSE, LONGEST_PAUSE, GROWTH), 0.0
        while True:
            self.answer = await self._try()
            verdict = self._judge(self.answer)
            if verdict is Verdict.READY:
                return
            now = time.monotonic()
            wrong_since = (wrong_since or now) if verdict in WRONG else 0.0
            if wrong_since and now - wrong_since >= WRONG_FOR:
                self.fail_if_wrong()
            await retry.pause()

    def fail_if_wrong(self) -> None:
        if self.answer is not None and (verdict := self._judge(self.answer)) in WRONG:
            raise WrongServer(verdict, self.answer)

    async def _try(self) -> Answer | None:
        try:
            return await asyncio.wait_for(ask(*self._target), ANSWER_TIMEOUT)
        except asyncio.TimeoutError:
            return None


async def ready(
    host: str,
    port: int,
    path: str,
    watch_over: Callable[[], Coroutine[Any, Any, None]],
    timeout: float,
    tls: ssl.SSLContext | None = None,
    judge: Judge = any_answer,
) -> None:
    """Return when `judge` rates the server's answer as READY.

    `watch_over` runs concurrently. It raises an exception if the server exits, which is raised here. After `timeout`
    seconds, raises WrongServer if the last answer came from a wrong server, else NotReady.
    """
    probe = Probe(host, port, path, tls, judge)
    if not await _within(timeout, watch_over(), probe.until_ready()):
        probe.fail_if_wrong()
        raise NotReady(probe.answer)


async def _within(timeout: float, *runners: Coroutine[Any, Any, None]) -> bool:
    """Wait until a runner returns; False on timeout. Raises a runner's exception, and ends all runners."""
    race = [asyncio.ensure_future(runner) for runner in runners]
    try:
        done, _ = await asyncio.wait(race, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for runner in race:
            if runner in done:
                runner.result()
        return bool(done)
    finally:
        await end(race)
