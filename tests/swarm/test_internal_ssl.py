"""internal_ssl on a swarm: a real notebook whose key, a secret of the swarm, comes to its node and goes with it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from dockerspawner._start.certificates import FILES, FOLDER
from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.swarm import Swarm
from support.swarmhub import Notebook
from support.swarmhub import notebook_hub as running_notebook_hub
from support.wire import said_to_a_stranger

pytestmark = pytest.mark.needs("swarm")

# The hub is beside the swarm: it calls nodes, not names on their network, and each side's certificate is for those.
SETTINGS = """
c.JupyterHub.internal_ssl = True
c.JupyterHub.trusted_alt_names = {addresses}
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.SwarmSpawner.network_name = "{network}"
c.SwarmSpawner.use_internal_hostname = False
c.SwarmSpawner.extra_container_spec = {{"user": "1000:100", "cap_drop": ["ALL"]}}
"""


@pytest.fixture(scope="module")
def notebook_hub(one_swarm: Swarm, instance: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    network = one_swarm.client.networks.create(f"{instance}-users", driver="overlay", attachable=True)
    addresses = [f"IP:{address}" for address in (one_swarm.outside, *(node.address for node in one_swarm.nodes))]
    settings = SETTINGS.format(addresses=addresses, network=network.name)
    hub = running_notebook_hub(tmp_path_factory.mktemp("hub"), one_swarm, instance, notebook_image(), settings)
    # The hub itself lets in only who has a certificate: its proxy has one.
    hub.api = f"{hub.url}/hub/api"
    with hub:
        yield hub


def secrets_of(swarm: Swarm, instance: str) -> list[str]:
    return sorted(one.name for one in swarm.client.secrets.list(filters={"label": f"dockyard.instance={instance}"}))


def test_cells_run_by_tls_with_a_key_that_only_its_server_has(
    notebook_hub: Hub, swarm: Swarm, instance: str, new_user: Any
) -> None:
    ann: Notebook = new_user("ann").placed(*swarm.workers).sign_in().started()
    with ann.kernel() as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    assert len(secrets_of(swarm, instance)) == len(FILES)
    container = swarm.container_of(ann.service)
    seen = container.exec_run(["sh", "-c", f"cd {FOLDER} && stat -c '%a %u %n' * && stat -f -c %T *"]).output.decode()
    assert seen.split("\n")[:-1] == ["400 1000 ca.pem", "400 1000 cert.pem", "400 1000 key.pem", *["tmpfs"] * 3]

    # Nobody without a certificate of the hub's gets as far as an answer.
    (port,) = {one["PublishedPort"] for one in swarm.tasks(ann.service)[0]["Status"]["PortStatus"]["Ports"]}
    certs = notebook_hub.folder / "internal-ssl"
    own = tuple(str(certs / f"hub-internal/hub-internal.{kind}") for kind in ("crt", "key"))
    url, trusted = f"https://{ann.node.address}:{port}/user/{ann.name}/api", str(certs / "hub-ca_trust.crt")
    assert requests.get(url, cert=own, verify=trusted, timeout=30).json()["version"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        said_to_a_stranger(ann.node.address, port)
    notebook_hub.halt(ann.name)
    assert secrets_of(swarm, instance) == []
