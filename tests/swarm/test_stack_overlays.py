"""The kit on a swarm with its overlays, HTTPS and PostgreSQL, and images from a private registry."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support import registry
from support.kit import Kit
from support.pki import Authority
from support.stack import Stack
from support.standins import image_of, official
from support.swarm import Swarm
from support.wait import wait_until

FILES = "compose/compose.yaml:compose/compose.tls.yaml:compose/compose.postgres.yaml"
HOST = "hub.test"
PROFILES = """
- display_name: Small
  docker_override: {mem_limit: 512M}
"""
LOGO = '<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(scope="module")
def place(one_swarm: Swarm) -> Iterator[registry.Registry]:
    """A private registry that the nodes can reach."""
    with registry.registry(one_swarm.outside, private=True) as place:
        for node in one_swarm.nodes:
            node.configure(insecure_registries=[place.host])
        yield place


@pytest.fixture(scope="module")
def host(one_swarm: Swarm) -> Iterator[str]:
    """A name of the manager's."""
    address, real = one_swarm.managers[0].address, socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real(address if host in {HOST, HOST.encode()} else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield HOST


@pytest.fixture(scope="module")
def stack(
    one_swarm: Swarm, place: registry.Registry, host: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A kit that is up; its own images came to the workers from the registry."""
    folder = tmp_path_factory.mktemp("files")
    kit = Kit(tmp_path_factory.mktemp("kit"))
    stack = Stack(kit, one_swarm)
    authority = Authority(folder)
    certificate, key = authority.issue("edge", host)
    kit.authority = authority.root
    auth = base64.b64encode(f"{registry.USER}:{registry.PASSWORD}".encode()).decode()
    (folder / "auth.json").write_text(json.dumps({"auths": {place.host: {"auth": auth}}}))
    for name, text in (("password", "from-a-file-of-mine"), ("profiles.yaml", PROFILES), ("logo.svg", LOGO)):
        (folder / name).write_text(text)
    with official(image_of("tls", "edge")), official(image_of("postgres", "postgres")):
        try:
            kit.write_env(
                COMPOSE_FILE=FILES,
                PUBLIC_URL=f"https://{host}",
                BIND_ADDR="0.0.0.0",
                CERT_FILE=str(certificate),
                KEY_FILE=str(key),
                USER_PASSWORD=None,
                USER_PASSWORD_FILE=str(folder / "password"),
                PROFILES_FILE=str(folder / "profiles.yaml"),
                LOGO_FILE=str(folder / "logo.svg"),
                REGISTRY=f"{place.host}/lab",
                REGISTRY_AUTH_FILE=str(folder / "auth.json"),
                USERS_SUBNET="10.211.0.0/16",
                DOCKER_SOCKET="/node/docker.sock",
                DOCKER_GID=str(os.getgid()),
            )
            kit.make("build")
            # Not before: builds would trust it instead of what they need.
            kit.write_env(EXTRA_CA_FILE=str(authority.root))
            stack.send_images(one_swarm.managers[0])
            stack.up()
            yield stack
            stack.make("swarm-down")
            stack.wait_until_gone()
        finally:
            stack.make("swarm-down", check=False)
            kit.destroy()


def test_all_services_run_by_digest(stack: Stack, place: registry.Registry) -> None:
    assert set(stack.services()) == {"proxy", "hub", "gate", "beacon", "keeper", "edge", "postgres"}
    for name in ("proxy", "hub", "keeper"):
        image = stack.swarm.client.services.get(stack.services()[name]).attrs["Spec"]["TaskTemplate"]["ContainerSpec"]
        assert image["Image"].startswith(f"{place.host}/lab/{stack.project}-")
        assert "@sha256:" in image["Image"]


def test_a_notebook_from_the_private_registry_over_https(stack: Stack) -> None:
    frank = stack.user("frank", "from-a-file-of-mine").sign_in().started()
    with frank.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    container = stack.swarm.container_of(stack.servers()[0])
    assert container.attrs["NetworkSettings"]["Networks"][f"{stack.project}_users"]["IPAddress"].startswith("10.211.")
    assert container.attrs["HostConfig"]["Memory"] == 512 * 1024**2, "as his profile says"
    frank.stop()


def test_files_of_the_sheet_are_on_the_hubs_node(stack: Stack) -> None:
    logo = stack.user("grace", "from-a-file-of-mine").session.get(f"{stack.url}/hub/logo", timeout=10)
    assert (logo.text, logo.headers["Content-Type"]) == (LOGO, "image/svg+xml")
    trusted = stack.container("hub").exec_run(["sh", "-c", "cat $SSL_CERT_FILE"]).output.decode()
    assert stack.kit.authority
    assert trusted == stack.kit.authority.read_text()


def test_plain_http_is_sent_on_and_the_proxy_is_not_published(stack: Stack) -> None:
    answer = requests.get(f"http://{HOST}/hub/login", allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{HOST}/hub/login")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{stack.swarm.managers[0].address}:{stack.kit.port}/", timeout=10)


def test_users_are_in_the_database_and_nowhere_else(stack: Stack) -> None:
    query = ["psql", "--username=dockyard", "--tuples-only", "--no-align", "--command", "select name from users"]
    # On a busy node, what a command says is lost at times.
    wait_until(
        lambda: "frank" in stack.container("postgres").exec_run(query).output.decode().split(),
        timeout=30,
        what="frank is in the database",
    )
    assert "sqlite" not in stack.container("hub").exec_run(["ls", "/srv/dockyard/data"]).output.decode()
