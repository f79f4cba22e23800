"""The life of one user's server as a Docker container: start, poll, stop, progress."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import fmt_ip_url, maybe_future, url_path_join
from traitlets import Bool, Unicode, Union

from dockerspawner import ownership, readiness
from dockerspawner.container import Container
from dockerspawner.engine import (
    EngineAccess,
    EngineError,
    NameTaken,
    NoSuchImage,
    NoSuchNetwork,
    Unavailable,
    meaning,
    perform,
    understood,
)
from dockerspawner.failures import Died, failure, mask, secrets_of
from dockerspawner.images import Images
from dockerspawner.naming import Naming
from dockerspawner.network import Networking
from dockerspawner.progress import Event, Story
from dockerspawner.volumes import Volumes

LOG_LINES = 20
SLOW_START = 10.0


class DockerSpawner(Container, Images, Naming, Networking, Volumes, EngineAccess, Spawner):
    """A user's server as a container.

    - start() returns when the server answers HTTP.
    - A start that fails or is cancelled leaves no container that it made.
    - What the engine did not say is not taken for an end: poll() is None while nobody can be asked.
    - A container of somebody else is never touched.
    """

    post_start_cmd = Union(
        [Unicode(), Bool()],
        default_value=False,
        config=True,
        help="""Command to run in the container once it is started. Its output is logged: stdout as debug,
        stderr as warning.""",
    )

    # Of the start under way.
    _starting = False
    _creating: asyncio.Future[dict[str, Any]] | None = None
    _undoing: asyncio.Task[None] | None = None
    # The id that an earlier hub left in the state; the hub clears the state before it calls start().
    _known_id = ""
    _engine_silent = False

    def __init__(self, **kwargs: Any) -> None:
        self._story = Story()
        super().__init__(**kwargs)

    def _instance_default(self) -> str:
        hub_url = self.hub_connect_url or getattr(self.hub, "api_url", "")
        return f"{self.prefix}-{hashlib.sha256(hub_url.encode()).hexdigest()[:8]}"

    def _env_keep_default(self) -> list[str]:
        return []

    def _will_resume_default(self) -> bool:
        return not self.remove

    # State

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.object_id = self._known_id = state.get("object_id") or state.get("container_id") or ""
        if state.get("object_name"):
            self.object_name = state["object_name"]

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"object_id": self.object_id, "object_name": self.object_name}
        return state

    def clear_state(self) -> None:
        super().clear_state()
        self.object_id = ""
        self.object_name = self._object_name_default()
        self._image_at_hand = ""
        self._begin_story()

    # Start

    async def start(self) -> tuple[str, int]:
        """Start the server, or resume its container; returns (address, port) when HTTP is answered there.

        Fails with a sentence for the user: SpawnException where the hub has it, else HTTPError.
        """
        # What is to be said about a silent server must be said before the hub's own clock runs out.
        margin = min(5.0, max(1.0, 0.1 * self.start_timeout))
        deadline = time.monotonic() + self.start_timeout - margin
        self._begin_story()
        self._starting, self._creating = True, None
        try:
            if self._undoing:
                await asyncio.shield(self._undoing)
            return await self._start(deadline)
        except Exception as error:
            # Before the container goes, which takes its log along.
            explained = await self._explain(error)
            await self._undo_start()
            self._story.end(getattr(explained, "jupyterhub_message", ""))
            raise explained from (None if explained is error else error)
        except asyncio.CancelledError:
            self.log.warning("The start of %s was cancelled", self.object_name)
            await self._undo_start()
            raise
        finally:
            self._starting, self._stage, self._limits = False, 0, None
            self._story.end()

    async def _start(self, deadline: float) -> tuple[str, int]:
        self._limits = await self._evaluate_limits()
        await self._have_image()
        self._enter(1, 60, "Creating the server's container")
        await self._obtain()
        self._enter(2, 70, "Starting the server")
        await understood("start", self.start_object())
        self._enter(3, 80, "Waiting for the server to answer")
        host, port = await self.get_ip_and_port()
        if self.post_start_cmd:
            await self.post_start_exec()
        await self._until_ready(host, port, deadline)
        self.log.info("%s answers at %s port %s", self.object_name, host, port)
        return host, port

    async def _obtain(self) -> None:
        """Have a container: a new one, or the one that is there where it is ours and still fits.

        Not asked beforehand: where there is one, creating another fails, and says so.
        """
        pulled = False
        for _ in range(5):
            try:
                await self._create()
                return
            except NoSuchImage:
                if pulled or self.pull_policy in ("never", "skip"):
                    raise self._image_missing(self.image) from None
                # Removed since it was looked for.
                await self.pull_image(self.image)
                pulled = True
            except NameTaken:
                existing = await self._inspect(self.object_name)
                if existing and await self._take_over(existing):
                    return
        raise failure(f"The container name {self.object_name} is taken again and again.", reason="conflict")

    async def _create(self) -> None:
        self._creating = asyncio.ensure_future(understood("create_container", self.create_object()))
        created = await asyncio.shield(self._creating)
        self.object_id = created[self.object_id_key]

    async def _take_over(self, container: dict[str, Any]) -> bool:
        """True: `container` is ours and is resumed. False: it was ours and is removed."""
        if not self._owner.owns(container, self._known_id):
            raise failure(
                f"There is already a container named {self.object_name} that does not belong to this server. "
                "It has to be removed or renamed by whoever made it.",
                reason="conflict",
            )
        if not self.remove:
            stale = ownership.is_stale(container, self._spec, await self._image_id())
            holds_home = ownership.holds_home(container, self._home())
            if stale and holds_home:
                self.log.warning(
                    "%s is resumed as it is, although its settings have changed: "
                    "its user's files are in no volume, and would go with the container",
                    self.object_name,
                )
            if holds_home or not stale:
                self.object_id = container[self.object_id_key]
                self._environment = ownership.environment_of(container)
                if token := self._environment.get("JUPYTERHUB_API_TOKEN"):
                    self.api_token = token
                return True
        self.log.info("Replacing container %s", self.object_name)
        await self._remove(container["Id"], volumes=self.remove)
        return False

    def _home(self) -> str:
        return self.format_string(self.notebook_dir) if self.notebook_dir else ""

    async def post_start_exec(self) -> None:
        """Run post_start_cmd in the container; stdout goes to the log as debug, stderr as warning."""
        command = await perform(self.docker, "exec_create", self.object_id, self.post_start_cmd)
        streams = await perform(self.docker, "exec_start", command["Id"], demux=True)
        logs = {"stdout": self.log.debug, "stderr": self.log.warning}
        for (name, log), output in zip(logs.items(), streams, strict=True):
            if text := (output or b"").decode(errors="replace").rstrip():
                log("post_start_cmd %s in %s: %s", name, self.object_name, text)

    async def _until_ready(self, host: str, port: int, deadline: float) -> None:
        path = url_path_join(self.server.base_url if self.server else "/", "api")
        slow = time.monotonic() + SLOW_START

        async def check() -> None:
            if time.monotonic() > slow:
                self._report(85, "The server is running, but takes its time to answer")
            try:
                self._fail_if_dead(await perform(self.docker, "inspect_container", self.object_id))
            except Unavailable:
                self.log.debug("Nobody can tell how %s is", self.object_name)

        try:
            await readiness.ready(host, port, path, check, deadline - time.monotonic())
        except asyncio.TimeoutError:
            raise failure(
                f"The server is running, but nothing answers at http://{fmt_ip_url(host)}:{port}{path}. "
                f"If it does answer there, the hub can't reach network {self.network_name}.",
                reason="timeout",
                details=await self._last_words(),
            ) from None

    def _fail_if_dead(self, container: dict[str, Any]) -> None:
        if not container["State"]["Running"]:
            raise Died(container["State"])

    async def _undo_start(self) -> None:
        """Remove the container that this start made; one that was there before is stopped and kept.

        Goes on where its caller is cancelled meanwhile.
        """
        self._undoing = asyncio.ensure_future(self._undo())
        await asyncio.shield(self._undoing)

    async def _undo(self) -> None:
        made = await self._made()
        try:
            if made:
                await self._remove(made, volumes=True)
            elif self.object_id:
                await understood("stop", self.stop_object())
        except EngineError as error:
            self.log.error("What the failed start of %s has made stays behind: %s", self.object_name, error)
        self.object_id = ""

    async def _made(self) -> str:
        """The id of the container that this start has created, empty where it has not.

        A create that was sent can't be called back: its answer is waited for.
        """
        if self._creating is None:
            return ""
        done, _ = await asyncio.wait({self._creating}, timeout=self.quick_timeout)
        for created in done:
            if not created.cancelled() and not created.exception():
                return str(created.result()[self.object_id_key])
        return ""

    # Failures

    async def _explain(self, error: Exception) -> Exception:
        """A failure of start(), with a sentence that its user can understand."""
        meant = meaning("start", error)
        if isinstance(meant, Died):
            return failure(f"The server {meant}.", reason=meant.reason, details=await self._last_words())
        if isinstance(meant, Unavailable):
            self.log.error("The Docker engine does not answer: %s", meant)
            message = "The Docker engine does not answer. Please try again later."
            return failure(message, reason="engine", status=503)
        if isinstance(meant, NoSuchNetwork):
            return failure(f"The Docker network {self.network_name} does not exist.", reason="network")
        if isinstance(meant, EngineError):
            message = mask(str(meant), secrets_of(self._environment))
            return failure(f"The server can't be started: {message}", reason="refused")
        return error

    async def _last_words(self) -> str:
        """The end of the container's log without its secrets, empty where it has none."""
        try:
            log: bytes = await perform(self.docker, "logs", self.object_id, tail=LOG_LINES)
        except EngineError as error:
            return f"(its log can't be read: {error})"
        return mask(log.decode(errors="replace").strip(), secrets_of(self._environment))

    # Progress

    def _begin_story(self) -> None:
        if self._story.ended:
            self._story = Story()

    def _enter(self, stage: int, progress: int, message: str) -> None:
        self._stage = stage
        self._report(progress, message)

    def _report(self, progress: int, message: str) -> None:
        self._story.tell(progress, message)

    async def progress(self) -> AsyncIterator[Event]:
        """What is happening, from the image to the first answer; that of a failure ends with its reason."""
        async for event in self._story.follow():
            yield event

    # Poll and stop

    async def poll(self) -> int | None:
        """None while it runs, is starting, or nobody can tell; else its exit code, 0 where it is gone."""
        if self._starting:
            return None
        if not self.object_id:
            return 0
        try:
            container = await understood("inspect_container", self.get_object())
        except Unavailable as error:
            if not self._engine_silent:
                self.log.warning("The Docker engine can't say whether %s runs: %s", self.object_name, error)
            self._engine_silent = True
            return None
        self._engine_silent = False
        if container is None:
            self.log.warning("Container %s is gone", self.object_name)
            return 0
        state = container["State"]
        if state["Running"]:
            return None
        self.log.warning("The server in %s %s", self.object_name, Died(state))
        return int(state["ExitCode"])

    async def get_url(self) -> str:
        """Where the server is now; what the hub has on record where that can't be asked."""
        try:
            host, port = await understood("inspect_container", self.get_ip_and_port())
        except (EngineError, Died) as error:
            self.log.warning("The address of %s can't be had: %s", self.object_name, error)
            return str(self.server.url)
        return f"http://{fmt_ip_url(host)}:{port}{self.server.base_url}"

    async def stop(self, now: bool = False) -> None:
        """Stop the server, remove its container if `remove`; return when its name is free."""
        if not self.object_id:
            return
        self.log.info("Stopping %s", self.object_name)
        await understood("stop", self.stop_object(**({"timeout": 0} if now else {})))
        if self.remove:
            await understood("remove_container", self.remove_object())
        self.object_id = ""

    async def run_post_stop_hook(self) -> None:
        """Remove the container of a server that ended by itself, then run the post_stop_hook."""
        if self.object_id and self.remove:
            try:
                await understood("remove_container", self.remove_object())
            except EngineError as error:
                self.log.warning("Container %s is left for the next start: %s", self.object_name, error)
        await maybe_future(super().run_post_stop_hook())
