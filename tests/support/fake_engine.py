"""A fake of the Docker client, the seam that engine.py is built around: it keeps containers in a dict."""

from __future__ import annotations

import threading
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound, NotFound

from dockerspawner.engine import Engine


def api_error(status: int, message: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    kind = (ImageNotFound if "image" in message else NotFound) if status == 404 else APIError
    return kind(message, response=response, explanation=message)


class FakeClient:
    """Answers like an engine whose containers start at once.

    `fail` maps a method to what it raises, once for each entry; `calls` has the methods in order.
    """

    def __init__(self, images: tuple[str, ...] = ("tiny",)) -> None:
        self.images = set(images)
        self.containers: dict[str, dict[str, Any]] = {}
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
        if spec["name"] in self.containers:
            raise api_error(409, f'The container name "/{spec["name"]}" is already in use by container "x".')
        self.containers[spec["name"]] = {
            "Id": f"id-of-{spec['name']}",
            "Image": f"sha256:{spec['image']}",
            "Config": {
                "Labels": spec["labels"],
                "Env": [f"{name}={value}" for name, value in spec["environment"].items()],
                "WorkingDir": "",
            },
            "HostConfig": {"NetworkMode": spec["host_config"]["NetworkMode"]},
            "State": {"Running": False, "ExitCode": 0},
            "NetworkSettings": {"Networks": {"users": {"IPAddress": "127.0.0.1"}}, "Ports": {}},
            "Mounts": [],
        }
        return {"Id": f"id-of-{spec['name']}"}

    def _find(self, key: str) -> tuple[str, dict[str, Any]]:
        for name, container in self.containers.items():
            if key in (name, container["Id"]):
                return name, container
        raise api_error(404, f"No such container: {key}")

    def inspect_container(self, key: str) -> dict[str, Any]:
        self._call("inspect_container")
        return self._find(key)[1]

    def start(self, key: str) -> None:
        self._call("start")
        self._find(key)[1]["State"]["Running"] = True

    def stop(self, key: str, timeout: int) -> None:
        self._call("stop")
        self._find(key)[1]["State"].update(Running=False, ExitCode=0)

    def remove_container(self, key: str, v: bool, force: bool) -> None:
        self._call("remove_container")
        del self.containers[self._find(key)[0]]

    def logs(self, key: str, tail: int) -> bytes:
        self._call("logs")
        return b"last line"


def fake_engine(client: Any, **sizes: Any) -> Engine:
    return Engine(lambda timeout, pool_size: client, **sizes)
