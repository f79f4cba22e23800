"""The life of one user's server as a Docker container: start, poll, stop, progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from docker.types import Mount
from jupyterhub.utils import fmt_ip_url, maybe_future

from dockerspawner._compat import OldNames, old_name
from dockerspawner._core import Spawner
from dockerspawner._engine import metrics
from dockerspawner._engine.client import EngineAccess, impatient, perform
from dockerspawner._engine.watch import Watch, watch_of
from dockerspawner._errors.failures import Died, failure
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import (
    EngineError,
    Gone,
    NameTaken,
    NoSuchImage,
    Refused,
    Unavailable,
    understood,
)
from dockerspawner._images.images import Images
from dockerspawner._networks.host import HostNetwork
from dockerspawner._networks.isolation import Isolation
from dockerspawner._networks.link_local import NETWORK as LINK_LOCAL
from dockerspawner._networks.link_local import LinkLocal
from dockerspawner._networks.networking import Networking
from dockerspawner._profiles.overrides import Overrides
from dockerspawner._profiles.profiles import Profiles
from dockerspawner._records import ownership
from dockerspawner._records.database import forget_tokens, replace_state
from dockerspawner._records.instance import Instance
from dockerspawner._records.ownership import Owner
from dockerspawner._settings.deprecations import Deprecations, is_replaced, takes
from dockerspawner._settings.limits import Limits
from dockerspawner._settings.naming import Naming
from dockerspawner._settings.operator_code import operator_code
from dockerspawner._start.adoption import Adoption
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.calls import Calls, ContainerCalls
from dockerspawner._start.cancelling import end
from dockerspawner._start.certificates import Certs
from dockerspawner._start.cleanup import Cleanup
from dockerspawner._start.container import Container
from dockerspawner._start.failures import Failures
from dockerspawner._start.gpus import Gpus, GpuSettings
from dockerspawner._start.home_files import HomeFiles
from dockerspawner._start.post_start import PostStart, PostStartSettings
from dockerspawner._start.progress import Event, Story
from dockerspawner._start.ready_check import ReadyCheck, ReadySettings
from dockerspawner._start.reporting import Reporting
from dockerspawner._start.sleep import Sleep, SleepSettings
from dockerspawner._storage.deletion import Deletion
from dockerspawner._storage.folders import Folders
from dockerspawner._storage.home_check import HomeCheck
from dockerspawner._storage.preparation import NewVolumes
from dockerspawner._storage.volumes import Volumes

# Seconds that a cancelled start waits for its cleanup.
UNDO_CANCELLED = 10.0
# Number of times that a start creates its container, if another container takes the name meanwhile.
NAME_RETRIES = 5
SLOW_START = 10.0
CHECK_EVERY = 0.5


class DockerSpawner(
    OldNames,
    Deprecations,
    Deletion,
    SleepSettings,
    LinkLocal,
    Isolation,
    HostNetwork,
    HomeCheck,
    ReadySettings,
    PostStartSettings,
    Folders,
    Container,
    Instance,
    Limits,
    GpuSettings,
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

    # What is different on a swarm.
    _calls_type: Callable[[Any], Calls] = ContainerCalls
    _failures_type = Failures
    _certs_type = Certs
    _home_files_type = HomeFiles
    # Maximum seconds that a failed start waits for its cleanup.
    _undo_within = 10.0

    _engine_silent = False
    # The container whose end is in the log already.
    _end_told = ""

    # How the last server has ended by itself, such as "ran out of memory"; empty since there is another, or where it
    # was stopped. For pages of a hub.
    last_end = ""

    def __init__(self, **kwargs: Any) -> None:
        self._story = Story()
        self._attempt = StartAttempt()
        super().__init__(**kwargs)
        self._build()

    def _build(self) -> None:
        """Construct what the spawner is made of, each part with those that it needs."""
        self._calls = self._calls_type(self)
        self._failures = self._failures_type(self, self._calls)
        self._reporting = Reporting(self)
        self._certs = self._certs_type(self)
        self._gpus = Gpus(self, lambda: bool(self._sleep.paused_at))
        self._sleep = Sleep(self, self._gpus)
        self._home_files = self._home_files_type(self)
        self._cleanup = Cleanup(self, self._calls, self._certs, self._gpus, self._sleep, self._undo_within)
        self._adoption = Adoption(self, self._calls, self._home_files, self._sleep, self._cleanup, self._resume)
        self._ready = ReadyCheck(self, self._certs, self._failures)
        self._post_start = PostStart(self, self._calls, self._reporting, self._failures)

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
            self._rename(state["object_name"])
        self._adoption.known_name = self.object_name
        self._load_history(state)
        self.last_end = state.get("last_end") or ""
        for part in (self._gpus, self._sleep):
            part.load(state)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"object_id": self.object_id, "object_name": self.object_name}
        if self.last_end:
            state["last_end"] = self.last_end
        state |= self._history.as_state() | self._gpus.kept() | self._sleep.kept()
        return state

    def clear_state(self) -> None:
        """Forget the last start, but not the container and the volumes that are kept for the next one."""
        super().clear_state()
        self._forget_former_name()
        if not self.object_id:
            self._rename()
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
            address = await self._start_in_time(attempt)
            self._adoption.known_name = self.object_name
            self._sleep.forget_fresh()
            await self._forget_volumes()
            if self.will_resume:
                # Those of containers that were replaced.
                forget_tokens(self, but=self.api_token)
            return address
        except (Exception, asyncio.CancelledError) as error:
            failed = await self._undo_failed_start(attempt, error)
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

    async def _start(self, attempt: StartAttempt) -> tuple[str, int]:
        await self._take_profile()
        self._check_settings()
        self._sleep.check()
        await self._have_image()
        await self._pin_limits()
        while True:
            await self._have_running()
            try:
                return await self._when_ready(attempt)
            except Died as died:
                if not await self._lost_port(died):
                    raise
            await understood("remove_container", self.remove_object())
            self.object_id, attempt.creating = "", None

    async def _have_running(self) -> None:
        try:
            await self._create_and_start()
        except NoSuchImage as gone:
            if self.pull_policy in ("never", "skip"):
                raise self._image_missing(self.image, gone) from None
            # Removed since it was looked for.
            await self._pull()
            await self._create_and_start()

    async def _when_ready(self, attempt: StartAttempt) -> tuple[str, int]:
        started, attempt.stage, deadline = time.monotonic(), 3, attempt.clock.ready_end
        host, port = await maybe_future(self.get_ip_and_port())
        if self.post_start_cmd:
            self._report_progress(79, "Preparing the server with post_start_cmd")
            await self._post_start.run(deadline)
        self._report_progress(80, "Waiting for the server to answer")
        with metrics.phase("ready"):
            await self._ready.wait(host, port, started, deadline, self._monitor_startup)
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
                await self._ensure_container(attempt)
            self._listen()
            self._enter(2, 70, "Starting the server")
            # One that runs already has no event to come.
            attempt.start_event_due = not attempt.runs
            with metrics.phase("start"):
                await understood("start", self.start_object())

    async def _ensure_container(self, attempt: StartAttempt) -> None:
        """Adopt a container of this server that still fits, or create one.

        There is no lookup before: if a container has the name, the engine rejects the creation.
        """
        async with self._sleep.lock():
            await self._check_isolation()
            self._forget_former_name()
            if await self._adoption.remove_duplicates(attempt):
                return
            if is_replaced(self, "get_object"):
                existing = await understood("inspect_container", self.get_object())
                if existing:
                    await self._adoption.know_spec()
                    if await self._adoption.adopt_or_remove(attempt, existing):
                        return
            for _ in range(NAME_RETRIES):
                try:
                    await self._create(attempt)
                    return
                except NameTaken:
                    existing = await self._calls.inspect(self.object_name)
                    if existing and await self._adoption.adopt_or_remove(attempt, existing):
                        return
        raise failure(f"The {self.object_type} name {self.object_name} is taken again and again.", reason="conflict")

    async def _create(self, attempt: StartAttempt) -> None:
        """Create the container, its network, volumes and certificates."""
        if not self._is_isolated:
            await self._create_container(attempt)
            await self._drop_network()
            return
        await self._have_networks(self.object_name)
        # Meanwhile, the hub joins the server's own network.
        for outcome in await asyncio.gather(self._create_container(attempt), self._reach(), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _create_container(self, attempt: StartAttempt) -> None:
        attempt.creating = asyncio.ensure_future(understood("create_container", self.create_object()))
        created = await asyncio.shield(attempt.creating)
        self.object_id = created[self.object_id_key]
        self._record_owner(self._owner)
        self._sleep.unpaused(attempt.known_id)
        await self._check_home_is_kept(self.container_id)
        await self._prepare_storage()
        await self._certs.place()
        await self._connect_networks(self.container_id)

    async def _prepare_storage(self) -> None:
        """Have what the new container mounts: subpaths, owners of new volumes, owners of new folders of the host."""
        # First: while a subpath is missing, no file of the container can be read.
        await self._make_subpaths()
        await self._prepare_volumes()
        await self._give_named_folders()

    async def _resume(self, attempt: StartAttempt, container: dict[str, Any]) -> None:
        """Adopt a kept container: lease its devices, use its network, port, environment and token, unpause it."""
        fresh = self._sleep.force_recreate
        await self._use_network_of(container)
        self._gpus.check_devices(container)
        self.object_id, attempt.resumed = container[self.object_id_key], True
        labels = container["Config"].get("Labels") or {}
        if ownership.INSTANCE in labels:
            self._record_owner(Owner.of(labels))
        self._record_owner(self._owner)
        attempt.environment = ownership.environment_of(container)
        self._use_port_of(container)
        if token := ownership.token_of(container):
            self.api_token = token
        self._sleep.unpaused(self.container_id)
        attempt.runs = container["State"]["Running"] and not fresh
        if fresh:
            await understood("stop", self.stop_object())
        elif container["State"].get("Paused"):
            await self._suspend_restarts(container, runs=True)
            await perform(self.docker, "unpause", self.object_id)
            return
        await self._suspend_restarts(container, attempt.runs)
        await self._certs.place()

    async def _monitor_startup(self) -> None:
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
                self._reporting.fail_if_dead(await self._calls.existing())
            except Unavailable:
                self.log.debug("State of %s is unknown: the Docker engine does not answer", self.object_name)

    async def post_start_exec(self) -> None:
        """Run post_start_cmd in the container; log stdout as debug and stderr as warning."""
        await self._post_start.execute()

    async def _start_in_time(self, attempt: StartAttempt) -> tuple[str, int]:
        """Run _start(), and fail before the hub's own timeout, whose message has no reason."""
        starting = asyncio.ensure_future(self._start_after_undoing(attempt))
        try:
            await asyncio.wait({starting}, timeout=attempt.clock.queue_end - time.monotonic())
            if not starting.done() and not attempt.is_queueing:
                await asyncio.wait({starting}, timeout=attempt.clock.end - time.monotonic())
            if starting.done():
                return starting.result()
            raise self._failures.out_of_time(attempt)
        finally:
            await end([starting])

    async def _start_after_undoing(self, attempt: StartAttempt) -> tuple[str, int]:
        if self._cleanup.is_running:
            self._report_progress(0, "Cleaning up after the previous start")
            await self._cleanup.wait()
        # The cleanup of the previous start may remove its container, and needs the data of its volumes.
        attempt.known_id = self.object_id or ""
        self._begin_volumes()
        return await self._start(attempt)

    async def _undo_failed_start(self, attempt: StartAttempt, error: BaseException) -> BaseException:
        """Clean up after a failed or cancelled start (if slow, in the background); return the exception to raise."""
        failed = error
        try:
            if isinstance(error, Exception):
                # Before the removal of the container, which deletes its log.
                failed = await self._failures.explained(error)
            elif attempt.clock.over <= time.monotonic():
                # On a busy machine, the hub's timeout can come first.
                failed = self._failures.out_of_time(attempt)
            else:
                self.log.warning("The start of %s was cancelled", self.object_name)
        finally:
            metrics.failed(failed)
            attempt.is_queueing = False
            seconds = attempt.clock.undoing() if isinstance(error, Exception) else UNDO_CANCELLED
            await self._cleanup.undo(attempt, seconds)
        self._story.end(getattr(failed, "jupyterhub_message", ""))
        return failed

    # Parts

    @property
    def scheme(self) -> str:
        return "https" if self.internal_ssl else "http"

    async def create_certs(self) -> dict[str, str]:
        paths: dict[str, str] = await maybe_future(super().create_certs())
        self._certs.note_created(paths)
        return paths

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Where key, certificate and authorities will be in the container; start() puts them there."""
        return self._certs.move(paths)

    @property
    def mount_binds(self) -> list[Mount]:
        return [*super().mount_binds, *self._certs.mounts()]

    @property
    def _wanted_network(self) -> str:
        """The network of a container that is created now."""
        return self.object_name if self._is_isolated else str(self.network_name)

    def _side_networks(self) -> list[str]:
        """What the container is on from the beginning besides that one."""
        return [*self._egress_networks(), *([LINK_LOCAL] if self.block_link_local else [])]

    async def _recreate_networks(self) -> bool:
        """Re-create networks of the container that were removed; False if none of them belongs to this hub."""
        recreated = await self._recreate_own_network()
        if self.block_link_local:
            await self._make_dead_end()
        return recreated or self.block_link_local

    @property
    def _watch(self) -> Watch:
        return watch_of(self.engine, self.instance, self.log)

    def _listen(self) -> None:
        """Hear of the container in use, of the hub's own container, and of paused servers that expire."""
        self._reporting.listen()
        self._observe_attachments()
        self._sleep.keep_limits()

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
        if not self.object_id or self._sleep.paused_at or self._cleanup.is_running:
            return 0
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
        end = Died(0) if container is None else self._reporting.death(container)
        if self._end_told != self.object_id:
            self._end_told, self.last_end = (
                self.object_id,
                "is gone" if container is None else sentence(end, self._failures.secrets()),
            )
            self.log.warning("The server in %s %s", self.object_name, self.last_end)
        return end.exit_code

    async def _known_to_run(self) -> bool:
        """Does the watch say that it runs? Whatever else it says is asked."""
        if is_replaced(self, "get_object"):
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
        await self._recall_profile()
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
        await self._recall_profile()
        self.log.info("Stopping %s", self.object_name)
        self._watch.ignore(self.object_id)
        try:
            if not now and await self._sleep.pause():
                return
            await understood("stop", self.stop_object(**(takes(self.stop_object, timeout=0) if now else {})))
            self._watch.stopped(self.object_id)
            await self._remove_if_wanted()
        except BaseException:
            self._listen()
            raise

    async def run_post_stop_hook(self) -> None:
        """Remove the container of a server that ended by itself, and its API token; then run the post_stop_hook."""
        await self._recall_profile()
        if not self.will_resume:
            forget_tokens(self)
        if self._cleanup.is_running:
            # The cleanup of a failed start removes the container.
            await maybe_future(super().run_post_stop_hook())
            return
        try:
            # It runs on where it could not be stopped.
            if self.remove or not await self._still_runs():
                await self._remove_if_wanted()
        except EngineError as error:
            self.log.warning("Container %s can't be removed now: %s", self.object_name, error)
            if self.remove:
                self._cleanup.remove_later(self.object_id or "")
        await maybe_future(super().run_post_stop_hook())

    async def _remove_if_wanted(self) -> None:
        if self.object_id and self.remove:
            await understood("remove_container", self.remove_object())
            self.object_id = ""
        self._gpus.give_back()
        await self._leave_network()

    def _home(self) -> str:
        """The path of the user's files in the container, as far as settings name it."""
        return self.format_string(self.notebook_dir) if self.notebook_dir else ""

    # A server that gets another name

    async def rename(self, old_name: str, new_name: str) -> None:
        """Remove the kept container, which is for the old name; volumes are found again under the names they have.

        Fails where the container holds its user's files: they would go with it.
        """
        container = await self._calls.inspect(self.object_id) if self.object_id else None
        if container is not None:
            if await self._home_files.are_in(container):
                raise failure(
                    f"Server {old_name} can't be renamed: its files are inside its container.",
                    reason="name",
                    status=409,
                )
            await self._calls.end_and_remove(container["Id"], container["State"]["Running"])
        self._sleep.unpaused(self.object_id)
        self._gpus.give_back()
        self.object_id = ""
        await self._leave_network()
        replace_state(self)


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
