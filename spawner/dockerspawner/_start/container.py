"""The container of one server: what it is made of, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.traitlets import Command
from jupyterhub.utils import maybe_future
from traitlets import Bool, Dict, Integer, Unicode, Union

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import misconfigured
from dockerspawner._errors.translation import BeingRemoved, EngineError, Gone, NoSuchNetwork, Refused, Unavailable
from dockerspawner._networks.host import HOST, is_shared, mode_of, network_mode
from dockerspawner._networks.networking import NETWORK_RETRIES
from dockerspawner._settings import sdk_keys, templates
from dockerspawner._settings.operator_code import operator_code
from dockerspawner._start import specs
from dockerspawner._storage.mounts import Mounted, as_binds, of_host_config

# Seconds between two inspections of a slowly stopping container, if a wait call is not possible.
STOP_PAUSE = 0.5
# Seconds in which the engine kills a container after its grace period.
KILLED_WITHIN = 10.0


class Container(Core):
    """Settings of the container, and the calls that make, start, stop and remove it."""

    object_type = "container"
    object_id_key = "Id"

    # The spawner itself sets only strings; code for dockerspawner 14 may set None.
    object_id: Unicode[str, str | None] = Unicode(  # type: ignore[assignment]
        allow_none=True, help="The engine's id of the container in use."
    )

    # Inside the container, where every address is its own.
    ip = Unicode("0.0.0.0", config=True, help="Address that the server listens on inside the container.")
    port = Integer(
        8888,
        config=True,
        help="""Port that the server listens on inside the container. With network_name "host":
        the first port of the host that the spawner tries.""",
    )

    cmd = Command(
        None,
        allow_none=True,
        config=True,
        help="Command to run; `args` are appended. Default: the image's own.",
    )

    remove = Bool(
        False,
        config=True,
        help="""Remove the container when its server stops. Else it is kept, and resumed at the next start
        unless what it is made of has changed.""",
    )

    stop_timeout = Integer(
        None,
        allow_none=True,
        config=True,
        help="""Seconds from asking a server to end until it is killed. Default: what extra_create_kwargs or the
        image says, else the engine's 10.""",
    )

    extra_create_kwargs = Union(
        [CallableTrait(), Dict()],
        default_value={},
        config=True,
        help="""More keyword arguments of create_container: a dict, or a callable(spawner) or coroutine
        function that gives one. Templates in it are filled; it is merged deeply and has the last word.""",
    )

    extra_host_config = Union(
        [CallableTrait(), Dict()],
        default_value={},
        config=True,
        help="As extra_create_kwargs, for create_host_config.",
    )

    modify_spec_hook = CallableTrait(
        None,
        allow_none=True,
        config=True,
        help="""callable(spawner, spec) or coroutine function that has the very last word: it changes the keyword
        arguments of create_container in place, or returns others. `name` and our labels stay as they are. May be
        called more than once a start.""",
    )

    # Keys that the extra settings accept.
    _sdk_keys = sdk_keys.CONTAINER

    @property
    def container_id(self) -> str:
        return self.object_id or ""

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        env["JUPYTER_IMAGE_SPEC"] = self.image
        return env

    async def get_command(self) -> list[str] | None:
        """The command with its arguments; None is the image's own."""
        args = list(self.get_args())
        if self.cmd:
            return [*self.cmd, *args]
        return [*await self._image_command(), *args] if args else None

    async def _image_command(self) -> list[str]:
        image = await perform(self.docker, "inspect_image", self.image)
        return list(image["Config"].get("Cmd") or ())

    async def _evaluate(self, value: Any) -> Any:
        return await maybe_future(value(self)) if callable(value) else value

    async def _evaluated(self, setting: str) -> Any:
        """Evaluate a setting that may be a callable(spawner) or coroutine function."""
        with operator_code(f"the setting {setting}", self.log):
            return await self._evaluate(getattr(self, setting))

    def _evaluated_env(self) -> dict[str, str]:
        with operator_code("the setting environment, or get_env(),", self.log):
            return self.get_env()

    async def _extra(self, setting: str) -> dict[str, Any]:
        """Evaluate, fill and check a setting that is passed to the Docker SDK."""
        given = await self._evaluated(setting)
        filled = templates.render({} if given is None else given, self.template_namespace())
        try:
            sdk_keys.check(setting, filled, self._sdk_keys)
        except sdk_keys.Mistake as mistake:
            raise misconfigured(f"{mistake}.") from None
        if unread := sdk_keys.unread(filled.get("host_config") or {}):
            self.log.warning(
                "Docker ignores %s in host_config of %s: use the setting extra_host_config",
                ", ".join(unread),
                setting,
            )
        return dict(filled)

    @staticmethod
    def _made_of(build: Callable[[Any], dict[str, Any]], server: Any) -> dict[str, Any]:
        """Build the arguments of the call that creates the server's object; a failure names the wrong setting."""
        try:
            return build(server)
        except sdk_keys.Mistake as mistake:
            raise misconfigured(f"{mistake}.") from mistake

    async def _modified(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Let modify_spec_hook change the arguments."""
        with operator_code("the setting modify_spec_hook", self.log):
            spec = await maybe_future(self.modify_spec_hook(self, spec)) or spec
        if not isinstance(spec, Mapping):
            raise misconfigured(f"The setting modify_spec_hook returned {type(spec).__name__}: it must return a dict.")
        if unknown := sorted(spec.keys() - self._sdk_keys["extra_create_kwargs"]):
            raise misconfigured(f'The setting modify_spec_hook returned an unknown argument "{unknown[0]}".')
        return {**spec, "name": self.object_name}

    def _refused(self, error: Refused) -> Exception:
        """Translate an engine's rejection: if it names a field, the failure names the setting."""
        sentence = sdk_keys.wrong_form(str(error), self._sdk_keys)
        return misconfigured(f"{sentence}.") if sentence else error

    def _create_defaults(self) -> dict[str, Any]:
        """Keyword arguments of create_container that extra_create_kwargs may replace."""
        if not (others := self._side_networks()):
            return {}
        return {"networking_config": {"EndpointsConfig": {network: {} for network in (self._wanted_network, *others)}}}

    def _host_settings(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Complete the keyword arguments of create_host_config that extra_host_config gives."""
        return extra

    async def _modified_spec(self, known_mode: str = "") -> tuple[dict[str, Any], str]:
        """The arguments as modify_spec_hook leaves them, and the network mode that their port is for.

        That is `known_mode`, else the one that the settings without the hook give.
        """
        await self._settle_port(self._wanted_network)
        # Before `image` is read: a subclass may choose the image in get_env().
        environment = self._evaluated_env()
        extra_create = specs.merge(self._create_defaults(), await self._extra("extra_create_kwargs"))
        extra_host = self._host_settings(await self._extra("extra_host_config"))
        configured_mode = network_mode(self._wanted_network, extra_create, extra_host)
        mode = known_mode or configured_mode
        is_published = not (self.use_internal_ip or is_shared(mode) or is_shared(configured_mode))
        if await self._settle_port(mode):
            environment = self.get_env()
        command = await maybe_future(self.get_command())
        if command is None and "entrypoint" in extra_create:
            # Under another entry point the engine forgets the image's command.
            command = await self._image_command()
        spec = self._made_of(
            specs.container,
            specs.Server(
                image=self.image,
                name=self.object_name,
                command=command,
                environment=environment,
                port=self.port,
                network=self._wanted_network,
                publish_on=self.host_ip if is_published else "",
                links=dict(self.links),
                binds=self.volume_binds,
                mount_points=self.volume_mount_points,
                mounts=self.mount_binds,
                mem_limit=self._limit("mem_limit"),
                swap=self.swap,
                cpu_limit=self._limit("cpu_limit"),
                mem_guarantee=self._limit("mem_guarantee"),
                cpu_guarantee=self._limit("cpu_guarantee"),
                tmp_size=self._limit("tmp_size"),
                devices=await self._gpus.requests(),
                extra_create=extra_create,
                extra_host=extra_host,
            ),
        )
        return (await self._modified(spec) if self.modify_spec_hook else spec), mode

    async def _create_kwargs(self) -> dict[str, Any]:
        await self._check_several_networks()
        spec, mode = await self._modified_spec()
        if (final := mode_of(spec, mode)) != mode and HOST in (final, mode):
            # On the host's network, each server needs a port of its own.
            spec, mode = await self._modified_spec(final)
            if (last := mode_of(spec, mode)) != mode and HOST in (last, mode):
                raise misconfigured(
                    "The setting modify_spec_hook gives another network mode at each call. Set network_name instead."
                )
        configured = Mounted(as_binds(self.volume_binds), self.mount_binds)
        self._note_replaced_mounts(configured, of_host_config(spec.get("host_config") or {}))
        # Networks that it is connected to once it is made.
        more = {"extra_networks": self.extra_networks} if self.extra_networks else {}
        attempt = self._attempt
        attempt.spec_hash = specs.spec_hash({**spec, **more})
        attempt.restart_policy, spec["host_config"] = specs.without_restarts(spec.get("host_config") or {})
        self._asked_user = str(spec.get("user") or "")
        attempt.environment = specs.as_dict(spec["environment"])
        self._check_hub(spec)
        labels = {**specs.as_dict(spec.get("labels")), **self._owner.labels(attempt.spec_hash), **self._port_label()}
        await self._note_folders(spec)
        return {**spec, "labels": labels}

    def _check_hub(self, spec: Mapping[str, Any]) -> None:
        host, command = spec["host_config"], str([spec.get("entrypoint"), spec.get("command")])
        # The command may correct the URL.
        if not is_shared(str(host.get("NetworkMode") or "")) and "JUPYTERHUB_API_URL" not in command:
            self._ready.check_hub_url(self._attempt.environment, host.get("ExtraHosts") or ())

    async def get_object(self) -> dict[str, Any] | None:
        """The container as the engine describes it, None where there is none.

        Unavailable where nobody can tell.
        """
        return await self._calls.inspect(self.object_id or self.object_name)

    async def create_object(self) -> dict[str, Any]:
        """Create the container; returns at least its Id. NameTaken where there is one of that name."""
        await self._find_volumes()
        spec = await self._create_kwargs()
        await self._have_volumes(spec["host_config"].get("VolumeDriver"))
        try:
            created: dict[str, Any] = await perform(self.docker, "create_container", **spec)
        except Unavailable as error:
            made = await self._calls.find_after_timeout() if error.timed_out else None
            if made is None:
                raise
            return made
        except Refused as error:
            raise self._refused(error) from error
        return created

    async def start_object(self) -> None:
        for tries_left in reversed(range(NETWORK_RETRIES + 1)):
            try:
                await perform(self.docker, "start", self.object_id)
                return
            except NoSuchNetwork:
                # The engine names it by an id that nobody else knows.
                if not tries_left or not await self._recreate_networks():
                    raise

    async def _suspend_restarts(self, container: Mapping[str, Any], runs: bool) -> None:
        """Disable restarts of a kept container until its server is ready: before that, a crash fails the start."""
        if runs:
            self._attempt.restart_policy = {}
            return
        own, _ = specs.without_restarts(container["HostConfig"])
        # If the hub was killed during a start, the container may have lost its restart policy.
        self._attempt.restart_policy = own or self._attempt.restart_policy
        if own:
            await perform(self.docker, "update_container", container["Id"], restart_policy={"Name": "no"})

    async def _allow_restarts(self) -> None:
        if not self._attempt.restart_policy:
            return
        try:
            await perform(self.docker, "update_container", self.object_id, restart_policy=self._attempt.restart_policy)
        except EngineError as error:
            self.log.warning("The restart policy of %s could not be set: %s", self.object_name, error)

    async def stop_object(self, timeout: int | None = None) -> None:
        """End the server's processes; they are killed after `timeout` seconds (default: stop_timeout)."""
        seconds = self.stop_timeout if timeout is None else timeout
        try:
            await self._calls.stop(self.object_id, seconds)
        except (Gone, BeingRemoved):
            self.log.debug("%s is gone already", self.object_name)

    async def remove_object(self) -> None:
        """Remove the container with the volumes that have no name; return when its own name is free."""
        await self._calls.remove(self.container_id, volumes=True)
