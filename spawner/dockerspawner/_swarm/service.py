"""The swarm service of one server: what it is made of, and what can be done with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docker.types import DriverConfig, Mount
from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.utils import maybe_future
from traitlets import Bool, Dict, Unicode, Union, validate

from dockerspawner._core import SwarmCore
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure, misconfigured
from dockerspawner._errors.translation import Gone, Refused, Unavailable
from dockerspawner._networks import link_local
from dockerspawner._settings import sdk_keys
from dockerspawner._start import specs
from dockerspawner._storage.mounts import Mounted, is_host_path, subpath_of
from dockerspawner._swarm import specs as service_specs
from dockerspawner._swarm.tasks import Task, current

# Seconds beyond its own for which an ended server's task is waited for.
GRACE = 10.0
# Seconds for which an order that had no answer is looked up; a manager has taken 20 s to say that it had none.
LOOK_UP = 5.0
# What the engine gives a task to end where nobody says otherwise.
_STOP_TIMEOUT = 10


def _extra(of: str) -> Union:
    return Union(
        [CallableTrait(), Dict()],
        default_value={},
        config=True,
        help=f"""Keyword arguments of docker.types.{of}: a dict, or a callable(spawner) or coroutine function that
        gives one. Templates in it are filled; it has the last word.""",
    )


class Service(SwarmCore):
    """Settings of the service, and the calls that make, inspect and remove it.

    A server is a service of one task, which the swarm never starts again. It has no state of its own: it goes with
    its server, whatever `remove` says.
    """

    _sdk_keys = sdk_keys.SERVICE

    object_type = "service"
    object_id_key = "ID"

    remove = Bool(True, config=True, help="A service is always removed when its server stops.")

    network_name = Unicode(
        "",
        config=True,
        help="""Overlay network that the service is on, and on which the hub reaches it. Without one the node
        publishes the server's port.""",
    )

    extra_container_spec = _extra("ContainerSpec")
    extra_resources_spec = _extra("Resources")
    extra_placement_spec = _extra("Placement")
    extra_task_spec = _extra("TaskTemplate")
    extra_endpoint_spec = _extra("EndpointSpec")

    volume_driver = Unicode(config=True, help="Driver of the volumes that `volumes` names. Default: the engine's own.")

    volume_driver_options = Dict(
        config=True,
        help="""Options of that driver, such as {"type": "nfs", "o": "addr=10.0.0.1,rw", "device":
        ":/homes/{username}"}. Placeholders as in name_template.""",
    )

    gpu_resource = Unicode(
        "gpu", config=True, help="Generic resource of the nodes of which a server takes as many as `gpus` says."
    )

    @validate("remove")
    def _always_remove(self, proposal: Any) -> bool:
        return True

    def _pull_policy_default(self) -> str:
        """The nodes pull; on the manager nobody needs the image."""
        return "skip"

    def _use_internal_ip_default(self) -> bool:
        if self.network_name == "bridge":
            # Local to each node: only published ports are reachable.
            return False
        extra = self.extra_task_spec
        return bool(self.network_name or (isinstance(extra, Mapping) and extra.get("networks")))

    def get_network_ip(self, network_settings: dict[str, Any]) -> str:
        """The task's address on `network_name`; where that is not a name that it has, on the first of its networks."""
        networks: dict[str, Any] = network_settings["Networks"]
        if self.network_name not in networks and networks:
            return str(next(iter(networks.values()))["IPAddress"])
        return super().get_network_ip(network_settings)

    @property
    def service_id(self) -> str:
        return self.object_id or ""

    @property
    def service_name(self) -> str:
        return self.object_name

    # What it is made of

    async def _image_command(self) -> list[str]:
        try:
            return await super()._image_command()
        except Gone:
            raise failure(
                f"The command of image {self.image} is not known: the manager does not have the image. "
                "Set cmd, or have the image there.",
                reason="image",
            ) from None

    @property
    def mount_driver_config(self) -> DriverConfig | None:
        """Driver of the volumes that `volumes` names; None is the engine's own."""
        if not (self.volume_driver or self.volume_driver_options):
            return None
        options = {name: self._filled_option(value) for name, value in self.volume_driver_options.items()}
        return DriverConfig(self.volume_driver or "local", options)

    def _filled_option(self, value: Any) -> Any:
        """Fill an option of volume_driver; braces without a placeholder name do not change."""
        is_template = isinstance(value, str) and re.search(r"\{[A-Za-z_]\w*[^{}]*\}", value)
        return self._fill("volume_driver_options", value) if is_template else value

    def _service_mounts(self) -> list[Mount]:
        """All mounts, typed; a volume carries the labels and the driver with which a node makes it."""
        templates = {bind.source: bind.template for bind in self._binds()}
        found = []
        for source, bind in self.volume_binds.items():
            about: dict[str, Any] = {"type": "bind", "propagation": bind.get("propagation")}
            if not is_host_path(source):
                labels = self._labels_of(templates.get(source, ""))
                about = {"type": "volume", "labels": labels, "driver_config": self.mount_driver_config}
            read_only = "ro" in bind["mode"].split(",")
            found.append(Mount(bind["bind"], source, read_only=read_only, **about))
        return [*found, *self.mount_binds]

    async def _generic_resources(self) -> dict[str, int]:
        gpus = await self._evaluated("gpus")
        if not gpus:
            return {}
        if not isinstance(gpus, int):
            raise misconfigured(f"The setting gpus is {gpus!r}: on a swarm it must be a number.")
        return {self.gpu_resource: gpus}

    def _container_settings(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Complete the keyword arguments of ContainerSpec that extra_container_spec gives."""
        return extra

    async def _create_kwargs(self) -> dict[str, Any]:
        defaults = self._create_defaults()
        container = {
            new: defaults[old] for old, new in (("working_dir", "workdir"), ("user", "user")) if old in defaults
        }
        extra_container = {**container, **await self._extra("extra_container_spec")}
        environment = self._evaluated_env()
        networks = [self._fill("network_name", self.network_name)] if self.network_name else []
        networks += self._more_networks()
        if self.block_link_local:
            networks.append(link_local.OVERLAY)
        server = service_specs.Service(
            image=self.image,
            name=self.object_name,
            command=await maybe_future(self.get_command()),
            environment=environment,
            port=self.port,
            networks=networks,
            publish=not self.use_internal_ip,
            mounts=self._service_mounts(),
            secrets=await self._certs.references(str(extra_container.get("user") or "")),
            mem_limit=self._limit("mem_limit"),
            cpu_limit=self._limit("cpu_limit"),
            mem_guarantee=self._limit("mem_guarantee"),
            cpu_guarantee=self._limit("cpu_guarantee"),
            generic_resources=await self._generic_resources(),
            stop_timeout=self.stop_timeout,
            node=self._wanted_node(),
            extra_container=self._container_settings(extra_container),
            extra_resources=await self._extra("extra_resources_spec"),
            extra_placement=await self._extra("extra_placement_spec"),
            extra_task=await self._extra("extra_task_spec"),
            extra_endpoint=await self._extra("extra_endpoint_spec"),
            extra_create=await self._extra("extra_create_kwargs"),
        )
        spec = self._made_of(service_specs.service, server)
        if self.modify_spec_hook:
            spec = await self._modified(spec)
        final = spec["task_template"]["ContainerSpec"].get("Mounts") or ()
        if parts := [subpath for mount in final if (subpath := subpath_of(mount))]:
            raise misconfigured(
                f"The setting mounts has the subpath {parts[0]!r}: on a swarm the hub can't create it, since only "
                "the nodes reach their volumes. Each user needs a separate volume."
            )
        self._note_replaced_mounts(Mounted(mounts=self._service_mounts()), Mounted(mounts=final))
        return self._labelled(spec)

    def _labelled(self, spec: dict[str, Any]) -> dict[str, Any]:
        container = spec["task_template"]["ContainerSpec"]
        attempt = self._attempt
        attempt.environment = specs.as_dict(container.get("Env"))
        hashed = {**container, "Env": None, "Secrets": None}
        task = {**spec["task_template"], "ContainerSpec": hashed}
        attempt.spec_hash = specs.spec_hash({**spec, "task_template": task, "environment": attempt.environment})
        networks = [network.get("Target") for network in spec["task_template"].get("Networks") or ()]
        command = str([container.get("Command"), container.get("Args")])
        if "host" not in networks and "JUPYTERHUB_API_URL" not in command:
            self._ready.check_hub_url(attempt.environment, container.get("Hosts") or ())
        labels = self._owner.labels(attempt.spec_hash)
        # On the container, too: tasks are told apart by it, and an operator finds it on its node.
        container["Labels"] = {**(container.get("Labels") or {}), **labels}
        return {**spec, "labels": {**specs.as_dict(spec.get("labels")), **labels}}

    # Calls

    async def get_task(self) -> dict[str, Any] | None:
        """The task of the server as `GET /tasks` has it, None where there is none."""
        tasks = await self._calls.tasks_of(self.service_id or self.service_name)
        task = current(Task.of(answer) for answer in tasks.values())
        return tasks[task.id] if task else None

    async def get_object(self) -> dict[str, Any] | None:
        """The service as the engine describes it, with state and addresses of its task where an inspected container
        has them; None where there is none.

        Unavailable where nobody can tell.
        """
        return await self._calls.inspect(self.object_id or self.object_name)

    async def create_object(self) -> dict[str, Any]:
        """Create the service; returns at least its ID. NameTaken where there is one of that name."""
        await self._check_home()
        await self._find_volumes()
        self._note_volumes()
        spec = await self._create_kwargs()
        try:
            created: dict[str, Any] = await perform(self.docker, "create_service", **spec)
        except Unavailable as error:
            made = await self._calls.find_after_timeout() if error.timed_out else None
            if made is None:
                raise
            created = made
        except Refused as error:
            raise self._refused(error) from error
        self._watch.made(created["ID"], self.object_name, self._owner)
        return created

    async def start_object(self) -> None:
        """Nothing: the swarm starts a service when it is created."""

    async def stop_object(self, timeout: int | None = None) -> None:
        """Nothing: removing a service ends it."""

    async def remove_object(self) -> None:
        """Remove the service; return when its name is free and its task has ended, as far as its node tells."""
        await self._calls.remove(self.service_id, volumes=True)
