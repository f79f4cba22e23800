"""Whether a server answers yet, whether it is this user's JupyterHub server, or whether it has ended."""

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

from dockerspawner.cancelling import end

FIRST_PAUSE = 0.025
LONGEST_PAUSE = 0.25
GROWTH = 1.2
# A server that has accepted a connection may still be loading: longer than that one answer takes.
ANSWER_TIMEOUT = 5.0
# Seconds for which every answer has to be a wrong one. A proxy in front of a server may answer while the server loads.
WRONG_FOR = 10.0
# An answer's head beyond this many bytes is not read. Its body never is.
LONGEST_HEAD = 65536

# JupyterHub's single-user server, and what takes its place in a container, sends this header with every answer.
HEADER = "x-jupyterhub-version"


@dataclass(frozen=True)
class Answer:
    """The head of an HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Verdict(Enum):
    READY = auto()
    # No answer, or one that says that the server is not available yet.
    LOADING = auto()
    # An HTTP server that JupyterHub's users can't sign in to.
    NOT_JUPYTERHUB = auto()
    # JupyterHub's single-user server, but not this user's.
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
    """The time is over. `answer` is the last one, None where there was none."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        super().__init__("no answer" if answer is None else f"status {answer.status}")


def any_answer(answer: Answer | None) -> Verdict:
    """Whatever answers HTTP is ready, whatever its status."""
    return Verdict.LOADING if answer is None else Verdict.READY


def own_server(base_url: str, client_id: str = "") -> Judge:
    """Only JupyterHub's single-user server at `base_url` is ready; it was asked for `<base_url>api`.

    `client_id` is the server's at the hub: a redirect to the hub's sign-in has to be for it.
    """
    asked = f"{base_url}api"

    def leads_here(location: str) -> bool:
        try:
            target = urlsplit(urljoin(asked, location))
        except ValueError:
            # Of an address such as http://[
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
    """The answer to a GET, None where nothing answers HTTP. A connection alone, or a handshake, is no answer."""
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
        # Another answer follows an interim one.
        if status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
            return Answer(status, headers)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        # Longer than LONGEST_HEAD.
        return b""


def _status(line: bytes) -> int | None:
    """The status in the first line of an answer, None where it is not HTTP."""
    version, _, rest = line.partition(b" ")
    digits = rest.strip()[:3]
    return int(digits) if version.startswith(b"HTTP/") and len(digits) == 3 and digits.isdigit() else None


class Probe:
    """The tries of one start, and what the last of them has shown."""

    def __init__(self, host: str, port: int, path: str, tls: ssl.SSLContext | None, judge: Judge) -> None:
        self._target = (host, port, path, tls)
        self._judge = judge
        self.answer: Answer | None = None

    async def until_ready(self) -> None:
        """Return as soon as the server is ready: tried every 25 ms at first, then less and less often, to 250 ms.

        WrongServer where the answers of WRONG_FOR seconds are all a wrong server's.
        """
        pause, wrong_since = FIRST_PAUSE, 0.0
        while True:
            self.answer = await self._try()
            verdict = self._judge(self.answer)
            if verdict is Verdict.READY:
                return
            now = time.monotonic()
            wrong_since = (wrong_since or now) if verdict in WRONG else 0.0
            if wrong_since and now - wrong_since >= WRONG_FOR:
                self.fail_if_wrong()
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

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
    """Return once the server's answer is READY to `judge`.

    `watch_over` runs meanwhile; what it raises, because the server is dead, is raised here. After `timeout` seconds,
    WrongServer where the last answer was a wrong server's, else NotReady.
    """
    probe = Probe(host, port, path, tls, judge)
    if not await _within(timeout, watch_over(), probe.until_ready()):
        probe.fail_if_wrong()
        raise NotReady(probe.answer)


async def _within(timeout: float, *runners: Coroutine[Any, Any, None]) -> bool:
    """Whether one of the runners has returned in time; what one raises is raised. No runner goes on afterwards."""
    race = [asyncio.ensure_future(runner) for runner in runners]
    try:
        done, _ = await asyncio.wait(race, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for runner in race:
            if runner in done:
                runner.result()
        return bool(done)
    finally:
        await end(race)
