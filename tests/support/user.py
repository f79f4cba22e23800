"""A user of the hub over HTTP, as a browser would be: signs in, starts and stops a server, runs code in a kernel."""

from __future__ import annotations

import html
import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from websockets.sync.client import ClientConnection, connect

from support.wait import wait_until

# Seconds. A hub that follows a start writes every eight, if only an empty line.
SILENT = 60


class Refused(Exception):
    """The hub did not let the user in; the text is what the page said."""


def execute_request(code: str) -> dict[str, Any]:
    """The message that has a kernel run `code`."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": "test",
        "username": "",
        "version": "5.3",
    }
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        "channel": "shell",
    }


class Kernel:
    """A running kernel and its websocket, kept open."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket

    def begin(self, code: str) -> str:
        """Have `code` run; the id of the message."""
        message = execute_request(code)
        self.socket.send(json.dumps(message))
        return str(message["header"]["msg_id"])

    def wait_for_restart(self) -> str:
        """All that is said until the server says that it has started the kernel again."""
        said: list[str] = []

        def restarting() -> bool:
            said.append(str(self.socket.recv(timeout=60)))
            return '"restarting"' in said[-1]

        wait_until(restarting, timeout=60, what="kernel restarted")
        return "".join(said)

    def run(self, code: str, timeout: float = 30) -> str:
        """What `code` printed; an AssertionError with the traceback where it raised."""
        message_id, printed = self.begin(code), ""
        while True:
            answer = json.loads(self.socket.recv(timeout=timeout))
            if answer["parent_header"].get("msg_id") != message_id:
                continue
            match answer["msg_type"], answer["content"]:
                case "stream", content:
                    printed += content["text"]
                case "error", content:
                    raise AssertionError("\n".join(content["traceback"]))
                case "status", {"execution_state": "idle"}:
                    return printed


