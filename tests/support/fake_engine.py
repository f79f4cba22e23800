"""A fake of the Docker client, the seam that the engine wing is built around: it keeps containers in a dict."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound, NotFound

from dockerspawner._engine.archive import packed
from dockerspawner._engine.client import Engine


def api_error(status: int, message: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    kind = (ImageNotFound if "image" in message else NotFound) if status == 404 else APIError
    return kind(message, response=response, explanation=message)


class FakeStream:
    """The engine's events, until they are closed or cut."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.events.get, None)

    def close(self) -> None:
        self.events.put(None)


class FakeClient:
    """Answers like an engine whose containers start at once.

    `fail` maps a method to what it raises, once for each entry; `calls` has the methods in order, but for those
    by which the engine is followed: they are in `followed`. `silent` engines tell of no events.
    """

    def __init__(self, images: tuple[str, ...] = ("tiny",)) -> None:
        self.followed: list[str] = []
        self.streams: list[FakeStream] = []
        self.silent = False
        self._clock = itertools.count(1)
        self.images = set(images)
        self.volumes: dict[str, dict[str, str]] = {}
        self.existing: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.fail: dict[str, list[Exception]] = {}
        self.pull_events: list[dict[str, Any]] = []
        self.pulling = threading.Event()
        self.may_pull = threading.Event()
        self.may_pull.set()

    def _call(self, method: str) -> None:
        self.calls.append(method)
        if self.fail.get(method):
            raise self.fail[method].pop(0)

    def inspect_image(self, image: str) -> dict[str, Any]:
        self._call("inspect_image")
        if image not in self.images:
            raise api_error(404, f"No such image: {image}")
        return {"Id": f"sha256:{image}", "Config": {"Cmd": ["serve"]}}

    def pull(self, repository: str, tag: str, stream: bool, decode: bool) -> Any:
        self._call("pull")
        self.pulling.set()
        assert self.may_pull.wait(10)
        yield from self.pull_events
        self.images |= {repository, f"{repository}:{tag}"}

    def create_container(self, **spec: Any) -> dict[str, Any]:
        self._call("create_container")
        if spec["image"] not in self.images:
            raise api_error(404, f"No such image: {spec['image']}")
        if spec["name"] in self.existing:
            raise api_error(409, f'The container name "/{spec["name"]}" is already in use by container "x".')
        self.existing[spec["name"]] = {
            "Id": f"id-of-{spec['name']}",
            "Name": f"/{spec['name']}",
            "Image": f"sha256:{spec['image']}",
            "Config": {
                "Labels": spec["labels"],
                "Env": [f"{name}={value}" for name, value in spec["environment"].items()],
                "WorkingDir": "",
            },
            "HostConfig": {name: spec["host_config"].get(name) for name in ("NetworkMode", "DeviceRequests")},
            "State": {"Running": False, "ExitCode": 0},
            "NetworkSettings": {"Networks": {"users": {"IPAddress": "127.0.0.1"}}, "Ports": {}},
            "Mounts": [],
        }
        self.emit("create", spec["name"])
        return {"Id": f"id-of-{spec['name']}"}

    def inspect_volume(self, name: str) -> dict[str, Any]:
        self._call("inspect_volume")
        if name not in self.volumes:
            raise api_error(404, f"get {name}: no such volume")
        return {"Name": name, "Labels": self.volumes[name]}

    def create_volume(self, name: str, driver: str | None, labels: dict[str, str]) -> dict[str, Any]:
        self._call("create_volume")
        return {"Name": name, "Labels": self.volumes.setdefault(name, labels)}

    def remove_volume(self, name: str) -> None:
        self._call("remove_volume")
        del self.volumes[name]

    def get_archive(self, key: str, path: str, chunk_size: int) -> tuple[list[bytes], dict[str, Any]]:
        """Everything belongs to uid 1000."""
        self._call("get_archive")
        return [packed({path: b""}, 1000, 1000, 0o755)], {}

    def events(self, filters: dict[str, Any], decode: bool) -> FakeStream:
        self.followed.append("events")
        if self.fail.get("events"):
            raise self.fail["events"].pop(0)
        self.streams.append(FakeStream())
        return self.streams[-1]

    def emit(self, action: str, name: str, at: int = 0, **attributes: str) -> None:
        """Tell all streams of something that happened to a container; `at` is the engine's clock."""
        container = self.existing[name]
        attributes |= {"name": name, **container["Config"]["Labels"]}
        self._emit("container", action, container["Id"], attributes, at)

    def _emit(self, kind: str, action: str, object_id: str, attributes: dict[str, str], at: int = 0) -> None:
        actor = {"ID": object_id, "Attributes": attributes}
        event = {"Type": kind, "Action": action, "Actor": actor, "timeNano": at or next(self._clock)}
        for stream in () if self.silent else self.streams:
            stream.events.put(event)

    def leave(self, name: str) -> None:
        """Somebody takes a container off its networks."""
        self._reattach("disconnect", name, {})

    def join(self, name: str, address: str, network: str = "users") -> None:
        """Somebody puts it on a network, where it has another address than before."""
        self._reattach("connect", name, {network: {"IPAddress": address}})

    def _reattach(self, action: str, name: str, networks: dict[str, Any]) -> None:
        container = self.existing[name]
        container["NetworkSettings"]["Networks"] = networks
        self._emit("network", action, "id-of-network", {"container": container["Id"]})

    def cut(self) -> None:
        """End all streams of events."""
        while self.streams:
            self.streams.pop().close()

    def containers(self, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        self.followed.append("containers")
        if self.fail.get("containers"):
            raise self.fail["containers"].pop(0)
        return [
            {
                "Id": container["Id"],
                "Names": [f"/{name}"],
                "Labels": container["Config"]["Labels"],
                "State": _state(container["State"]),
                "HostConfig": container["HostConfig"],
                "NetworkSettings": container["NetworkSettings"],
                "Ports": [],
            }
            for name, container in self.existing.items()
            if _labels(container).issuperset(filters.get("label", ()))
            and container["Id"].startswith(tuple(filters.get("id", [""])))
        ]

    def _find(self, key: str) -> tuple[str, dict[str, Any]]:
        for name, container in self.existing.items():
            if key in (name, container["Id"]):
                return name, container
        raise api_error(404, f"No such container: {key}")

    def inspect_container(self, key: str) -> dict[str, Any]:
        self._call("inspect_container")
        return self._find(key)[1]

    def start(self, key: str) -> None:
        self._call("start")
        name, container = self._find(key)
        if not container["State"]["Running"]:
            container["State"]["Running"] = True
            self.emit("start", name)

    def pause(self, key: str) -> None:
        self._call("pause")
        self._freeze(key, True)

    def unpause(self, key: str) -> None:
        self._call("unpause")
        self._freeze(key, False)

    def _freeze(self, key: str, paused: bool) -> None:
        name, container = self._find(key)
        container["State"]["Paused"] = paused
        self.emit("pause" if paused else "unpause", name)

    def stop(self, key: str, timeout: int | None) -> None:
        self._call("stop")
        self.die(self._find(key)[0], 0)

    def die(self, name: str, code: int, **state: Any) -> None:
        """End a container's main process."""
        self.existing[name]["State"].update(Running=False, Paused=False, ExitCode=code, **state)
        self.emit("die", name, exitCode=str(code))

    def remove_container(self, key: str, v: bool, force: bool) -> None:
        self._call("remove_container")
        name = self._find(key)[0]
        self.emit("destroy", name)
        del self.existing[name]

    def logs(self, key: str, tail: int) -> bytes:
        self._call("logs")
        return b"last line"


def _labels(container: dict[str, Any]) -> set[str]:
    labels = container["Config"]["Labels"]
    return {*labels, *(f"{name}={value}" for name, value in labels.items())}


def _state(state: dict[str, Any]) -> str:
    if state.get("Paused"):
        return "paused"
    return "running" if state["Running"] else "exited"


def fake_engine(client: Any, **sizes: Any) -> Engine:
    return Engine(lambda timeout, pool_size: client, **sizes)
