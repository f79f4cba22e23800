"""Whether the hub answers, at `/` or below a path, as its health check and the doctor ask."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dockyard.hub import health
from support.repo import ROOT


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A server that redirects as a hub below `base` does, whose pages are at `host` for browsers."""
    servers = []

    def hub(base: str = "/", host: str = "", status: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith(f"{base}hub/"):
                    self.send_response(status if self.path == f"{base}hub/health" else 404)
                else:
                    self.send_response(302)
                    self.send_header("Location", f"{host}{base}hub{self.path}")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setattr("dockyard.hub.health.PORT", server.server_port)

    yield hub
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("base", ["/", "/jupyter/", "/a/b/"])
@pytest.mark.parametrize("host", ["", "https://hub.invalid"])
def test_main_finds_the_path_of_the_hub(
    hub: Callable[..., None], capsys: pytest.CaptureFixture[str], base: str, host: str
) -> None:
    hub(base, host)
    assert health.main("127.0.0.1") == 0
    assert capsys.readouterr().out == f"{base}hub/\n"


def test_main_uses_no_proxy(hub: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    hub()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.main("127.0.0.1") == 0


def test_main_tells_no_way_from_no_answer_and_an_unhealthy_hub(
    hub: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(status=500)
    assert health.main("127.0.0.1") == health.UNHEALTHY
    with socket.create_server(("127.0.0.1", 0)) as silent:
        closed = silent.getsockname()[1]
    monkeypatch.setattr("dockyard.hub.health.PORT", closed)
    assert health.main("127.0.0.1") == health.NO_ANSWER
    assert health.main("hub.invalid") == health.NO_WAY


def test_it_runs_from_standard_input_without_packages() -> None:
    with (ROOT / "hub/dockyard/hub/health.py").open() as code:
        done = subprocess.run([sys.executable, "-I", "-", "hub.invalid"], stdin=code, capture_output=True, text=True)
    assert (done.returncode, "hub.invalid:8081" in done.stderr) == (health.NO_WAY, True), done.stderr
