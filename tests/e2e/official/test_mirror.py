"""DEBIAN_MIRROR where Debian's sources are in /etc/apt/sources.list.d/debian.sources, as in the official image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import docker
import pytest

from support.repo import ROOT
from support.standins import official


@contextmanager
def mirror(asked: list[str]) -> Iterator[str]:
    """A mirror that sends its visitors to Debian's own; the paths that it was asked for are added to `asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://deb.debian.org{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with closing(docker.from_env()) as client:
        bridge = client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    with ThreadingHTTPServer((bridge, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{bridge}:{server.server_port}/debian"
        server.shutdown()


@pytest.mark.parametrize(
    ("recipe", "context", "stage"),
    [("hub/Dockerfile", ".", "base"), ("singleuser/Dockerfile", "singleuser", "system")],
    ids=["hub", "singleuser"],
)
def test_packages_come_from_the_mirror(recipe: str, context: str, stage: str) -> None:
    asked: list[str] = []
    with mirror(asked) as url:
        arguments = [f"--build-arg=PYTHON_IMAGE={official('python')}", f"--build-arg=DEBIAN_MIRROR={url}"]
        build = ["docker", "build", "--quiet", "--file", recipe, "--target", stage, *arguments, context]
        subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert {"/debian/dists/trixie/InRelease", "/debian/dists/trixie-updates/InRelease"} <= {*asked}
