"""A real JupyterHub process with its proxy, on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from support.ports import free_port
from support.sidebyside import locked
from support.wait import wait_until

CACHE = Path(__file__).parents[2] / ".artifacts" / "configurable-http-proxy"
PROXY = "configurable-http-proxy@5"

CONFIG = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://{address}:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api}"
c.ConfigurableHTTPProxy.command = {command!r}
c.ConfigurableHTTPProxy.auth_token = "{token}"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
scopes = ["admin:users", "admin:servers", "read:hub", "read:metrics"]
c.JupyterHub.load_roles = [{{"name": "tests", "scopes": scopes, "services": ["tests"]}}]
c.JupyterHub.spawner_class = "docker"
# Tiny servers do not belong to JupyterHub. What runs real ones sets "jupyterhub" again.
c.DockerSpawner.ready_check = "http"
"""


def proxy_command() -> list[str]:
    """The proxy's command; it is installed from npm where it is missing."""
    script = CACHE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    with locked("proxy"):
        if not script.exists():
            for tool in ("node", "npm"):
                assert shutil.which(tool), f"{tool} is missing: apt-get install nodejs npm"
            CACHE.mkdir(parents=True, exist_ok=True)
            npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(CACHE), PROXY]
            subprocess.run(npm, check=True)
    return ["node", str(script)]


class Hub:
    """One hub, running during its context.

    `settings` is Python code at the end of its jupyterhub_config.py. `python` runs the hub. `address` is the hub's
    own address; if servers call the hub, they must reach it. `environment` is added to that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        settings: str,
        python: str = sys.executable,
        address: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.python = python
        self._environment = {**os.environ, **(environment or {})}
        self.token = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        public, hub, proxy_api = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{public}"
        self.api = f"http://{address}:{hub}/hub/api"
        places = {"address": address, "public": public, "hub": hub, "proxy_api": proxy_api}
        config = CONFIG.format(**places, token=self.token, command=proxy_command())
        (folder / "jupyterhub_config.py").write_text(config + settings)
        self.http = requests.Session()
        # A class that starts its servers at once.
        self.http.mount("http://", HTTPAdapter(pool_maxsize=64))
        self.http.headers["Authorization"] = f"token {self.token}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text()

    def __enter__(self) -> Hub:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 60) -> None:
        """Start the hub, and return when its API answers and the servers of an earlier one are checked."""
        with (self.folder / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", "jupyterhub"], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._is_up, timeout, what=f"hub in {self.folder}")

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the hub has ended:\n{self.log[-3000:]}"
        try:
            return self.http.get(f"{self.api}/info", timeout=5).ok
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """End the hub as a power cut would; its proxy goes on, and the next hub replaces it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the hub and its proxy. Servers go on."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
        pid = self.folder / "jupyterhub-proxy.pid"
        if pid.exists():
            os.kill(int(pid.read_text().splitlines()[0]), signal.SIGKILL)

    def user(self, name: str) -> Any:
        """The user's model; made where it is missing."""
        path = f"{self.api}/users/{requests.utils.quote(name, safe='')}"
        found = self.http.get(path, params={"include_stopped_servers": "1"})
        if found.status_code == 404:
            found = self.http.post(path)
        found.raise_for_status()
        return found.json()

    def _path(self, name: str, server: str) -> str:
        path = f"{self.api}/users/{requests.utils.quote(name, safe='')}/server"
        return f"{path}s/{server}" if server else path

    def spawn(self, name: str, server: str = "") -> list[dict[str, Any]]:
        """Ask for a server, and return its progress events; the last has `ready` or `failed`."""
        self.user(name)
        asked = self.http.post(self._path(name, server))
        if asked.status_code >= 500:
            # Failed before the hub had answered: there is no progress to follow.
            return [{"failed": True, "message": asked.json()["message"]}]
        assert asked.status_code in (201, 202), asked.text
        return list(self.events(name, server))

    def events(self, name: str, server: str = "") -> Iterator[dict[str, Any]]:
        with self.http.get(f"{self._path(name, server)}/progress", stream=True, timeout=90) as stream:
            for line in stream.iter_lines():
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def halt(self, name: str, server: str = "") -> None:
        """Stop a server and return when it is stopped."""
        self.http.delete(self._path(name, server)).raise_for_status()
        wait_until(lambda: not self.is_running(name, server), timeout=40, what=f"{name} stopped")

    def running(self) -> set[str]:
        """Names of the users whose servers the hub has on record as ready."""
        found = self.http.get(f"{self.api}/users", params={"state": "ready", "limit": "200"}, timeout=10)
        found.raise_for_status()
        return {user["name"] for user in found.json()}

    def is_running(self, name: str, server: str = "") -> bool:
        found = self.user(name)["servers"].get(server) or {}
        return bool(found.get("ready") or found.get("pending"))

    def get(self, name: str, server: str = "", page: str = "no-such-page") -> requests.Response:
        """A page of the user's server, by the proxy."""
        path = f"{self.url}/user/{requests.utils.quote(name, safe='@')}/"
        return requests.get(f"{path}{server + '/' if server else ''}{page}", timeout=10)

    def visit(self, name: str, server: str = "") -> int:
        """Status of a page that only the server could have and hasn't: 404 where it answers itself."""
        return self.get(name, server).status_code
