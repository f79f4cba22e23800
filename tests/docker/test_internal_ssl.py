"""internal_ssl: a real hub whose servers and it call each other by TLS with certificates, and real notebooks."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from support.engine import marked
from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.user import User
from support.venvs import python_of
from support.wire import said_to_a_stranger

pytestmark = pytest.mark.needs("engine")

SETTINGS = """
c.JupyterHub.internal_ssl = True
c.JupyterHub.trusted_alt_names = ["IP:{gateway}"]
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.DockerSpawner.image = "{image}"
c.DockerSpawner.ready_check = "jupyterhub"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
# The hub is on the host, which does not resolve the names of containers.
c.DockerSpawner.use_internal_hostname = c.DockerSpawner.use_internal_ip = False
c.DockerSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.extra_host_config = {{"cap_drop": ["ALL"]}}
c.DockerSpawner.certs_volume_name = "{instance}-shared-{{username}}"

# Answers anything by TLS to whom the authorities know, as a notebook does, and starts sooner.
SERVE = \"\"\"
import http.server, os, ssl
files = [os.environ["JUPYTERHUB_SSL_" + name] for name in ("CLIENT_CA", "CERTFILE", "KEYFILE")]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files[0])
context.load_cert_chain(*files[1:])
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("", 8888), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
\"\"\"

def before(spawner):
    if spawner.user.name == "bob":
        spawner.cmd, spawner.stop_timeout = ["python3", "-c", SERVE], 1
        spawner.ready_check = "http"
        spawner.extra_host_config = {{"cap_drop": ["ALL"], "read_only": True}}
    spawner.stop_action = "pause" if spawner.name == "nap" else "stop"

c.DockerSpawner.pre_spawn_hook = before
"""

FOLDER = "/jupyterhub-ssl"


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient) -> Iterator[str]:
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, gateway: str
) -> Iterator[Hub]:
    """Of the JupyterHub that the test names."""
    python = sys.executable if request.param == "jupyterhub6" else python_of(request.param)
    settings = SETTINGS.format(image=notebook_image(), instance=instance, network=network, gateway=gateway)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings, python, address=gateway)
    # The hub itself lets in only who has a certificate: its proxy has one.
    hub.api = f"{hub.url}/hub/api"
    with hub:
        yield hub


def run(client: docker.DockerClient, name: str, *command: str, user: str = "") -> str:
    ran = client.containers.get(name).exec_run(list(command), user=user)
    assert ran.exit_code == 0, ran.output
    return str(ran.output.decode())


def keys_volume(client: docker.DockerClient, name: str) -> str:
    (mount,) = (one for one in client.containers.get(name).attrs["Mounts"] if one["Destination"] == FOLDER)
    return str(mount["Name"])


@pytest.mark.parametrize("hub", ["jupyterhub6"], indirect=True)
def test_two_servers_of_a_user_with_a_key_each_run_cells_by_tls(hub: Hub, client: Any, instance: str) -> None:
    ann = User(hub.url, "ann", "any").sign_in().started()
    assert ann.start("lab")[-1].get("ready")
    with ann.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    assert ann.session.get(f"{hub.url}/user/ann/lab/api/status", timeout=30).url.endswith("/user/ann/lab/api/status")

    names = [f"{instance}-ann", f"{instance}-ann--lab"]
    found = [run(client, name, "cat", f"{FOLDER}/key.pem") for name in names]
    assert all("PRIVATE KEY" in key for key in found)
    assert found[0] != found[1]
    assert len({keys_volume(client, name) for name in names}) == 2
    for name in names:
        assert run(client, name, "sh", "-c", f"stat -c '%a %u %n' {FOLDER}/*; id -u") == (
            f"600 1000 {FOLDER}/ca.pem\n600 1000 {FOLDER}/cert.pem\n600 1000 {FOLDER}/key.pem\n1000\n"
        )
        refused = client.containers.get(name).exec_run(["cat", f"{FOLDER}/key.pem"], user="1001:100")
        assert refused.exit_code != 0
        changed = {change["Path"] for change in client.containers.get(name).diff() or ()}
        assert f"{FOLDER}/key.pem" not in changed
    assert client.volumes.list(filters={"name": f"{instance}-shared"}) == []

    # Nobody without a certificate of the hub's gets as far as an answer.
    ports = client.containers.get(names[0]).attrs["NetworkSettings"]["Ports"]["8888/tcp"][0]
    with pytest.raises((ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        said_to_a_stranger(ports["HostIp"], int(ports["HostPort"]))
    for server in ("", "lab"):
        hub.halt("ann", server)


@pytest.mark.parametrize("hub", ["jupyterhub6", "jupyterhub5"], indirect=True)
def test_a_kept_server_gets_new_keys_and_one_that_sleeps_goes_on(hub: Hub, client: Any, instance: str) -> None:
    for server, is_new in (("kept", True), ("nap", False)):
        name = f"{instance}-bob--{server}"
        assert hub.spawn("bob", server)[-1].get("ready")
        before, made = run(client, name, "cat", f"{FOLDER}/key.pem"), client.containers.get(name).id
        hub.halt("bob", server)
        assert hub.spawn("bob", server)[-1].get("ready")
        assert client.containers.get(name).id == made
        assert (run(client, name, "cat", f"{FOLDER}/key.pem") != before) is is_new
        volume = keys_volume(client, name)
        hub.halt("bob", server)
        hub.http.delete(f"{hub.api}/users/bob/servers/{server}", json={"remove": True}).raise_for_status()
        assert volume not in [one.name for one in client.volumes.list()]