class User:
    """One browser session at `hub` (no trailing slash), which trusts `authority`, a file of certificates, if given."""

    def __init__(self, hub: str, name: str, password: str, authority: Path | None = None):
        self.hub = hub
        self.name = name
        self.password = password
        self.authority = authority
        self.session = requests.Session()
        # One that is kept may be closed in the very moment of its next use.
        self.session.headers["Connection"] = "close"
        if authority:
            # Else the shell's REQUESTS_CA_BUNDLE is what counts.
            self.session.trust_env = False
            self.session.verify = str(authority)

    @property
    def path(self) -> str:
        return quote(self.name, safe="@~")

    def sign_in(self) -> User:
        """Go through the form. Raises `Refused` with what the page says."""
        form = self.session.get(f"{self.hub}/hub/login", timeout=30)
        form.raise_for_status()
        data = {"username": self.name, "password": self.password, "_xsrf": self._xsrf("/hub/")}
        page = self.session.post(f"{self.hub}/hub/login?next=/hub/home", data=data, timeout=30)
        if page.status_code != 200 or "/hub/home" not in page.url:
            raise Refused(f"{page.status_code} {page.text}")
        return self

    def _xsrf(self, path: str) -> str:
        found = [c.value for c in self.session.cookies if c.name == "_xsrf" and c.path == path]
        return found[0] or "" if found else ""

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call of the hub's REST API under `/hub/api`."""
        headers = {"X-XSRFToken": self._xsrf("/hub/")}
        return self.session.request(method, f"{self.hub}/hub/api{path}", headers=headers, timeout=60, **options)

    def model(self) -> dict[str, Any]:
        answer = self.api("GET", f"/users/{self.path}")
        answer.raise_for_status()
        return dict(answer.json())

    def start(self, name: str = "") -> list[dict[str, Any]]:
        """Start a server and follow it until it is ready or failed; the events that the progress page gets."""
        where = f"/users/{self.path}/servers/{name}" if name else f"/users/{self.path}/server"
        answer = self.api("POST", where, json={})
        if answer.status_code in {500, 503}:
            # Failed before the hub had answered: there is no progress to follow.
            return [{"failed": True, "message": answer.json()["message"]}]
        assert answer.status_code in {201, 202}, answer.text
        return list(wait_until(lambda: self._followed(where), timeout=120, what=f"{self.name}'s start has an end"))

    def _followed(self, where: str) -> list[dict[str, Any]]:
        """The events of a start, which the hub tells from the first; none where the proxy has lost them."""
        headers = {"X-XSRFToken": self._xsrf("/hub/"), "Accept": "text/event-stream"}
        events = []
        try:
            with self.session.get(
                f"{self.hub}/hub/api{where}/progress", headers=headers, stream=True, timeout=SILENT
            ) as stream:
                for line in stream.iter_lines(decode_unicode=True):
                    if line.startswith("data:"):
                        events.append(json.loads(line.removeprefix("data:")))
                        if events[-1].get("ready") or events[-1].get("failed"):
                            break
        except requests.ConnectionError:
            # The proxy does not end what it sends where the hub's connection was reset behind it.
            return []
        return events

    def started(self) -> User:
        """A server that is ready, and a session that it knows."""
        last = self.start()[-1]
        assert last.get("ready"), last
        return self.visiting()

    def visiting(self) -> User:
        """A session that the running server knows."""
        page = self.session.get(f"{self.hub}/user/{self.path}/lab", timeout=60)
        page.raise_for_status()
        return self

    def stop(self, name: str = "") -> None:
        where = f"/users/{self.path}/servers/{name}" if name else f"/users/{self.path}/server"
        answer = self.api("DELETE", where)
        assert answer.status_code in {202, 204}, answer.text
        wait_until(lambda: name not in self.model()["servers"], timeout=60, what=f"{self.name}'s server stopped")

    def server(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call to the user's own server."""
        headers = {"X-XSRFToken": self._xsrf(f"/user/{self.path}/")}
        url = f"{self.hub}/user/{self.path}{path}"
        return self.session.request(method, url, headers=headers, timeout=60, **options)

    def new_kernel(self) -> str:
        """Start a kernel; its id."""
        answer = self.server("POST", "/api/kernels", json={"name": "python3"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def channels(self, kernel_id: str) -> dict[str, Any]:
        """How to connect to a kernel's websocket: arguments of `connect`."""
        cookies = "; ".join(f"{c.name}={c.value}" for c in self.session.cookies)
        return {
            "uri": f"ws{self.hub.removeprefix('http')}/user/{self.path}/api/kernels/{kernel_id}/channels",
            "additional_headers": {"Cookie": cookies},
            "origin": self.hub,
            "open_timeout": 30,
            "ssl": ssl.create_default_context(cafile=self.authority) if self.authority else None,
        }

    @contextmanager
    def kernel(self, kernel_id: str = "") -> Iterator[Kernel]:
        """Stay connected to a kernel; to a new one where none is named."""
        with connect(**self.channels(kernel_id or self.new_kernel())) as socket:
            yield Kernel(socket)


class OAuthUser(User):
    """A user who signs in at an OAuth provider of tests/support/oauth_server.py; `trusted` has its authority."""

    def __init__(self, hub: str, name: str, trusted: str | None = None):
        super().__init__(hub, name, "")
        # Else REQUESTS_CA_BUNDLE, where it is set, beats what is trusted here.
        self.session.trust_env = False
        self.session.verify = trusted or True

    def sign_in(self) -> OAuthUser:
        form = self.session.get(f"{self.hub}/hub/oauth_login?next=/hub/home", timeout=30)
        form.raise_for_status()
        page = self.session.post(form.url, data={"login": self.name}, timeout=30)
        if page.status_code != 200 or "/hub/home" not in page.url:
            raise Refused(f"{page.status_code} {html.unescape(page.text)}")
        return self

    def is_signed_in(self) -> bool:
        page = self.session.get(f"{self.hub}/hub/home", timeout=30)
        page.raise_for_status()
        return "/hub/home" in page.url
