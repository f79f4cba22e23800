"""The life of one user's server as a Docker container: start, poll, stop, progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from jupyterhub.utils import fmt_ip_url, maybe_future

from dockerspawner._compat import OldNames, old_name
from dockerspawner._core import Spawner
from dockerspawner._engine import metrics
from dockerspawner._engine.client import EngineAccess, impatient, perform
from dockerspawner._errors.failures import Died, explain, failure
from dockerspawner._errors.masking import excerpt, secrets_of, sentence
from dockerspawner._errors.translation import (
    EngineError,
    Gone,
    NoSuchImage,
    Refused,
    Unavailable,
    meaning_outside,
    understood,
)
from dockerspawner._images.images import Images
from dockerspawner._networks.host import HostNetwork
from dockerspawner._networks.isolation import Isolation
from dockerspawner._networks.link_local import LinkLocal
from dockerspawner._networks.networking import Networking
from dockerspawner._profiles.overrides import Overrides
from dockerspawner._profiles.profiles import Profiles
from dockerspawner._records.database import forget_tokens
from dockerspawner._records.instance import Instance
from dockerspawner._records.volume_history import VolumeHistory
from dockerspawner._settings.deprecations import Deprecations, takes
from dockerspawner._settings.limits import Limits
from dockerspawner._settings.naming import Naming
from dockerspawner._settings.operator_code import blame, operator_code
from dockerspawner._start.adoption import Leftovers
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.capabilities import lacks_capabilities
from dockerspawner._start.certificates import Certs
from dockerspawner._start.container import Container
from dockerspawner._start.frame import StartFrame
from dockerspawner._start.gpus import Gpus
from dockerspawner._start.post_start import PostStart
from dockerspawner._start.progress import Event, Story
from dockerspawner._start.ready_check import ReadyCheck
from dockerspawner._start.reporting import Reporting
from dockerspawner._start.sleep import Sleep
from dockerspawner._storage.deletion import Deletion
from dockerspawner._storage.folders import Folders
from dockerspawner._storage.home_check import HomeCheck
from dockerspawner._storage.preparation import NewVolumes
from dockerspawner._storage.volumes import Volumes

# Log entries to request: a traceback of a hundred lines is shown as one line.
LOG_ENTRIES = 150
SLOW_START = 10.0
CHECK_EVERY = 0.5


class DockerSpawner(
    OldNames,
    Deprecations,
    Deletion,
    Sleep,
    LinkLocal,
    Isolation,
    HostNetwork,
    Leftovers,
    HomeCheck,
    StartFrame,
    Reporting,
    ReadyCheck,
    PostStart,
    Certs,
    Folders,
    Container,
    Instance,
    Limits,
    Gpus,
    Profiles,
    Images,
    Overrides,
    Naming,
    Networking,
    NewVolumes,
    Volumes,
    EngineAccess,
    Spawner,
):
    """A user's server as a container.

    - start() returns when the user's own server answers; see ReadyCheck.
    - A start that fails or is cancelled leaves no container that it made.
    - A server that dies is reported to the hub at once.
    - If the engine does not answer, the server does not count as stopped: poll() returns None.
    - A third-party container is never changed.
    """

    _engine_silent = False
    # The container whose end is in the log already.
    _end_told = ""

    def __init__(self, **kwargs: Any) -> None:
        self._story = Story()
        self._attempt = StartAttempt()
        super().__init__(**kwargs)

    def _env_keep_default(self) -> list[str]:
        return []

    @property
    def will_resume(self) -> bool:
        """Does the next start find the container, with the API token that it has?"""
        return not self.remove

    @property
    def _rank(self) -> int:
        return self._attempt.stage

    # State

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.object_id = state.get("object_id") or state.get("container_id") or ""
        if state.get("object_name"):
            self.object_name = state["object_name"]
        self._known_name = self.object_name
        self._history = VolumeHistory.of(state)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"object_id": self.object_id, "object_name": self.object_name}
        return state | self._history.as_state()

    def clear_state(self) -> None:
        """Forget the last start, but not the container and the volumes that are kept for the next one."""
        super().clear_state()
        self._forget_former_name()
        if not self.object_id:
            self.object_name = self._object_name_default()
        self._image_at_hand = ""
        self._begin_story()

    # Start

    async def start(self) -> tuple[str, int]:
        """Start the server, or resume its container; return (address, port) when the server is ready.

        Raises SpawnException (HTTPError in JupyterHub 5) with an error message for the user.
        """
        attempt = self._attempt = StartAttempt.begin(self.start_timeout)
        self._begin_story()
        self.last_end = ""
        try:
            address = await self._start_in_time()
            self._known_name = self.object_name
            self._forget_fresh()
            await self._forget_volumes()
            if self.will_resume:
                # Those of containers that were replaced.
                forget_tokens(self, but=self.api_token)
            return address
        except (Exception, asyncio.CancelledError) as error:
            failed = await self._undo_failed_start(error)
            if failed is error:
                raise
            raise failed from error
        finally:
            attempt.end()
            self._profile_taken = False
            self._release_ports()
            self._story.end()

    def _check_settings(self) -> None:
        """Fail before anything is created or removed if a start can't succeed with these settings."""
        with operator_code("the setting name_template, or escape,", self.log):
            self._rendered_name()
        self._more_networks()

    async def _start(self, deadline: float) -> tuple[str, int]:
        await self._take_profile()
        self._check_settings()
        self._check_sleep()
        await self._have_image()
        await self._pin_limits()
        while True:
            await self._have_running()
            try:
                return await self._when_ready(deadline)
            except Died as died:
                if not await self._lost_port(died):
                    raise
            await understood("remove_container", self.remove_object())
            self.object_id, self._attempt.creating = "", None

    async def _have_running(self) -> None:
        try:
            await self._create_and_start()
        except NoSuchImage as gone:
            if self.pull_policy in ("never", "skip"):
                raise self._image_missing(self.image, gone) from None
            # Removed since it was looked for.
            await self._pull()
            await self._create_and_start()

    async def _when_ready(self, deadline: float) -> tuple[str, int]:
        started, self._attempt.stage = time.monotonic(), 3
        host, port = await maybe_future(self.get_ip_and_port())
        if self.post_start_cmd:
            self._report_progress(79, "Preparing the server with post_start_cmd")
            await self._run_post_start(deadline)
        self._report_progress(80, "Waiting for the server to answer")
        with metrics.phase("ready"):
            await self._until_ready(host, port, started, deadline)
        await self._allow_restarts()
        self.log.info("%s answers at %s port %s", self.object_name, host, port)
        return host, port

    async def _create_and_start(self) -> None:
        # Few at a time: else everybody waits for the last.
        slots = self.engine.admission()
        if slots.locked():
            self._report_progress(55, "Waiting for other servers to start")
        attempt, began = self._attempt, time.monotonic()
        attempt.is_queueing = True
        async with slots:
            attempt.is_queueing, attempt.clock.queued = False, time.monotonic() - began
            self._enter(1, 60, f"Creating the server's {self.object_type}")
            with metrics.phase("create"):
                await self._obtain()
            self._listen()
            self._enter(2, 70, "Starting the server")
            # One that runs already has no event to come.
            attempt.start_event_due = not attempt.runs
            with metrics.phase("start"):
                await understood("start", self.start_object())

    async def _watch_over(self) -> None:
        """Raise Died when the server has ended; tell once that it takes its time."""
        slow = time.monotonic() + SLOW_START
        ended = self._attempt.ended
        while True:
            # The watch says at once that it ended; where the engine tells of no events, it is asked.
            try:
                await asyncio.wait_for(ended.wait(), CHECK_EVERY)
            except asyncio.TimeoutError:
                if time.monotonic() > slow:
                    self._report_progress(85, "The server is running, but takes its time to answer")
                if self._watch.following:
                    continue
            ended.clear()
            try:
                self._fail_if_dead(await self._existing())
            except Unavailable:
                self.log.debug("State of %s is unknown: the Docker engine does not answer", self.object_name)

    # Failures

    async def _explain(self, error: Exception) -> Exception:
        """A failure of start(), with a sentence that its user can understand."""
        meant = meaning_outside("start", error)
        if isinstance(meant, Died):
            blamed = await self._in_time(self._not_writable(), "")
            said, details = sentence(meant, self._secrets()), await self._details()
            blamed += await self._in_time(self._blame_capabilities(details), "")
            return failure(f"The server {said}.{blamed}", reason=meant.reason, details=details)
        if isinstance(meant, EngineError):
            self.log.error("%s can't be started: %s", self.object_name, sentence(meant, self._secrets()))
            return explain(meant, self._secrets())  # type: ignore[no-any-return]
        # Other exceptions may have a message for the user.
        if isinstance(error, OSError | asyncio.TimeoutError):
            return blame(f"code of {type(self).__name__}", error, self.log)
        return error

    async def _blame_capabilities(self, log: str) -> str:
        """Return a sentence if the server runs as root, and its log shows that it lacks root's capabilities."""
        container = await self._inspect(self.container_id)
        if container is None or not lacks_capabilities(container, log):
            return ""
        self.log.error(
            "%s runs as root (user in extra_create_kwargs, or of image %s), and its settings drop all capabilities "
            "(cap_drop in extra_host_config). Its start script can't change accounts, owners or its user. Remove the "
            "user root, NB_UID and NB_GID: images of Jupyter's docker-stacks then start as their own user, uid 1000.",
            self.object_name,
            self.image,
        )
        return (
            " It runs as root without root's capabilities (cap_drop), so its start script can't change accounts or "
            "owners of files. Ask an administrator to start the image as its own user."
        )

    async def _last_words(self) -> str:
        """Return the end of the container's log, limited and without secrets; empty if there is no log."""
        try:
            log: bytes = await perform(self.docker, "logs", self.object_id, tail=LOG_ENTRIES)
        except EngineError as error:
            return f"(its log can't be read: {sentence(error)})"
        return await self._end_of_log(log)

    async def _end_of_log(self, log: bytes) -> str:
        """Return the end of a log for users, with tracebacks shortened; write the unshortened end to the hub's log."""
        shown = await self._excerpt(log, tail=LOG_ENTRIES, condense=True)
        whole = await self._excerpt(log, tail=LOG_ENTRIES)
        if whole != shown:
            self.log.info("The log of %s ends with:\n%s", self.object_name, whole)
        return shown

    async def _excerpt(self, text: bytes, **limits: Any) -> str:
        """Return the end of a process's output, for users and logs."""
        # In a thread: the process may print the most expensive text.
        return await asyncio.to_thread(excerpt, text, self._secrets(), **limits)

    def _secrets(self) -> set[str]:
        """Return the values that no message or log may contain."""
        return secrets_of({**self._attempt.environment, "JUPYTERHUB_API_TOKEN": self.api_token})

    # Progress

    def _begin_story(self) -> None:
        if self._story.ended:
            self._story = Story()

    def _enter(self, stage: int, progress: int, message: str) -> None:
        self._attempt.stage = stage
        self._report_progress(progress, message)

    def _report_progress(self, progress: int, message: str, series: str = "") -> None:
        self._attempt.step = message
        self._story.tell(progress, message, series)

    async def progress(self) -> AsyncIterator[Event]:
        """What is happening, from the image to the first answer; that of a failure ends with its reason."""
        async for event in self._story.follow():
            yield event

    # Poll and stop

    async def poll(self) -> int | None:
        """None while it runs, is starting, or nobody can tell; else its exit code, 0 where it is gone."""
        if self._attempt.is_running:
            return None
        if not self.object_id or self._paused_at or self._is_undoing:
            return 0
        await self._recall_profile()
        self._listen()
        try:
            if await self._known_to_run():
                return None
            with impatient():
                container = await understood("inspect_container", self.get_object())
        except Unavailable as error:
            if not self._engine_silent:
                self.log.warning("The Docker engine can't say whether %s runs: %s", self.object_name, error)
            self._engine_silent = True
            return None
        self._engine_silent = False
        if container is not None and container["State"]["Running"]:
            return None
        end = Died(0) if container is None else self._death(container)
        if self._end_told != self.object_id:
            self._end_told, self.last_end = (
                self.object_id,
                "is gone" if container is None else sentence(end, self._secrets()),
            )
            self.log.warning("The server in %s %s", self.object_name, self.last_end)
        return end.exit_code

    async def _known_to_run(self) -> bool:
        """Does the watch say that it runs? Whatever else it says is asked."""
        if self._overrides("get_object"):
            return False
        try:
            word = await self._watch.word(self.object_id)
        except (Gone, Refused):
            # A proxy may reject lists, but allow the inspection of one container.
            return False
        if word is not None and word.running:
            self._engine_silent = False
            return True
        return False

    async def _still_runs(self) -> bool:
        """Does the container run? Inspects it unless the watch knows it as running: the start event may be late."""
        if await self._known_to_run():
            return True
        container = await understood("inspect_container", self.get_object())
        return container is not None and bool(container["State"]["Running"])

    async def get_url(self) -> str:
        """Where the server is now; what the hub has on record where that can't be asked."""
        if self._engine_silent:
            return str(self.server.url)
        try:
            with impatient():
                await self._reach()
                host, port = await understood("inspect_container", self.get_ip_and_port())
        except (EngineError, Died) as error:
            self.log.warning("The address of %s can't be determined: %s", self.object_name, error)
            return str(self.server.url)
        except Exception:
            # Raised by a subclass. The hub calls this for all servers when it starts.
            self.log.exception("The address of %s can't be determined", self.object_name)
            return str(self.server.url)
        return f"{self.scheme}://{fmt_ip_url(host)}:{port}{self.server.base_url}"

    async def stop(self, now: bool = False) -> None:
        """Stop the server, remove its container if `remove`; return when its name is free.

        With stop_action "pause" it is frozen instead, unless `now`.
        """
        if not self.object_id:
            return
        self.log.info("Stopping %s", self.object_name)
        self._watch.ignore(self.object_id)
        try:
            if not now and await self._fall_asleep():
                return
            await understood("stop", self.stop_object(**(takes(self.stop_object, timeout=0) if now else {})))
            self._watch.stopped(self.object_id)
            await self._remove_if_wanted()
        except BaseException:
            self._listen()
            raise

    async def run_post_stop_hook(self) -> None:
        """Remove the container of a server that ended by itself, and its API token; then run the post_stop_hook."""
        if not self.will_resume:
            forget_tokens(self)
        if self._is_undoing:
            # The cleanup of a failed start removes the container.
            await maybe_future(super().run_post_stop_hook())
            return
        try:
            # It runs on where it could not be stopped.
            if self.remove or not await self._still_runs():
                await self._remove_if_wanted()
        except EngineError as error:
            self.log.warning("Container %s can't be removed now: %s", self.object_name, error)
            self._sweeping = asyncio.ensure_future(self._remove_later(self.object_id)) if self.remove else None
        await maybe_future(super().run_post_stop_hook())

    async def _remove_if_wanted(self) -> None:
        if self.object_id and self.remove:
            await understood("remove_container", self.remove_object())
            self.object_id = ""
        self._give_gpus_back()
        await self._leave_network()


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
