"""dockyard_activity.py: what counts as activity of a server, and what is reported to the hub."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.singleuser import module
from support.wait import wait_until

activity = module("dockyard_activity")

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def server(*states: str, terminals: tuple[Any, ...] = (), counted: datetime = LONG_AGO) -> Any:
    """A server with kernels in these states; `counted` is what Jupyter has counted."""
    kernels = {str(number): SimpleNamespace(execution_state=state) for number, state in enumerate(states)}
    settings = {"terminal_manager": SimpleNamespace(terminals=dict(enumerate(terminals)))} if terminals else {}
    return SimpleNamespace(
        web_app=SimpleNamespace(last_activity=lambda: counted, settings=settings),
        kernel_manager=SimpleNamespace(list_kernel_ids=lambda: list(kernels), get_kernel=kernels.__getitem__),
    )


def of(server: Any, busy: bool = False) -> Any:
    return activity.Activity(server, SimpleNamespace(are_busy=lambda: busy))


def is_active(server: Any) -> bool:
    found = of(server)
    found._processes_at = LONG_AGO
    return bool(found() > LONG_AGO + timedelta(days=1))


@pytest.mark.parametrize(
    ("states", "expected"),
    [((), False), (("idle",), False), (("starting",), False), (("dead",), False), (("idle", "busy"), True)],
)
def test_activity_only_a_busy_kernel_is_active_by_itself(states: tuple[str, ...], expected: bool) -> None:
    assert is_active(server(*states)) is expected


def test_activity_what_jupyter_has_counted_still_counts() -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert of(server("idle", counted=later))() == later


def test_activity_a_process_that_computes_counts_once_per_look() -> None:
    found = of(server("idle"), busy=True)
    found._processes_at = LONG_AGO
    assert found() == LONG_AGO
    found.look()
    assert found() > LONG_AGO + timedelta(days=1)


@contextmanager
def terminal(*command: str) -> Iterator[Any]:
    """A real terminal with a shell that runs `command`, as terminado makes it."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "-i"])
    try:
        for line in command:
            os.write(fd, line.encode() + b"\n")
        yield SimpleNamespace(ptyproc=SimpleNamespace(fd=fd, pid=pid), last_activity=LONG_AGO)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)


def test_activity_a_command_in_a_terminals_foreground_counts_and_a_prompt_does_not() -> None:
    with terminal() as shell:
        wait_until(lambda: not is_active(server(terminals=(shell,))), timeout=20, what="the shell has a prompt")
        os.write(shell.ptyproc.fd, b"sleep 300\n")
        wait_until(lambda: is_active(server(terminals=(shell,))), timeout=20, what="the command runs")
        # Control-C
        os.write(shell.ptyproc.fd, b"\x03")
        wait_until(lambda: not is_active(server(terminals=(shell,))), timeout=20, what="the command has ended")


def test_activity_output_of_a_terminal_counts() -> None:
    with terminal() as shell:
        wait_until(lambda: not is_active(server(terminals=(shell,))), timeout=20, what="the shell has a prompt")
        shell.last_activity = datetime.now(timezone.utc)
        assert is_active(server(terminals=(shell,)))


def test_activity_a_closed_terminal_is_not_active() -> None:
    closed = SimpleNamespace(ptyproc=SimpleNamespace(fd=-1, pid=1), last_activity=LONG_AGO)
    assert not is_active(server(terminals=(closed,)))


# Processor time


