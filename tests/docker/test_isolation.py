"""A network for each user's server: who reaches whom, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from docker.types import IPAMConfig, IPAMPool

from dockerspawner import DockerSpawner
from dockerspawner._engine.watch import Watch
from support.engine import clean
from support.jupyterhub import Hub
from support.missing import missing
from support.tiny import tiny_image
from support.wait import until, wait_until

pytestmark = pytest.mark.needs("engine")

HOME = "/home/jovyan"
SILENT = ["sleep", "1000"]


class Site:
    """A hub and a proxy, played by containers on a network of their own."""

    def __init__(self, client: docker.DockerClient, name: str) -> None:
        self.client = client
        self.name = name
        self.home = client.networks.create(f"{name}-home")
        for role in ("hub", "proxy"):
            self.run(role)

    def run(self, role: str) -> Any:
        """A new container of that role, in the place of the one before."""
        name = f"{self.name}-{role}"
        for before in self.client.containers.list(all=True, filters={"name": f"^{name}$"}):
            before.remove(force=True)
        create, start = self.client.api.create_container, self.client.api.start
        on = self.client.api.create_networking_config(
            {self.home.name: self.client.api.create_endpoint_config(aliases=[role])}
        )
        host = self.client.api.create_host_config(network_mode=self.home.name)
        created = create(tiny_image(), name=name, host_config=host, networking_config=on, labels={"role": name})
        start(created["Id"])
        return self.client.containers.get(created["Id"])

    def on(self, role: str) -> set[str]:
        """Networks that a role's container is on, besides its home."""
        attrs = self.client.containers.get(f"{self.name}-{role}").attrs
        return set(attrs["NetworkSettings"]["Networks"]) - {self.home.name}

    def leave_all(self) -> None:
        for role in ("hub", "proxy"):
            for network in self.on(role):
                self.client.api.disconnect_container_from_network(f"{self.name}-{role}", network, force=True)


class Isolated:
    """Servers of one test's instance, each on a network of its own."""

    def __init__(self, site: Site, instance: str, make: Callable[..., DockerSpawner]) -> None:
        self.client = site.client
        self.instance = instance
        self.hub = f"{site.name}-hub"
        self.proxy = f"{site.name}-proxy"
        self.run = site.run
        self.on = site.on
        self._make = make

    def make(self, username: str = "ann", server: str = "", **traits: Any) -> DockerSpawner:
        settings = {
            "network_isolation": "per-user",
            "hub_connect_url": "http://hub:8081",
            "attached_containers": [self.hub, f"role={self.proxy}"],
            "remove": True,
        }
        return self._make(username, server, **{**settings, **traits})

    def restarted(self, spawner: DockerSpawner, **traits: Any) -> DockerSpawner:
        """The spawner of a hub that was started anew, with the state that the one before has saved."""
        spawner.engine.networks.clear()
        spawner._watch._follower.cancel()
        spawner.engine.forget(Watch, spawner.instance)
        another = self.make(spawner.user.name, **{"remove": spawner.remove, **traits})
        another.load_state(spawner.get_state())
        return another

    def networks(self) -> list[str]:
        """Users' networks that there are."""
        found = self.client.networks.list(filters={"label": f"dockyard.instance={self.instance}"})
        return sorted(str(one.name) for one in found if "dockyard.user" in one.attrs["Labels"])

    def addresses(self, name: str) -> dict[str, str]:
        """Addresses of a container by network."""
        networks = self.client.containers.get(name).attrs["NetworkSettings"]["Networks"]
        return {network: entry["IPAddress"] for network, entry in networks.items()}

    def reached(self, spawner: DockerSpawner, *hosts: str, port: int = 8888) -> set[str]:
        """Of these names and addresses, those at which a process in the server is answered."""
        ask = r"printf 'GET / HTTP/1.0\r\n\r\n' | timeout 2 nc -w 1"
        # Of busybox only nslookup knows of names.
        look = "nslookup $host 127.0.0.11 | sed -n '/^Name/,$s/^Address: *//p' | head -n 1"
        one = (
            f"case $host in [0-9]*) at=$host;; *) at=$({look});; esac; {ask} $at {port} | grep -q HTTP/1 && echo $host"
        )
        server = self.client.containers.get(spawner.object_id)
        script = f"for host in {' '.join(hosts)}; do ({one}) & done; wait"
        return set(server.exec_run(["sh", "-c", script]).output.decode().split()) & set(hosts)

    def reaches(self, spawner: DockerSpawner, host: str, port: int = 8888) -> bool:
        return host in self.reached(spawner, host, port=port)


