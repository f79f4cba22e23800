"""The log of a real hub contains no unexpected warning, including Python's own warnings, and no secret."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import requests

from support.engine import marked
from support.hublog import problems
from support.jupyterhub import Hub
from support.repo import ROOT
from support.tiny import tiny_image
from support.venvs import python_of
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

SETTINGS = """
import sys
sys.path.insert(0, "{kit}")
from dockyard.hub import web
from jupyterhub.handlers import BaseHandler

class Broken(BaseHandler):
    def get(self):
        raise RuntimeError("no answer from https://sign-in.test" + self.request.uri)

c.JupyterHub.logging_config = web.LOGGING
c.JupyterHub.extra_handlers = [("/broken", Broken)]
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.poll_interval = 1
c.DockerSpawner.stop_action = "pause"
c.DockerSpawner.max_sleeping = 1
c.DockerSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.delete_policy = "delete"
c.DockerSpawner.profile_list = [
    {{"display_name": "Small", "slug": "small", "docker_override": {{"mem_limit": "256M"}}}},
    {{"display_name": "Large", "slug": "large", "docker_override": {{"mem_limit": "512M"}}}},
]
"""
# JupyterHub's messages about the hub and servers of these tests, and about normal operation.
EXPECTED = [
    r"extra_handlers is deprecated",
    r"testing authenticator DummyAuthenticator",
    r"Running JupyterHub without SSL",
    r"\[ConfigProxy\] .*Terminated",
    r"Received signal SIGTERM",
    # The tests check whether a user exists; one of them requests a profile that does not exist.
    r"404 GET /hub/api/users/\w+\?include_stopped_servers=1",
    r"400 POST /hub/api/users/ann/server ",
    r"(Not|Error) starting ann's server *: .*There is no profile no-such-profile",
    r"Exception in Future .*There is no profile no-such-profile",
    # The tests kill two servers.
    r"The server in dyt\w+-(ann|bob) ended with exit code 137",
    r"bob appears to have stopped while the Hub was down",
    r"User (ann|bob) server stopped with exit code: 137",
    # The server of the tiny image is not a JupyterHub server.
    r"Single-user server has no version header",
    # The killed hub leaves its proxy running, without routes for the servers that the next hub finds.
    r"Found proxy pid file",
    r"Proxy still running at pid",
    r"Stopped proxy at pid",
    r"Adding missing route for /user/\w+/ ",
    # JupyterHub 5 has a schema about which its own library warns.
    r"JupyterEventsVersionWarning: .*/jupyterhub/events/server-action",
    r"Deleting OAuth client jupyterhub-user-\w+",
]


@pytest.fixture(scope="module", params=["jupyterhub6", "jupyterhub5"])
def python(request: pytest.FixtureRequest) -> str:
    return sys.executable if request.param == "jupyterhub6" else python_of(request.param)


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient, python: str) -> Iterator[str]:
    """Depends on `python` so that each hub gets a separate one."""
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, python: str) -> Iterator[Hub]:
    settings = SETTINGS.format(kit=ROOT / "hub", image=tiny_image(), instance=instance, network=network)
    folder = tmp_path_factory.mktemp("hub")
    with Hub(folder, settings, python, environment={"PYTHONWARNINGS": "default"}) as hub:
        yield hub


def asked(hub: Hub, name: str, **options: Any) -> int:
    hub.user(name)
    return int(hub.http.post(f"{hub.api}/users/{name}/server", json=options).status_code)


def test_a_day_of_a_hub_logs_no_warning_that_is_not_known_by_name(hub: Hub, client: Any, instance: str) -> None:
    """Servers start, are polled, sleep, wake, end and are deleted, with their users; the hub is killed meanwhile."""

    def ended() -> int:
        found = client.api.containers(all=True, filters={"label": f"dockyard.instance={instance}", "status": "exited"})
        return len(found)

    def starts(name: str, **options: Any) -> None:
        assert asked(hub, name, **options) in (201, 202)
        wait_until(lambda: hub.user(name)["servers"][""]["ready"], timeout=30)

    began = len(hub.log)
    starts("ann", profile="small")
    starts("bob", profile="large")
    hub.halt("bob")
    starts("bob")
    hub.halt("ann")
    assert asked(hub, "ann", profile="no-such-profile") in (201, 202, 400)
    wait_until(lambda: not hub.is_running("ann"), timeout=20)
    starts("ann", fresh=True)
    hub.halt("ann")
    assert hub.spawn("cleo", "lab")[-1].get("ready")
    hub.halt("cleo", "lab")
    wait_until(lambda: ended() == 1, timeout=20, what="only one server may sleep: ann's, the older one, has ended")
    assert hub.spawn("ann")[-1].get("ready")
    hub.kill()
    client.containers.get(f"{instance}-bob").kill()
    hub.start()
    wait_until(lambda: not hub.is_running("bob") and hub.is_running("ann"), timeout=30)
    client.containers.get(f"{instance}-ann").kill()
    wait_until(lambda: not hub.is_running("ann"), timeout=30)
    hub.http.delete(f"{hub.api}/users/cleo/servers/lab", json={"remove": True}).raise_for_status()
    for name in ("ann", "bob", "cleo"):
        hub.http.delete(f"{hub.api}/users/{name}").raise_for_status()
    assert problems(hub.log[began:], EXPECTED) == []


def test_requests_that_fail_leave_no_secret_in_the_log(hub: Hub) -> None:
    secret = secrets.token_urlsafe(24)
    parameters = ["_xsrf", "code", "state", "access_token", "id_token", "client_secret"]
    query = "&".join(f"{name}={secret}" for name in parameters)
    query += f"&next=%2Fhub%2Fx%3Ftoken%3D{secret}%26code%3D{secret}%2526{secret}%26state%3D{secret}"
    headers = {
        "Authorization": f"Bearer {secret}",
        "Cookie": f'_xsrf={secret}; jupyterhub-session-id="{secret}"',
        "Referer": f"{hub.url}/hub/login?_xsrf={secret}",
        "X-CSRFToken": secret,
        "X-XSRFToken": secret,
    }
    began, base = len(hub.log), hub.api.removesuffix("/api")
    statuses = [
        requests.request(method, f"{base}/{path}?{query}", headers=headers, allow_redirects=False).status_code
        for method, path in [
            ("POST", "login"),
            ("GET", "broken"),
            ("GET", "nosuch"),
            ("GET", "home"),
            ("GET", "api/user"),
        ]
    ]
    assert statuses == [403, 500, 404, 302, 403]
    wait_until(lambda: "403 GET /hub/api/user" in hub.log[began:], timeout=10)
    log = hub.log[began:]
    assert "Uncaught exception GET /hub/broken" in log
    assert '"X-Xsrftoken": "[secret]"' in log
    assert [line for line in log.splitlines() if secret in line] == []
