"""A server extension that decides what counts as activity of the server, and reports it to the hub.

Jupyter counts each request of an open JupyterLab tab, which polls several times a minute. It counts a kernel only when
the kernel sends something. So an idle tab would keep a server running, and a silent computation would not.

With this extension, a server is active

- while a kernel executes code, or a terminal has a command in its foreground;
- while a process other than the server uses the processor: a thread of an idle kernel, a job in the background;
- when a kernel or a terminal sends something, or its user sends something to it;
- when its user opens a page, or saves, opens, moves, deletes or downloads something. Polling requests of a tab do
  not count.

Other extensions count as before, if they set `api_last_activity` or another setting that ends with `_last_activity`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Seconds between two looks at the processor time.
PERIOD = 5.0
# Share of the cores that the server may use, at most of one core. An idle kernel uses less than a hundredth of a core.
SHARE = 0.05
# Share of the time in which a process runs or waits for a processor. On a busy machine, one that computes may get less
# than SHARE; an idle kernel waited for 4 % of the time where thirty processes wanted two cores.
WANTED = 0.25
# Seconds between two reports if the hub sets no interval. The smallest CULL_IDLE_AFTER depends on it (hub.culling).
INTERVAL = 45
# Seconds between two reports of a server that is idle.
IDLE_INTERVAL = 270
# Shows the hub that the server counts its activity itself.
MARK = "?counted=server"


def now() -> datetime:
    return datetime.now(timezone.utc)


def counts(method: str, path: str, query: Mapping[str, list[bytes]]) -> bool:
    """Whether a request to Jupyter's API shows that a user is active: it opens a file, or does more than read.

    A request for a workspace does not count: JupyterLab saves the layout of its page every ten seconds.
    """
    if "/lab/api/workspaces" in path:
        return False
    if method not in {"GET", "HEAD", "OPTIONS"}:
        return True
    wanted = query.get("type", [b""])[-1] in {b"file", b"notebook"} and query.get("content", [b"1"])[-1] != b"0"
    return "/api/contents/" in path and wanted


def ignore_polls(handler: Any) -> None:
    """Replace the method of Jupyter's API handlers that records activity."""
    record = handler.update_api_activity

    def update_api_activity(self: Any) -> None:
        request = self.request
        if counts(request.method, request.path, request.query_arguments):
            record(self)

    handler.update_api_activity = update_api_activity


def count_pages(web_app: Any, api_handler: type[Any]) -> None:
    """Count pages and files that are sent to the user: Jupyter counts requests to its API only."""
    log_request = web_app.log_request

    def count_and_log(handler: Any) -> None:
        signed_in = getattr(handler, "_jupyter_current_user", None)
        if signed_in and handler.get_status() == 200 and not isinstance(handler, api_handler):
            web_app.settings["page_last_activity"] = now()
        log_request(handler)

    web_app.log_request = count_and_log


class Processes:
    """Processor time of the container's processes and their ended children, without the server and process 1."""

    def __init__(self, share: float, folder: Path = Path("/proc")) -> None:
        self._share = share
        self._folder = folder
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._seen = dict(self._read())
        self._looked_at = time.monotonic()

    def are_busy(self) -> bool:
        """Whether a process has used more than its share since the last call, or has waited for it."""
        seen, at = dict(self._read()), time.monotonic()
        passed = at - self._looked_at
        busy = False
        for process, (used, waited) in seen.items():
            used_before, waited_before = self._seen.get(process, (0.0, 0.0))
            used, waited = used - used_before, waited - waited_before
            busy = busy or used > self._share * passed or (used > 0 and used + waited > WANTED * passed)
        self._seen, self._looked_at = seen, at
        return busy

    def _read(self) -> Iterator[tuple[tuple[str, str], tuple[float, float]]]:
        """Yield the seconds that each process has used and waited, by number and start time: numbers are reused."""
        skipped = {"1", str(os.getpid())}
        for entry in self._folder.iterdir():
            if not entry.name.isdecimal() or entry.name in skipped:
                continue
            try:
                # A program's name may contain spaces and parentheses.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            yield (entry.name, fields[19]), (sum(map(int, fields[11:15])) / self._ticks, waited(entry))


def waited(process: Path) -> float:
    """Return the seconds that a process's threads have waited for a processor; 0 if Linux does not count that."""
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for thread in (process / "task").iterdir():
            with contextlib.suppress(OSError):
                nanoseconds += int((thread / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def runs_a_command(terminal: Any) -> bool:
    """Whether a terminal's foreground process is not its shell."""
    try:
        return bool(os.tcgetpgrp(terminal.ptyproc.fd) != terminal.ptyproc.pid)
    except OSError:
        # The shell has ended.
        return False


class Activity:
    """Replaces the `last_activity` method of Jupyter's web application."""

    def __init__(self, app: Any, processes: Processes) -> None:
        self._app = app
        self._counted = app.web_app.last_activity
        self._processes = processes
        self._processes_at = now()

    def look(self) -> None:
        """Check the processor time. The caller does that every PERIOD seconds."""
        if self._processes.are_busy():
            self._processes_at = now()

    def __call__(self) -> datetime:
        if self._kernels_are_busy() or any(map(runs_a_command, self._terminals())):
            return now()
        sent = [terminal.last_activity for terminal in self._terminals() if hasattr(terminal, "last_activity")]
        return max(self._counted(), self._processes_at, *sent)

    def _kernels_are_busy(self) -> bool:
        kernels = self._app.kernel_manager
        states = [getattr(kernels.get_kernel(name), "execution_state", "") for name in kernels.list_kernel_ids()]
        return "busy" in states

    def _terminals(self) -> list[Any]:
        manager = self._app.web_app.settings.get("terminal_manager")
        return list(manager.terminals.values()) if manager else []


class Reports:
    """Replaces the `notify_activity` method of JupyterHub's extension, which repeats identical reports."""

    def __init__(self, send: Callable[[], Awaitable[None]], activity: Callable[[], datetime]) -> None:
        self._send = send
        self._activity = activity
        self._sent: datetime | None = None
        self._sent_at = 0.0

    async def __call__(self) -> None:
        activity, at = self._activity(), time.monotonic()
        if activity != self._sent or at - self._sent_at > IDLE_INTERVAL:
            # Raises an exception if the hub has not received the report.
            await self._send()
            self._sent, self._sent_at = activity, at


def report_to_the_hub(app: Any, environ: Mapping[str, str]) -> None:
    """Have JupyterHub's extension mark its reports, and send them at INTERVAL unless the hub sets another interval."""
    point = app.extension_manager.extension_points.get("jupyterhub-singleuser")
    hub = point.app if point else None
    if hub is None or not hub.hub_activity_url:
        return
    hub.hub_activity_url += MARK
    if not environ.get("JUPYTERHUB_ACTIVITY_INTERVAL"):
        hub.hub_activity_interval = INTERVAL
    hub.notify_activity = Reports(hub.notify_activity, app.web_app.last_activity)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    from jupyter_server.base.handlers import APIHandler
    from tornado.ioloop import PeriodicCallback

    ignore_polls(APIHandler)
    count_pages(app.web_app, APIHandler)
    share = SHARE * min(1.0, float(os.environ.get("CPU_LIMIT") or 1))
    activity = Activity(app, Processes(share))
    app.web_app.last_activity = activity
    PeriodicCallback(activity.look, PERIOD * 1000).start()
    report_to_the_hub(app, os.environ)