@pytest.fixture(scope="module")
def roles(client: docker.DockerClient) -> Iterator[Site]:
    name = f"dyt{secrets.token_hex(3)}"
    try:
        yield Site(client, name)
    finally:
        clean(client, name)


@pytest.fixture
def site(roles: Site, instance: str, make: Any) -> Iterator[Isolated]:
    yield Isolated(roles, instance, make)
    roles.leave_all()


@pytest.fixture
def outside(client: docker.DockerClient, network: str) -> Iterator[tuple[str, int]]:
    """Something that listens where no server has an address: on the host's side of another network."""
    attrs = client.networks.get(network).attrs
    address = attrs["IPAM"]["Config"][0]["Gateway"]
    server = http.server.ThreadingHTTPServer((address, 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address, server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def far() -> Iterator[str]:
    """A host of its own beyond the engine's: where what goes there is forwarded, so is what goes to the internet."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        missing("another host can't be played here: that takes root and iproute2")
    name, number = f"dyt{secrets.token_hex(3)}", secrets.randbelow(63)
    near, far = (f"198.51.100.{4 * number + host}" for host in (1, 2))

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)

    ip(f"netns add {name}")
    ip(f"link add {name}n type veth peer name {name}f netns {name}")
    try:
        ip(f"addr add {near}/30 dev {name}n")
        ip(f"link set {name}n up")
        ip(f"-n {name} addr add {far}/30 dev {name}f")
        ip(f"-n {name} link set {name}f up")
        serve = ["ip", "netns", "exec", name, sys.executable, "-m", "http.server", "8888"]
        with subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            wait_until(lambda: answers(far, 8888), timeout=20, what=f"a server in {name}")
            yield far
            server.kill()
    finally:
        ip(f"link del {name}n")
        ip(f"netns del {name}")


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


async def stop(*spawners: DockerSpawner) -> None:
    await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))


# Who reaches whom


async def test_a_server_reaches_hub_proxy_and_outside_but_no_other_server(site: Isolated, outside: Any) -> None:
    ann, bob = site.make("ann"), site.make("bob", "lab")
    (host, _), _ = await asyncio.gather(ann.start(), bob.start())
    assert host == site.addresses(ann.object_name)[ann.object_name]
    assert site.networks() == sorted([ann.object_name, bob.object_name])

    assert site.reaches(ann, *outside)
    theirs = site.addresses(bob.object_name)
    assert set(theirs) == {bob.object_name, f"{site.instance}-egress"}
    elsewhere = {
        address
        for role in (site.hub, site.proxy)
        for network, address in site.addresses(role).items()
        if network != ann.object_name
    }
    asked = {"hub", site.proxy, bob.object_name, *theirs.values(), *elsewhere}
    assert len(asked) == 9
    assert site.reached(ann, *asked) == {"hub", site.proxy}
    # They do answer those who may ask.
    assert site.reached(bob, *asked) >= {"hub", bob.object_name, *theirs.values()}
    await stop(ann, bob)


async def test_other_hosts_are_reached_where_the_internet_is_allowed(site: Isolated, far: str) -> None:
    with_internet, without = site.make("ann"), site.make("bob", allow_internet=False)
    await asyncio.gather(with_internet.start(), without.start())
    assert site.reaches(with_internet, far)
    assert not site.reaches(without, far)
    await stop(with_internet, without)


async def test_without_internet_there_is_the_hub_alone(site: Isolated, outside: Any) -> None:
    spawner = site.make(allow_internet=False)
    await spawner.start()
    assert set(site.addresses(spawner.object_name)) == {spawner.object_name}
    assert site.reaches(spawner, "hub")
    assert not site.reaches(spawner, *outside)
    await stop(spawner)


async def test_the_hubs_own_container_is_found(site: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = site.client.containers.get(site.hub)
    monkeypatch.setattr(socket, "gethostname", lambda: hub.id[:12])
    spawner = site.make(attached_containers=[], allow_internet=False, hub_connect_url="http://as-it-is-called:8081")
    await spawner.start()
    assert site.reaches(spawner, "as-it-is-called")
    await stop(spawner)


async def test_a_hub_on_the_host_is_reached_by_the_hosts_addresses(site: Isolated, outside: Any) -> None:
    spawner = site.make(attached_containers=[])
    await spawner.start()
    assert site.reaches(spawner, *outside)
    await stop(spawner)
    with pytest.raises(Exception, match="attached_containers is empty"):
        await site.make("bob", attached_containers=[], allow_internet=False, instance=f"{site.instance}-2").start()


async def test_with_more_networks(site: Isolated) -> None:
    shared = site.client.networks.create(f"{site.instance}-shared")
    spawner = site.make(extra_networks=["{prefix}-shared"])
    host, _ = await spawner.start()
    addresses = site.addresses(spawner.object_name)
    assert set(addresses) == {spawner.object_name, f"{site.instance}-egress", shared.name}
    assert host == addresses[spawner.object_name]
    await stop(spawner)


# What is left


async def test_the_network_goes_with_the_container(site: Isolated) -> None:
    spawner = site.make()
    await spawner.start()
    assert spawner.object_name in site.on("hub") & site.on("proxy")
    assert spawner.get_state()["network"] == spawner.object_name
    await stop(spawner)
    assert site.networks() == []
    assert site.on("hub") == site.on("proxy") == set()
    assert "network" not in spawner.get_state()


@pytest.mark.parametrize("settings", [{"image": "dockyard-test/nosuch:1", "pull_policy": "never"}, {"cmd": ["nosuch"]}])
async def test_a_start_that_fails_leaves_no_network(site: Isolated, settings: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="nosuch"):
        await site.make(**settings).start()
    assert site.networks() == []
    assert site.on("hub") == set()


@pytest.mark.parametrize("there", ["network", "attached", "container"])
async def test_a_start_that_is_cancelled_leaves_no_network(site: Isolated, there: str) -> None:
    spawner = site.make(cmd=SILENT)
    start = asyncio.ensure_future(spawner.start())

    async def far_enough() -> bool:
        if there == "network":
            return bool(site.networks())
        return bool(site.on("hub") if there == "attached" else spawner.object_id)

    await until(far_enough, timeout=20, interval=0.005)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert site.networks() == []
    assert site.on("hub") == site.on("proxy") == set()


async def test_a_server_of_which_the_hub_knows_nothing_any_more(site: Isolated) -> None:
    forgotten = site.make("bob")
    await forgotten.start()
    # Killed in the middle: the container has gone, its network has not, and no state names it.
    site.client.containers.get(forgotten.object_id).remove(force=True)
    kept = site.make("carol", remove=False)
    await kept.start()
    await stop(kept)
    assert site.networks() == sorted([forgotten.object_name, kept.object_name])
    forgotten.engine.networks.clear()
    spawner = site.make("ann")
    await spawner.start()
    assert site.networks() == sorted([spawner.object_name, kept.object_name])
    assert site.on("hub") == {spawner.object_name}
    await stop(spawner)


async def test_a_deleted_server_leaves_no_network(site: Isolated) -> None:
    spawner = site.make(remove=False)
    await spawner.start()
    await stop(spawner)
    await spawner.delete_forever()
    # Its container is kept, and could not start without.
    assert site.networks() == [spawner.object_name]
    site.client.containers.get(spawner.object_id).remove()
    await spawner.delete_forever()
    assert site.networks() == []


# Which subnet


def subnet(site: Isolated, name: str) -> str:
    return str(site.client.networks.get(name).attrs["IPAM"]["Config"][0]["Subnet"])


async def test_subnets_are_of_the_pool_and_a_used_up_pool_says_so(site: Isolated, client: Any) -> None:
    pool = {"user_subnet_pool": "10.219.240.0/27", "allow_internet": False}
    foreign = client.networks.create(
        f"{site.instance}-foreign", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.219.240.0/30")])
    )
    first = site.make("u0", **pool)
    await first.start()
    # Taken by others after the pool was looked at.
    later = client.networks.create(
        f"{site.instance}-later", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.219.240.16/29")])
    )
    spawners = [site.make(f"u{number}", **pool) for number in range(1, 4)]
    outcomes = await asyncio.gather(*(spawner.start() for spawner in spawners), return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(failed) == 2
    for failure in failed:
        assert "10.219.240.0/27" in str(failure)
        assert "user_subnet_pool" in str(failure)
    started = [spawner for spawner in [first, *spawners] if spawner.object_id]
    assert site.networks() == sorted(spawner.object_name for spawner in started)
    assert {subnet(site, one.object_name) for one in started} == {"10.219.240.8/29", "10.219.240.24/29"}
    # What is free again is taken again.
    later.remove()
    foreign.remove()
    again = site.make("u9", **pool)
    await again.start()
    assert subnet(site, again.object_name) in ("10.219.240.0/29", "10.219.240.16/29")
    await stop(*started, again)


async def test_a_network_of_somebody_else_is_never_touched(site: Isolated, client: Any) -> None:
    spawner = site.make()
    theirs = client.networks.create(spawner.object_name)
    with pytest.raises(Exception, match="does not belong to this server"):
        await spawner.start()
    theirs.reload()
    theirs.remove()


async def test_what_is_to_be_attached_has_to_be_there(site: Isolated) -> None:
    with pytest.raises(Exception, match=f"attached_containers names {site.instance}-nosuch"):
        await site.make(attached_containers=[site.hub, f"{site.instance}-nosuch"]).start()
    assert site.networks() == []


# Made anew


async def test_a_hub_that_was_made_anew_is_attached_before_it_is_told_an_address(site: Isolated) -> None:
    spawners = [site.make(f"u{number}") for number in range(3)]
    await asyncio.gather(*(spawner.start() for spawner in spawners))
    site.run("hub")
    assert site.on("hub") == set()
    # Whatever the setting is by now.
    again = [site.restarted(spawner, network_isolation="shared") for spawner in spawners]
    for spawner in again:
        assert await spawner.poll() is None
    urls = await asyncio.gather(*(spawner.get_url() for spawner in again))
    for spawner, url in zip(again, urls, strict=True):
        assert f"//{site.addresses(spawner.object_name)[spawner.object_name]}:8888/" in url
        assert site.reaches(spawner, "hub")
    assert site.on("hub") == site.on("proxy") == set(site.networks())
    await stop(*again)
    assert site.networks() == []


async def test_a_proxy_that_is_made_anew_is_attached_at_once(site: Isolated) -> None:
    ann, bob = site.make("ann"), site.make("bob")
    await asyncio.gather(ann.start(), bob.start())
    for _ in range(2):
        site.run("proxy")

        async def attached() -> bool:
            return site.on("proxy") == {ann.object_name, bob.object_name}

        # Well before all is listed anew.
        await until(attached, timeout=20)
    await stop(ann, bob)
    assert site.networks() == []


async def test_a_server_that_starts_right_after_the_proxy_was_made_anew(site: Isolated) -> None:
    ann = site.make("ann")
    await ann.start()
    site.run("proxy")
    site.run("hub")
    bob = site.make("bob")
    await bob.start()
    assert site.reaches(bob, "hub")
    assert bob.object_name in site.on("proxy")
    await stop(ann, bob)
    assert site.networks() == []


# Kept, asleep, changed


async def test_a_kept_server_is_resumed_on_its_network(site: Isolated) -> None:
    spawner = site.make(remove=False)
    await spawner.start()
    kept = spawner.object_id
    await stop(spawner)
    assert site.networks() == [spawner.object_name]
    assert site.on("hub") == site.on("proxy") == set()
    again = site.restarted(spawner)
    await again.start()
    assert again.object_id == kept
    assert site.reaches(again, "hub")
    assert site.on("proxy") == {spawner.object_name}
    await stop(again)


async def test_a_kept_server_whose_networks_were_pruned(site: Isolated, outside: Any) -> None:
    spawner = site.make(remove=False)
    await spawner.start()
    kept = spawner.object_id
    await stop(spawner)
    for name in (spawner.object_name, f"{site.instance}-egress"):
        site.client.networks.get(name).remove()
    another = site.make("bob")
    await another.start()
    assert site.reaches(another, *outside)
    host, _ = await spawner.start()
    assert spawner.object_id == kept
    assert host == site.addresses(spawner.object_name)[spawner.object_name]
    assert site.reaches(spawner, "hub")
    assert site.reaches(spawner, *outside)
    await stop(spawner, another)


async def test_a_sleeping_server_keeps_its_network(site: Isolated) -> None:
    spawner = site.make(remove=False, stop_action="pause")
    await spawner.start()
    kept = spawner.object_id
    await spawner.stop()
    await spawner.run_post_stop_hook()
    assert site.on("hub") == {spawner.object_name}
    site.run("hub")
    again = site.restarted(spawner, stop_action="pause")
    await again.start()
    assert again.object_id == kept
    assert site.reaches(again, "hub")
    await stop(again)


async def test_a_changed_setting_replaces_the_container(site: Isolated, network: str) -> None:
    home = {f"{site.instance}-home": HOME}
    shared = site.make(remove=False, volumes=home, network_isolation="shared")
    await shared.start()
    assert set(site.addresses(shared.object_name)) == {network}
    await stop(shared)
    isolated = site.restarted(shared, volumes=home)
    await isolated.start()
    assert isolated.object_id != shared.object_id
    assert site.networks() == [isolated.object_name]
    await stop(isolated)
    back = site.restarted(isolated, volumes=home, network_isolation="shared")
    host, _ = await back.start()
    assert site.addresses(back.object_name) == {network: host}
    assert site.networks() == []
    await stop(back)


async def test_a_container_that_holds_the_files_stays_where_it_is(site: Isolated, network: str) -> None:
    shared, isolated = site.make(remove=False, network_isolation="shared"), site.make("bob", remove=False)
    await asyncio.gather(shared.start(), isolated.start())
    await stop(shared, isolated)
    ids = (shared.object_id, isolated.object_id)
    later, back = site.restarted(shared), site.restarted(isolated, network_isolation="shared")
    (host, _), (own, _) = await asyncio.gather(later.start(), back.start())
    assert (later.object_id, back.object_id) == ids
    assert site.addresses(later.object_name) == {network: host}
    assert site.addresses(back.object_name)[back.object_name] == own
    assert site.networks() == [back.object_name]
    assert site.reaches(back, "hub")
    await stop(later, back)


async def test_a_renamed_server(site: Isolated) -> None:
    spawner = site.make(server="lab", remove=False, volumes={f"{site.instance}-home": HOME})
    await spawner.start()
    await stop(spawner)
    await spawner.rename("lab", "other")
    assert site.networks() == []


async def test_nothing_more_is_asked_of_a_shared_network(make: Any) -> None:
    spawner = make(remove=True)
    await spawner.start()
    await spawner.get_url()
    await spawner.stop()
    assert spawner.engine.networks.get(spawner.instance) is None


# Through a hub

SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_isolation = "per-user"
c.DockerSpawner.attached_containers = {attached}
c.DockerSpawner.remove = True
"""


def test_a_hub_that_was_killed_while_all_was_made_anew(site: Isolated, tmp_path: Path) -> None:
    settings = SETTINGS.format(image=tiny_image(), instance=site.instance, attached=[site.hub, site.proxy])
    hub = Hub(tmp_path, settings)
    try:
        hub.start()
        for name in ("ann", "bob"):
            assert hub.spawn(name)[-1].get("ready")
            assert hub.visit(name) == 404
        ann, bob = f"{site.instance}-ann", f"{site.instance}-bob"
        hub.kill()
        site.client.containers.get(bob).remove(force=True)
        for role in ("hub", "proxy"):
            site.run(role)
        hub.start()
        wait_until(lambda: site.on("hub") == site.on("proxy") == {ann}, timeout=30)
        wait_until(lambda: hub.running() == {"ann"}, timeout=30)
        wait_until(lambda: site.networks() == [ann], timeout=30)
        hub.halt("ann")
        assert site.networks() == []
    finally:
        hub.stop()