def stat(folder: Path, pid: int, name: str = "python3", start: int = 1, ticks: int = 0, waited: float = 0) -> None:
    for number in (pid, pid + 1):
        (folder / f"{pid}/task/{number}").mkdir(exist_ok=True, parents=True)
        (folder / f"{pid}/task/{number}/schedstat").write_text(f"5 {int(waited * 1e9)} 7\n")
    fields = ["S", *["0"] * 10, str(ticks), "0", "0", "0", *["0"] * 4, str(start), "0"]
    (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


@pytest.fixture
def processes(tmp_path: Path) -> Any:
    (tmp_path / "self").mkdir()
    for pid in (1, os.getpid(), 40):
        stat(tmp_path, pid)
    found = activity.Processes(0.05, tmp_path)
    # A minute later.
    found._looked_at -= 60
    return found


@pytest.mark.parametrize(
    ("changed", "busy"),
    [
        ({}, False),
        ({"pid": 40, "ticks": 100_000}, True),
        ({"pid": 40, "name": "a ) b (", "ticks": 100_000}, True),
        ({"pid": 41, "ticks": 100_000}, True),
        # The machine is busy, and the process gets little.
        ({"pid": 40, "ticks": 1, "waited": 500}, True),
        # It has not run.
        ({"pid": 40, "waited": 500}, False),
        # The server itself, which answers an open tab, and what reaps its processes.
        ({"pid": "own", "ticks": 100_000}, False),
        ({"pid": 1, "ticks": 100_000}, False),
    ],
    ids=str,
)
def test_processes_another_process_that_computes_is_busy(
    processes: Any, tmp_path: Path, changed: dict[str, Any], busy: bool
) -> None:
    if changed.get("pid") == "own":
        changed = changed | {"pid": os.getpid()}
    if changed:
        stat(tmp_path, **changed)
    assert processes.are_busy() is busy
    # What was used before the last look does not count again.
    assert not processes.are_busy()


def test_processes_a_number_that_is_used_again_is_another_process(processes: Any, tmp_path: Path) -> None:
    stat(tmp_path, 40, ticks=100_000)
    assert processes.are_busy()
    stat(tmp_path, 40, start=2, ticks=100_000)
    assert processes.are_busy()


def test_processes_real_ones() -> None:
    with subprocess.Popen(["sleep", "300"]) as idle:
        found = activity.Processes(0.2)
        assert (str(idle.pid), Path(f"/proc/{idle.pid}/stat").read_text().split()[21]) in dict(found._read())
        assert activity.waited(Path(f"/proc/{idle.pid}")) >= 0
        idle.kill()
    assert activity.waited(Path(f"/proc/{idle.pid}")) == 0


# Requests


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /user/ann/api/kernels?1", False),
        ("GET /user/ann/api/sessions?1", False),
        ("GET /user/ann/api/terminals", False),
        ("GET /user/ann/api/contents?content=1&hash=0", False),
        ("GET /user/ann/api/contents/a/b?content=1&type=directory", False),
        ("GET /user/ann/api/contents/a.ipynb?content=0&type=notebook", False),
        ("HEAD /user/ann/api/status", False),
        ("PUT /user/ann/lab/api/workspaces/default?1", False),
        ("OPTIONS /user/ann/api/kernels", False),
        ("GET /user/ann/api/contents/a.ipynb?type=notebook&content=1&hash=1", True),
        ("GET /user/ann/api/contents/a.csv?type=file", True),
        ("PUT /user/ann/api/contents/a.ipynb", True),
        ("POST /user/ann/api/kernels", True),
        ("PATCH /user/ann/api/contents/a.ipynb", True),
        ("DELETE /user/ann/api/terminals/1", True),
    ],
)
def test_requests_that_look_for_news_do_not_count(request_line: str, expected: bool) -> None:
    recorded = []

    class Handler:
        def update_api_activity(self) -> None:
            recorded.append(self)

    activity.ignore_polls(Handler)
    method, url = request_line.split()
    query = {name: [value.encode() for value in values] for name, values in parse_qs(urlsplit(url).query).items()}
    handler: Any = Handler()
    handler.request = SimpleNamespace(method=method, path=urlsplit(url).path, query_arguments=query)
    handler.update_api_activity()
    assert (recorded == [handler]) is expected


class Api:
    """Jupyter's class of API handlers."""


@pytest.mark.parametrize(
    ("parent", "status", "user", "expected"),
    [
        (object, 200, "ann", True),
        (object, 200, None, False),
        (object, 302, "ann", False),
        (object, 101, "ann", False),
        (Api, 200, "ann", False),
    ],
)
def test_requests_for_pages_and_files_count(parent: type, status: int, user: str | None, expected: bool) -> None:
    logged: list[Any] = []
    web_app = SimpleNamespace(settings={}, log_request=logged.append)
    activity.count_pages(web_app, Api)
    handler = type("Handler", (parent,), {"_jupyter_current_user": user, "get_status": lambda self: status})()
    web_app.log_request(handler)
    assert logged == [handler]
    assert list(web_app.settings) == (["page_last_activity"] if expected else [])


# Reports


class Hub:
    """JupyterHub's extension, as far as it reports."""

    hub_activity_url = "http://hub:8081/hub/api/users/ann/activity"
    hub_activity_interval = 300

    def __init__(self) -> None:
        self.sent = 0
        self.fails = False

    async def notify_activity(self) -> None:
        if self.fails:
            raise TimeoutError
        self.sent += 1


def reporting(hub: Any, environ: dict[str, str]) -> None:
    points = {"jupyterhub-singleuser": SimpleNamespace(app=hub)} if hub else {}
    extensions = SimpleNamespace(extension_points=points)
    app = SimpleNamespace(extension_manager=extensions, web_app=SimpleNamespace(last_activity=lambda: LONG_AGO))
    activity.report_to_the_hub(app, environ)


@pytest.mark.parametrize(("environ", "interval"), [({}, 45), ({"JUPYTERHUB_ACTIVITY_INTERVAL": "7"}, 300)])
def test_reports_are_marked_and_in_time(environ: dict[str, str], interval: int) -> None:
    hub = Hub()
    reporting(hub, environ)
    assert hub.hub_activity_url == "http://hub:8081/hub/api/users/ann/activity?counted=server"
    assert hub.hub_activity_interval == interval


def test_reports_a_server_without_a_hub_reports_nothing() -> None:
    reporting(None, {})
    hub = Hub()
    hub.hub_activity_url = ""
    reporting(hub, {})
    assert hub.hub_activity_url == ""


async def test_reports_the_same_activity_is_not_sent_again() -> None:
    hub, at = Hub(), LONG_AGO
    report = activity.Reports(hub.notify_activity, lambda: at)
    hub.fails = True
    with pytest.raises(TimeoutError):
        await report()
    hub.fails = False
    await report()
    await report()
    assert hub.sent == 1
    at = datetime.now(timezone.utc)
    await report()
    assert hub.sent == 2
    # A hub that was restarted hears of an idle server, too.
    report._sent_at -= activity.IDLE_INTERVAL + 1
    await report()
    assert hub.sent == 3
