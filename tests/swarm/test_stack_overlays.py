"""The kit on three managers with its overlays, HTTPS and PostgreSQL, and images from a private registry.

One manager has the edge, the proxy and the database, the leader has the hub, and the third has what is left.
"""

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
from support.nested import Node
from support.pki import Authority
from support.stack import Stack
from support.standins import official
from support.swarm import KILLED, Swarm
from support.user import Kernel, User
from support.wait import wait_until

FILES = "compose/compose.yaml:compose/compose.tls.yaml:compose/compose.postgres.yaml"
HOST = "hub.test"
PROFILES = """
- display_name: Small
  docker_override: {mem_limit: 512M}
"""
LOGO = '<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(scope="module")
def one_swarm(three_managers: Swarm) -> Swarm:
    return three_managers


@pytest.fixture(scope="module")
def leader(one_swarm: Swarm) -> Node:
    return one_swarm.leader


@pytest.fixture(scope="module")
def front(one_swarm: Swarm, leader: Node) -> Node:
    """Where users come in, and where the operator works."""
    return next(node for node in one_swarm.managers if node is not leader)


@pytest.fixture(scope="module")
def place(one_swarm: Swarm) -> Iterator[registry.Registry]:
    """A private registry that the nodes can reach."""
    with registry.registry(one_swarm.outside, private=True) as place:
        for node in one_swarm.nodes:
            node.configure(insecure_registries=[place.host])
        yield place


