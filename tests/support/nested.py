"""Docker engines of a test's own, to be stopped, killed, filled and set anew: each in a privileged container."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import docker.errors
import requests
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool, Mount

from support.debian import debian_image
from support.freezing import freeze
from support.wait import wait_until

# A killed engine leaves its pid files, and the number may be another process's by now. Under cgroup 2 a group that
# has processes of its own can't have limited groups below it. Of a seed, an engine has its own records; its layers, of
# which nothing but a mark is ever written, are led to.
BOOT = """\
docker=/var/lib/docker
if [ -d /seed ] && [ ! -e $docker/image ]; then
  mkdir -p $docker/overlay2
  cp -a /seed/overlay2/l $docker/overlay2
  find /seed/overlay2 -mindepth 1 -maxdepth 1 ! -name l -exec ln -s -t $docker/overlay2 {} +
  cp -a /seed/image $docker
fi
cgroup=/sys/fs/cgroup
if [ -f $cgroup/cgroup.controllers ]; then
  mkdir -p $cgroup/init
  xargs -rn1 <$cgroup/cgroup.procs >$cgroup/init/cgroup.procs 2>/dev/null || :
  sed 's/ / +/g; s/^/+/' <$cgroup/cgroup.controllers >$cgroup/cgroup.subtree_control
