"""A fake engine as a test holds it: started and ended as a process of its own, and controlled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import requests
from docker.transport import UnixHTTPAdapter

TESTS = Path(__file__).parents[2]


class Control:
    """Names of containers are names or ids; `quiet` means that no event tells of it, then or later."""

    def __init__(self, socket: str) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{socket}", timeout=60))

    def _do(self, what: str, **arguments: Any) -> Any:
        answer = self._http.post(f"http+docker://control/{what}", json=arguments)
        assert answer.ok, answer.text
        return answer.json()

    def close(self) -> None:
        self._http.close()

    # Calls

    def calls(self, reset: bool = False) -> dict[str, int]:
        """How often what was called since the last reset, by method and route: `GET /containers/{id}/json`."""
        return dict(self._do("calls", reset=reset))

    def fail(
        self, route: str, times: int | None = None, status: int = 500, message: str = "broken", after: bool = False
    ) -> None:
        """Answer calls of `route` (such as `POST /containers/create`, `GET /containers/*/json`) with an error.

        A route matches as it is counted or as it is called, `*` for anything. `after`: once it is carried out.
        """
        self._do("fault", kind="fail", route=route, times=times, status=status, message=message, after=after)

    def garble(self, route: str, text: str, times: int | None = None) -> None:
        """Answer calls of `route` with `text`, as if all were well."""
        self._do("fault", kind="garble", route=route, times=times, message=text)

    def hang(self, route: str, times: int | None = None, after: bool = False) -> None:
        """Leave calls of `route` without an answer until `clear`; then they go on."""
        self._do("fault", kind="hang", route=route, times=times, after=after)

    def slow(self, route: str, seconds: float, times: int | None = None) -> None:
        self._do("fault", kind="slow", route=route, seconds=seconds, times=times)

    def deaf(self, on: bool = True) -> None:
        """Accept connections, and answer nothing at all."""
        self._do("deaf", on=on)

    def away(self, on: bool = True) -> None:
        """Refuse connections, and end those that there are; the containers stay."""
        self._do("away", on=on)

    def clear(self) -> None:
        """An end to fail, garble, hang, slow, deaf, silence_events and server_answers; not to away."""
        self._do("clear")

    # Events

    def streams(self) -> int:
        """How many event streams are open."""
        return int(self._do("streams"))

    def cut_events(self, torn: bool = False) -> None:
        """End all event streams, in good order or as when a connection is lost."""
        self._do("cut_events", torn=torn)

    def silence_events(self, on: bool = True) -> None:
        """Send nothing to any event stream, while they stay open; a new stream hears of it by `since`."""
        self._do("silence_events", on=on)

    # Containers

    def end(self, name: str, code: int = 137, oom: bool = False, quiet: bool = False) -> None:
        """Its main process ends with `code`; with `oom`, after an oom event."""
        self._do("end", name=name, code=code, oom=oom, quiet=quiet)

    def oom(self, name: str) -> None:
        """A process of it, not the main one, is killed for want of memory."""
        self._do("oom", name=name)

    def remove(self, name: str, quiet: bool = False) -> None:
        self._do("remove", name=name, quiet=quiet)

    def rename(self, name: str, to: str, quiet: bool = False) -> None:
        self._do("rename", name=name, to=to, quiet=quiet)

    def restart(self, name: str, address: str = "", quiet: bool = False) -> None:
        """It ends, if it runs, and starts again, at `address` (127.0.0.1 and 127.0.0.2 answer)."""
        self._do("restart", name=name, address=address, quiet=quiet)

    def log(self, name: str, text: str) -> None:
        """What its log is from now on."""
        self._do("log", name=name, text=text)

    def server_answers(self, on: bool) -> None:
        """Do the containers answer HTTP, or only accept connections?"""
        self._do("server_answers", on=on)

    def preload(
        self,
        count: int,
        name: str = "server-{n}",
        image: str = "tiny:latest",
        labels: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        network: str = "users",
        services: bool = False,
    ) -> list[dict[str, str]]:
        """Add running containers, or `services`, without calls or events; `{n}` in every text is their number.

        Returns each one's `id` and `name`.
        """
        settings = {"labels": labels or {}, "environment": environment or {}, "network": network}
        what = "preload_services" if services else "preload"
        return list(self._do(what, count=count, name=name, image=image, **settings))

    # Swarm

    def end_task(self, service: str, code: int = 137) -> None:
        """The server of a service ends by itself."""
        self._do("end_task", service=service, code=code)

    def node(self, number: int, state: str) -> None:
        """A node, from 0 (the manager) to 2, is `down` or `ready`."""
        self._do("node", number=number, state=state)

    # Images

    def add_image(self, name: str) -> None:
        self._do("add_image", name=name)

    def remove_image(self, name: str) -> None:
        self._do("remove_image", name=name)

    def pull_events(self, events: list[dict[str, Any]] | None) -> None:
        """What pulls stream from now on; one with `error` pulls nothing. None: an image that comes at once."""
        self._do("pull_events", events=events)


class EngineServer:
    """`url` is the engine's; `port` is where, on this machine's loopback, every container and task answers HTTP.

    A context manager; `folder` is where its sockets lie. With `manager` it manages a swarm of three nodes;
    `network` is one that it has besides an engine's own.
    """

    def __init__(
        self, folder: Path, images: Iterable[str] = ("tiny:latest",), manager: bool = False, network: str = ""
    ) -> None:
        self.socket = str(folder / "engine.sock")
        self.url = f"unix://{self.socket}"
        self.port = 0
        self._images = list(images)
        self._network = network
        self._options = ["--manager"] * manager
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> EngineServer:
        command = [sys.executable, "-m", "support.engine_server", self.socket, "--until-eof", *self._options]
        command += [f"--image={image}" for image in self._images]
        # It ends with its standard input, and so with this process.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the fake engine did not start"
        self.port = json.loads(line)["port"]
        self.control = Control(f"{self.socket}.control")
        if self._network:
            with closing(docker.APIClient(base_url=self.url)) as client:
                client.create_network(self._network)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self.control.close()
        self._process.kill()
        self._process.communicate()