@pytest.fixture(scope="module")
def host(front: Node) -> Iterator[str]:
    """A name of that manager's."""
    address, real = front.address, socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real(address if host in {HOST, HOST.encode()} else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield HOST


@pytest.fixture(scope="module")
def stack(
    one_swarm: Swarm,
    leader: Node,
    front: Node,
    place: registry.Registry,
    host: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A kit that is up; its own images came to the other nodes from the registry."""
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
    with stack.removed():
        kit.write_env(
            COMPOSE_FILE=FILES,
            EDGE_IMAGE=official("caddy"),
            POSTGRES_IMAGE=official("postgres"),
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
        stack.send_images(front)
        one_swarm.label(front, **{"dockyard.proxy": "true", "dockyard.postgres": "true"})
        one_swarm.label(leader, **{"dockyard.hub": "true"})
        stack.up(on=front)
        yield stack


def test_all_services_run_by_digest(stack: Stack, place: registry.Registry) -> None:
    assert set(stack.services()) == {"proxy", "hub", "gate", "beacon", "keeper", "edge", "postgres"}
    for name in ("proxy", "hub", "keeper"):
        image = stack.swarm.client.services.get(stack.services()[name]).attrs["Spec"]["TaskTemplate"]["ContainerSpec"]
        assert image["Image"].startswith(f"{place.host}/lab/{stack.project}-")
        assert "@sha256:" in image["Image"]


def test_a_notebook_from_the_private_registry_over_https_reaches_nothing_of_ours(stack: Stack) -> None:
    frank = stack.user("frank", "from-a-file-of-mine").sign_in().started()
    (server,) = stack.servers()
    container = stack.swarm.container_of(server)
    with frank.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
        assert stack.open_to(server, kernel) == {("hub", 8081), ("proxy", 8000)}
    assert stack.open_to(f"{stack.project}_hub") >= {("gate", 2375), ("proxy", 8001), ("postgres", 5432)}
    assert container.attrs["NetworkSettings"]["Networks"][f"{stack.project}_users"]["IPAddress"].startswith("10.211.")
    assert container.attrs["HostConfig"]["Memory"] == 512 * 1024**2, "as his profile says"
    frank.stop()


def test_files_of_the_sheet_are_on_the_hubs_node(stack: Stack) -> None:
    logo = stack.user("grace", "from-a-file-of-mine").session.get(f"{stack.url}/hub/logo", timeout=10)
    assert (logo.text, logo.headers["Content-Type"]) == (LOGO, "image/svg+xml")
    trusted = stack.container("hub").exec_run(["sh", "-c", "cat $SSL_CERT_FILE"]).output.decode()
    assert stack.kit.authority
    assert trusted == stack.kit.authority.read_text()


def test_plain_http_is_sent_on_and_the_proxy_is_not_published(stack: Stack, front: Node) -> None:
    answer = requests.get(f"http://{HOST}/hub/login", allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{HOST}/hub/login")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{front.address}:{stack.kit.port}/", timeout=10)


def test_users_are_in_the_database_and_nowhere_else(stack: Stack) -> None:
    query = ["psql", "--username=dockyard", "--tuples-only", "--no-align", "--command", "select name from users"]
    # On a busy node, what a command says is lost at times.
    wait_until(
        lambda: "frank" in stack.container("postgres").exec_run(query).output.decode().split(),
        timeout=30,
        what="frank is in the database",
    )
    data = "/srv/dockyard/data"
    elsewhere = ["sh", "-c", f"test -d {data} && test ! -e {data}/jupyterhub.sqlite"]
    assert stack.container("hub").exec_run(elsewhere).exit_code == 0


# Counts, and writes down what it counts, whoever looks.
COUNT = """
import itertools, threading, time

def count():
    with open("counted.txt", "w", buffering=1) as file:
        for number in itertools.count():
            print(number, file=file)
            time.sleep(0.05)

def counted():
    numbers = [int(line) for line in open("counted.txt")]
    assert numbers == list(range(len(numbers))), "a gap"
    return len(numbers)

threading.Thread(target=count, daemon=True).start()
"""


def goes_on(kernel: Kernel) -> None:
    """It counts on, and has left nothing out."""
    before = int(kernel.run("print(counted())"))
    wait_until(lambda: int(kernel.run("print(counted())")) > before, timeout=10, what="the kernel counts on")


def runs_elsewhere(swarm: Swarm, service: str, node: Node) -> bool:
    task = swarm.running(service)
    return bool(task) and swarm.node(task["NodeID"]) is not node


def knows_server_of(user: User) -> bool:
    try:
        return bool(user.model()["servers"].get("", {}).get("ready"))
    except requests.RequestException:
        return False


def names(admin: User) -> set[str]:
    listed = admin.api("GET", "/users")
    listed.raise_for_status()
    return {user["name"] for user in listed.json()}


def test_the_hub_comes_back_on_another_manager_and_kernels_go_on(stack: Stack, leader: Node, front: Node) -> None:
    """Leader, hub and gate are lost at once. The user's server is on the third node."""
    swarm, password = stack.swarm, "from-a-file-of-mine"
    hub = f"{stack.project}_hub"
    (third,) = (node for node in swarm.managers if node not in (leader, front))
    for node in (front, leader):
        swarm.change(node, Availability="pause")
    heidi = stack.user("heidi", password).sign_in().started()
    for node in (front, leader):
        swarm.change(node, Availability="active")
    admin = stack.user("admin").sign_in()
    users = names(admin)
    (server,) = stack.servers()
    assert (swarm.node_of(hub), swarm.node_of(server)) == (leader, third)
    task = swarm.running(server)["ID"]
    for node in (front, third):
        swarm.label(node, **{"dockyard.hub": "true"})
    with heidi.kernel() as kernel:
        kernel.run(COUNT)
        with swarm.lost(leader, KILLED):
            goes_on(kernel)
            wait_until(swarm.has_quorum, timeout=90, what="another manager leads")
            wait_until(lambda: runs_elsewhere(swarm, hub, leader), timeout=180, what="a healthy hub on another node")
            wait_until(lambda: knows_server_of(heidi), timeout=60, what="users come to it, and it knows their servers")
            goes_on(kernel)
            # By the session that the lost hub gave her.
            assert names(admin) == users >= {"admin", "heidi"}
            assert swarm.running(server)["ID"] == task
            goes_on(kernel)
            judy = stack.user("judy", password).sign_in().started()
            judy.stop()
        swarm.recover()
        goes_on(kernel)
    heidi.stop()
    heidi.started()
    with heidi.kernel() as kernel:
        assert kernel.run("print(open('counted.txt').read(4))") == "0\n1\n\n"
    assert swarm.node_of(server) is third
    heidi.stop()
