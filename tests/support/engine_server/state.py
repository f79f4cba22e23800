"""The objects of a fake engine, and what orders do to them. Refusals have the engine's own status and words."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any

from support.engine_server import shapes
from support.engine_server.events import Events, Filters, has_label
from support.engine_server.shapes import Container, Json

KILL = {"KILL", "SIGKILL", "9"}
END = {"TERM", "SIGTERM", "15", "INT", "SIGINT", "2", "QUIT", "SIGQUIT", "3"}
NUMBERS = {"KILL": "9", "TERM": "15", "INT": "2", "QUIT": "3", "HUP": "1"}
ADDRESS = "127.0.0.1"


class Refusal(Exception):
    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


def full_name(image: str) -> str:
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


class State:
    """`port` is where every container answers."""

    def __init__(self, images: Iterable[str] = (), port: int = 0) -> None:
        self.port = port
        self.events = Events()
        self.images = {full_name(name): shapes.image(full_name(name)) for name in images}
        self.containers: dict[str, Container] = {}
        self.names: dict[str, str] = {}
        self.networks = {name: shapes.network(name, {}) for name in ("bridge", "host", "none")}
        self.volumes: dict[str, Json] = {}
        self.execs: dict[str, Json] = {}
        self._made = 0

    # Containers

    def find(self, key: str) -> Container:
        """By name, id or the beginning of an id."""
        found = self.containers.get(self.names.get(key.lstrip("/"), key))
        if found is None and len(key) >= 4:
            found = next((one for known, one in self.containers.items() if known.startswith(key)), None)
        if found is None:
            raise Refusal(404, f"No such container: {key}")
        return found

    def create(self, name: str, asked: Json) -> Container:
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name):
            only = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            raise Refusal(400, f"Invalid container name ({name}), {only}")
        image = self.images.get(full_name(asked["Image"]))
        if image is None:
            raise Refusal(404, f"No such image: {full_name(asked['Image'])}")
        if name in self.names:
            raise Refusal(409, self._taken(name))
        one = self.add(name, asked, image)
        self.events.container(one, "create")
        return one

    def add(self, name: str, asked: Json, image: Json) -> Container:
        self._made += 1
        container_id = shapes.object_id(f"{name} {self._made}")
        network = (asked.get("HostConfig") or {}).get("NetworkMode") or "bridge"
        networks = {"bridge" if network == "default" else network: ADDRESS}
        one = Container(
            id=container_id,
            name=name,
            image=asked["Image"],
            image_id=image["Id"],
            asked=asked,
            config=shapes.config(asked, image, container_id),
            networks=networks,
            mounts=self._mounts(asked),
            created=time.time_ns(),
            port=self.port,
        )
        self.containers[container_id] = one
        self.names[name] = container_id
        return one

    def _taken(self, name: str) -> str:
        return (
            f'Conflict. The container name "/{name}" is already in use by container "{self.names[name]}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )

    def _mounts(self, asked: Json) -> list[Json]:
        host = asked.get("HostConfig") or {}
        mounts = []
        for bind in host.get("Binds") or ():
            source, target, mode = (*bind.split(":"), "rw")[:3]
            mounts.append(self._mount("bind" if source.startswith("/") else "volume", source, target, mode))
        for mount in host.get("Mounts") or ():
            mode = "ro" if mount.get("ReadOnly") else "rw"
            mounts.append(self._mount(mount["Type"], mount.get("Source") or "", mount["Target"], mode))
        targets = {mount["Destination"] for mount in mounts}
        for target in asked.get("Volumes") or ():
            if target not in targets:
                nameless = shapes.object_id(f"volume {self._made} {target}")
                mounts.append(self._mount("volume", nameless, target, ""))
        return mounts

    def _mount(self, kind: str, source: str, target: str, mode: str) -> Json:
        writable = "ro" not in mode.split(",")
        if kind != "volume":
            place = {"Type": kind, "Source": source, "Destination": target}
            return {**place, "Mode": mode, "RW": writable, "Propagation": "rprivate"}
        path = self.create_volume(source, {})["Mountpoint"]
        place = {"Type": kind, "Name": source, "Source": path, "Destination": target, "Driver": "local"}
        return {**place, "Mode": mode, "RW": writable, "Propagation": ""}

    def listed(self, everything: bool, filters: Filters) -> list[Container]:
        """The newest first."""
        known = {"label", "name", "id", "status", "network", "ancestor", "volume"}
        for name in filters:
            if name not in known:
                raise Refusal(400, f"invalid filter '{name}'")
        found = [one for one in self.containers.values() if everything or "status" in filters or one.running]
        return [one for one in reversed(found) if all(_passes(one, *each) for each in filters.items())]

    def start(self, key: str) -> None:
        one = self.find(key)
        if one.status == "paused":
            raise Refusal(409, "cannot start a paused container, try unpause instead")
        if one.running:
            raise Refusal(304)
        for name in one.networks:
            self.network(name)
        self._run(one)
        for name in one.networks:
            self._network_event("connect", name, one)
        self.events.container(one, "start")

    def _run(self, one: Container) -> None:
        one.status, one.exit_code, one.oom, one.error = "running", 0, False, ""
        one.started = time.time_ns()

    def end(self, one: Container, code: int, oom: bool = False) -> None:
        """Its main process ends by itself; `oom` says for want of memory."""
        if oom:
            self.out_of_memory(one)
        self._ended(one, code)
        self.events.container(one, "die", exitCode=str(code), execDuration=str(self._lasted(one)))

    def out_of_memory(self, one: Container) -> None:
        """Some process of it is killed for want of memory."""
        one.oom = True
        self.events.container(one, "oom")

    def _lasted(self, one: Container) -> int:
        return (one.finished - one.started) // 10**9

    def _ended(self, one: Container, code: int) -> None:
        one.status, one.exit_code, one.finished = "exited", code, time.time_ns()
        for name in one.networks:
            self._network_event("disconnect", name, one)
        for waiting in one.waiting:
            if not waiting.done():
                waiting.set_result(code)
        one.waiting.clear()

    def stop(self, key: str) -> None:
        one = self.find(key)
        if not one.running:
            raise Refusal(304)
        signal = one.config.get("StopSignal") or "SIGTERM"
        code = 137 if signal in KILL else 0
        self.events.container(one, "kill", signal=NUMBERS.get(signal.removeprefix("SIG"), signal))
        # In this order on engine 26.1, although the process ends first.
        self.events.container(one, "stop")
        self.end(one, code)

    def kill(self, key: str, signal: str) -> None:
        try:
            one = self.find(key)
        except Refusal as error:
            raise Refusal(404, f"cannot kill container: {key}: {error}") from None
        if not one.running:
            raise Refusal(409, f"cannot kill container: {key}: container {one.id} is not running")
        self.events.container(one, "kill", signal=NUMBERS.get(signal.removeprefix("SIG"), signal))
        if signal in KILL | END:
            self.end(one, 137 if signal in KILL else 0)

    def pause(self, key: str) -> None:
        one = self.find(key)
        self._must_run(one)
        if one.status == "paused":
            raise Refusal(409, f"Container {one.id} is already paused")
        one.status = "paused"
        self.events.container(one, "pause")

    def unpause(self, key: str) -> None:
        one = self.find(key)
        if one.status != "paused":
            raise Refusal(500, f"Container {one.id} is not paused")
        one.status = "running"
        self.events.container(one, "unpause")

    def _must_run(self, one: Container) -> None:
        if not one.running:
            raise Refusal(409, f"container {one.id} is not running")

    def rename(self, key: str, name: str) -> None:
        one = self.find(key)
        old = one.name
        if name == old:
            raise Refusal(400, "Renaming a container with the same name as its current name")
        if name in self.names:
            raise Refusal(409, self._taken(name))
        del self.names[old]
        self.names[name] = one.id
        one.name = name
        self.events.container(one, "rename", oldName=f"/{old}")

    def remove(self, key: str, force: bool, volumes: bool) -> None:
        one = self.find(key)
        if one.running and not force:
            how = "paused and must be unpaused first"
            if one.status == "running":
                how = "running: stop the container before removing or force remove"
            raise Refusal(409, f'cannot remove container "/{one.name}": container is {how}')
        if one.running:
            self.kill(one.id, "KILL")
        self.forget(one)
        if volumes:
            for mount in one.mounts:
                if mount["Type"] == "volume" and re.fullmatch(r"[0-9a-f]{64}", mount["Name"]):
                    self.volumes.pop(mount["Name"], None)
        self.events.container(one, "destroy")

    def forget(self, one: Container) -> None:
        del self.containers[one.id], self.names[one.name]

    async def wait(self, key: str) -> int:
        one = self.find(key)
        if not one.running and one.status != "created":
            return one.exit_code
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        one.waiting.append(waiting)
        return await waiting

    def execute(self, key: str, asked: Json) -> str:
        one = self.find(key)
        self._must_run(one)
        exec_id = shapes.object_id(f"exec {len(self.execs)}")
        self.execs[exec_id] = {"container": one.id, "command": asked["Cmd"]}
        self.events.container(one, f"exec_create: {' '.join(asked['Cmd'])}", execID=exec_id)
        return exec_id

    # Images, volumes, networks

    def image(self, name: str) -> Json:
        by_id = (one for one in self.images.values() if one["Id"].removeprefix("sha256:").startswith(name))
        found = self.images.get(full_name(name)) or next(by_id, None) if name else None
        if found is None:
            raise Refusal(404, f"No such image: {full_name(name)}")
        return found

    def create_volume(self, name: str, asked: Json) -> Json:
        if name not in self.volumes:
            self.volumes[name] = shapes.volume(name, asked)
            self.events.other("volume", "create", name, driver="local")
        return self.volumes[name]

    def volume(self, name: str) -> Json:
        if name not in self.volumes:
            raise Refusal(404, f"get {name}: no such volume")
        return self.volumes[name]

    def remove_volume(self, name: str) -> None:
        self.volume(name)
        users = [one.id for one in self.containers.values() if name in {m.get("Name") for m in one.mounts}]
        if users:
            raise Refusal(409, f"remove {name}: volume is in use - [{', '.join(users)}]")
        del self.volumes[name]
        self.events.other("volume", "destroy", name, driver="local")

    def network(self, key: str) -> Json:
        for name, network in self.networks.items():
            if key == name or (len(key) >= 12 and network["Id"].startswith(key)):
                members = {one.id: {"Name": one.name} for one in self._on(name)}
                return {**network, "Containers": members}
        raise Refusal(404, f"network {key} not found")

    def _on(self, network: str) -> list[Container]:
        return [one for one in self.containers.values() if network in one.networks and one.running]

    def create_network(self, name: str, asked: Json) -> Json:
        if name in self.networks:
            raise Refusal(409, f"network with name {name} already exists")
        self.networks[name] = shapes.network(name, asked)
        self.events.other("network", "create", self.networks[name]["Id"], name=name, type="bridge")
        return self.networks[name]

    def remove_network(self, key: str) -> None:
        network = self.network(key)
        name, network_id = network["Name"], network["Id"]
        if network["Containers"]:
            where = f"network {name} id {network_id} has active endpoints"
            raise Refusal(403, f"error while removing network: {where}")
        del self.networks[name]
        self.events.other("network", "destroy", network_id, name=name, type="bridge")

    def connect(self, network: str, key: str) -> None:
        name, one = self.network(network)["Name"], self.find(key)
        if name in one.networks:
            raise Refusal(403, f"endpoint with name {one.name} already exists in network {name}")
        one.networks[name] = ADDRESS
        if one.running:
            self._network_event("connect", name, one)

    def disconnect(self, network: str, key: str) -> None:
        name, one = self.network(network)["Name"], self.find(key)
        if name not in one.networks:
            raise Refusal(500, f"container {one.id} is not connected to network {name}")
        del one.networks[name]
        self._network_event("disconnect", name, one)

    def _network_event(self, action: str, name: str, one: Container) -> None:
        network_id = shapes.object_id(f"network {name}")
        self.events.other("network", action, network_id, container=one.id, name=name, type="bridge")


def _passes(one: Container, name: str, values: Iterable[str]) -> bool:
    checks: dict[str, Any] = {
        "label": lambda wanted: has_label(one.labels, wanted),
        "name": lambda wanted: re.search(wanted, one.name) or re.search(wanted, f"/{one.name}"),
        "id": lambda wanted: one.id.startswith(wanted),
        "status": lambda wanted: one.status == wanted,
        "network": lambda wanted: wanted in one.networks,
        "ancestor": lambda wanted: one.image == wanted or one.image_id == wanted,
        "volume": lambda wanted: any(wanted in (m.get("Name"), m["Destination"]) for m in one.mounts),
    }
    return (all if name == "label" else any)(checks[name](value) for value in values)