fi
rm -f /run/docker.pid
exec dockerd --config-file /node/daemon.json >>/node/dockerd.log 2>&1
"""


class Node:
    """A machine with an engine on it.

    `url` is its API, from this machine. `address` is its own on the outer network, which it keeps: ports that its
    containers publish answer there, to this machine and to other nodes. `outside` is this machine's, as the node sees
    it. `folder` is /node on the node.
    """

    def __init__(
        self, container: Container, network: Network, address: str, folder: Path, settings: dict[str, Any]
    ) -> None:
        self.container = container
        self.network = network
        self.address = address
        self.outside = _gateway(network)
        self.folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self._settings = {
            "hosts": ["unix:///node/docker.sock"],
            "group": str(os.getgid()),
            "containerd": "/run/containerd/containerd.sock",
            "shutdown-timeout": 3,
            **_spelled(settings),
        }
        self._write_settings()

    def _write_settings(self) -> None:
        (self.folder / "daemon.json").write_text(json.dumps(self._settings))

    @cached_property
    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.url, timeout=30)

    def close(self) -> None:
        if "client" in vars(self):
            self.client.close()

    @property
    def log(self) -> str:
        path = self.folder / "dockerd.log"
        return path.read_text() if path.exists() else ""

    def run(self, command: str, check: bool = True) -> str:
        """Run a shell command on the node; returns what it printed."""
        code, output = self.container.exec_run(["sh", "-c", command])
        assert not check or code == 0, f"{command} ended with {code}: {output.decode()}"
        return str(output.decode())

    def start(self) -> None:
        """Start the engine, and return when it answers."""
        before = len(self.log)
        self.container.exec_run(["sh", "-c", BOOT], detach=True)
        try:
            wait_until(self.answers, timeout=60, interval=0.02, what=f"the engine of {self.container.name} answers")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log[before:][-4000:]}") from None

    def answers(self) -> bool:
        # It listens before it is ready, and answers then.
        with suppress(requests.ConnectionError):
            return self.is_up() and bool(self.client.ping())
        return False

    def is_up(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.url.removeprefix("unix://")) == 0

    def stop(self) -> None:
        """Stop the engine in good order; its containers end, unless it has live_restore."""
        self.signal("TERM")
        self._wait_until_ended()

    def kill(self) -> None:
        """End the engine as a crash would; its containers go on."""
        self.signal("KILL")
        self._wait_until_ended()

    def signal(self, name: str) -> None:
        """Send the engine a signal; STOP makes it hang, CONT go on."""
        self.run(f"pkill -x -{name} dockerd")

    def _wait_until_ended(self) -> None:
        wait_until(lambda: not self.run("pgrep -x dockerd", check=False), timeout=30, what="the engine has ended")

    def configure(self, **settings: Any) -> None:
        """Change what a running engine reads again: live_restore, insecure_registries, registry_mirrors."""
        self._settings |= _spelled(settings)
        self._write_settings()
        before = self.log.count("Reloaded configuration")
        self.signal("HUP")
        wait_until(lambda: self.log.count("Reloaded configuration") > before, timeout=10, what="settings read again")

    def switch_off(self) -> None:
        """End all that runs on the machine at once; without a `disk` of its own size its volumes stay."""
        self.container.kill()

    def switch_on(self) -> None:
        """Start the machine, and return when its engine answers."""
        self.container.start()
        self.start()

    def restart(self) -> None:
        self.switch_off()
        self.switch_on()

    def freeze(self) -> None:
        """Stop all that runs on the machine in the middle of what it does, until `thaw`."""
        freeze(self.container)

    def thaw(self) -> None:
        self.container.unpause()

    def unplug(self) -> None:
        """Cut its network; what runs on it goes on, and `url` answers."""
        self.network.disconnect(self.container)

    def plug_in(self) -> None:
        self.network.connect(self.container, ipv4_address=self.address)

    @contextmanager
    def refusing(self, addresses: str) -> Iterator[None]:
        """Have nothing that its containers send to these addresses leave the machine, but by networks of a swarm."""
        rule = f"DOCKER-USER -d {addresses} -j REJECT"
        self.run(f"iptables --wait -I {rule}")
        try:
            yield
        finally:
            self.run(f"iptables --wait -D {rule}")

    def containers(self) -> dict[str, str]:
        """Name and id of every container that there is, running or not."""
        return {one["Names"][0].lstrip("/"): one["Id"] for one in self.client.api.containers(all=True)}

    def load(self, *images: str) -> None:
        """Have images of the outer engine here; what they have in common is sent once."""
        command = ["sh", "-euc", 'docker save "$@" | docker --host "$0" load --quiet', self.url, *images]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def nodes(
    count: int,
    disk: str = "",
    shared: Path | None = None,
    folders: Iterable[Path] = (),
    seed: str = "",
    store: str | None = None,
    **settings: Any,
) -> Iterator[list[Node]]:
    """Machines on one network, each with a running engine.

    `disk` is the size of each engine's own file system, such as 64m, which lives in memory; else that is the volume
    `store`, one of its own where none is named. `shared` is a folder that all have as /shared, `folders` are others
    that they have by the names of this machine. `seed` is a volume of `seeded`. `settings` are those of dockerd's
    daemon.json, with _ for -.
    """
    image = debian_image("dockyard-test/engine:1", "docker.io", "iptables", "procps")
    name = f"dyt{secrets.token_hex(3)}-engine"
    with ExitStack() as stack:
        client = docker.from_env()
        stack.callback(client.close)
        network = _network(client, name)
        stack.callback(network.remove)
        gateway = ip_address(_gateway(network))
        found = []
        for number in range(1, count + 1):
            folder = stack.enter_context(TemporaryDirectory(prefix=f"{name}-"))
            address = str(gateway + number)
            container = client.containers.create(
                image,
                ["containerd"],
                name=f"{name}-{number}",
                hostname=f"{name}-{number}",
                privileged=True,
                # Else each container that ends in it leaves a zombie.
                init=True,
                network=network.name,
                networking_config={network.name: client.api.create_endpoint_config(ipv4_address=address)},
                mounts=[
                    Mount("/node", folder, type="bind"),
                    *[Mount("/var/lib/docker", store)] * (not disk),
                    *[Mount("/shared", str(shared), type="bind")] * (shared is not None),
                    *[Mount(str(path), str(path), type="bind") for path in folders],
                    *[Mount("/seed", seed)] * bool(seed),
                ],
                # What it holds does not outlive the machine, and pid files don't either.
                tmpfs={"/run": "exec"} | ({"/var/lib/docker": f"exec,size={disk}"} if disk else {}),
            )
            stack.callback(container.remove, force=True, v=True)
            container.start()
            found.append(Node(container, network, address, Path(folder), settings))
            stack.callback(found[-1].close)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(Node.start, found))
        yield found


@contextmanager
def node(disk: str = "", **settings: Any) -> Iterator[Node]:
    """A single one of `nodes`."""
    with nodes(1, disk, **settings) as (one,):
        yield one


@contextmanager
def seeded(*images: str) -> Iterator[str]:
    """A volume by which engines have these images of the outer engine from their first start on, in no time."""
    with closing(docker.from_env()) as client:
        volume = client.volumes.create(f"dyt{secrets.token_hex(3)}-seed")
        try:
            with nodes(1, store=volume.name) as (one,):
                one.load(*images)
                one.stop()
            yield str(volume.name)
        finally:
            volume.remove()


def _gateway(network: Network) -> str:
    return str(network.attrs["IPAM"]["Config"][0]["Gateway"])


def _spelled(settings: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in settings.items()}


def _network(client: docker.DockerClient, name: str) -> Network:
    """A bridge on which addresses can be asked for: the engine wants its subnet to be named for that."""
    while True:
        proposed = client.networks.create(name)
        proposed.reload()
        (pool,) = proposed.attrs["IPAM"]["Config"]
        proposed.remove()
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=pool["Subnet"], gateway=pool["Gateway"])])
        try:
            network = client.networks.create(name, ipam=ipam)
        except docker.errors.APIError as error:
            if "overlaps" not in str(error):
                raise
            # Somebody else was given it in between.
            continue
        network.reload()
        return network
