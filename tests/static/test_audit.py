"""Whoever finds no hole has to have looked: at all that the images and the tests are made of."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from support.missing import missing
from support.repo import ROOT

PYTHON = [f"{folder}/requirements.txt" for folder in ("hub", "singleuser", "tests")]
NPM = "hub/proxy/package-lock.json"
# What npm installs, by the package's name.
INSTALLED: dict[str, list[dict[str, Any]]] = {}
for path, one in json.loads((ROOT / NPM).read_text())["packages"].items():
    if path:
        INSTALLED.setdefault(path.rpartition("node_modules/")[2], []).append(one)
NOT_CLEAN = "known vulnerabilities, or no answer from a vulnerability database, for:"


@pytest.fixture(autouse=True)
def npm() -> None:
    if not shutil.which("npm"):
        missing("npm is not installed: apt-get install npm")


class Advisories(BaseHTTPRequestHandler):
    """Speaks OSV's query and npm's bulk advisories; both know of holes in the packages `holes`."""

    holes: set[str]
    asked: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        query = json.loads(body)
        if self.path == "/v1/query":
            name = query["package"]["name"]
            self.asked.add(f"{name}=={query['version']}")
            vulnerability = {"id": "OSV-1", "summary": "a hole", "modified": "2026-01-01T00:00:00Z", "affected": []}
            self.answer({"vulns": [vulnerability]} if name in self.holes else {})
        else:
            assert self.path == "/-/npm/v1/security/advisories/bulk"
            self.asked.update(f"{name}@{version}" for name, versions in query.items() for version in versions)
            advisory = {"id": 1, "url": "", "title": "a hole", "severity": "high", "vulnerable_versions": "*"}
            self.answer({name: [advisory] for name in query if name in self.holes})

    def do_GET(self) -> None:
        """Of a package with a hole, and of those that need it, npm wants to know the versions: is there one without?"""
        name = unquote(self.path.removeprefix("/"))
        versions = {one["version"]: one | {"name": name} for one in INSTALLED[name]}
        self.answer({"name": name, "versions": versions, "dist-tags": {"latest": next(iter(versions))}})

    def answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def advisories(*holes: str) -> Iterator[tuple[dict[str, str], set[str]]]:
    """A source of advisories: the environment by which it is asked, and what was asked about."""
    handler = type("Handler", (Advisories,), {"holes": {*holes}, "asked": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        osv = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": f"{url}/v1/query"}
        try:
            yield osv | {"npm_config_registry": url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}, handler.asked
        finally:
            server.shutdown()
            thread.join()


def audit(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/audit"],
        cwd=ROOT,
        env=os.environ | {"npm_config_fetch_retries": "0"} | environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )


def test_it_asks_about_everything_and_says_that_there_is_no_hole() -> None:
    with advisories() as (environ, asked):
        done = audit(**environ)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "No known hole"
    # Not about what is only for other systems than this.
    locked = [re.findall(r"^([\w.-]+==\S+) \\$", (ROOT / path).read_text(), re.MULTILINE) for path in PYTHON]
    assert {name for names in locked for name in names} <= asked
    installed = {f"{name}@{one['version']}" for name, versions in INSTALLED.items() for one in versions}
    assert len(installed) > 10
    assert installed <= asked


def test_holes_are_said_with_where_they_are() -> None:
    with advisories("jupyterlab", "commander") as (environ, _):
        done = audit(**environ)
    assert done.returncode == 1, done.stdout
    assert re.search(r"^jupyterlab +\S+ +OSV-1", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^commander +\*", done.stdout, re.MULTILINE), done.stdout
    assert f"{NOT_CLEAN} singleuser/requirements.txt {NPM}. " in done.stdout
    assert "No known hole" not in done.stdout


def test_an_audit_that_could_ask_nobody_fails() -> None:
    nobody = "http://127.0.0.1:9"
    done = audit(HTTPS_PROXY=nobody, https_proxy=nobody, NO_PROXY="", no_proxy="")
    assert done.returncode == 1, done.stdout
    assert f"{NOT_CLEAN} {' '.join([*PYTHON, NPM])}" in done.stdout
    assert "No known hole" not in done.stdout
