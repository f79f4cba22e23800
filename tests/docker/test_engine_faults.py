"""An engine whose disk is full, or whose registry says nothing or only half, under the servers of a real hub."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import docker
import pytest

from support.jupyterhub import Hub
from support.nested import Node
from support.registry import Registry, Torn, torn
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

FILLER = "/var/lib/docker/filler"


@pytest.fixture
def full_disk(node: Node) -> Iterator[None]:
    node.run(f"dd if=/dev/zero of={FILLER} bs=4k", check=False)
    yield
    node.run(f"rm -f {FILLER}")


# KiB that are left: too few for a container; enough for one, too few for its start.
@pytest.mark.parametrize("room", [0, 48])
def test_a_full_disk_fails_a_start_and_is_forgotten_when_there_is_room(
    node_hub: Hub, node: Node, full_disk: None, room: int
) -> None:
    node.run(f"truncate --size=-{room}K {FILLER}")
    last = node_hub.spawn("ann")[-1]
    assert last.get("failed"), last
    assert "no space left on device" in last["message"]
    assert node.containers() == {}
    node.run(f"rm {FILLER}")
    assert node_hub.spawn("ann")[-1].get("ready")
    node_hub.halt("ann")


@pytest.fixture
def silent_registry(node: Node) -> Iterator[socket.socket]:
    """Accepts every connection, and never says a word."""
    with socket.create_server((node.outside, 0), backlog=64) as registry:
        registry.settimeout(30)
        node.configure(insecure_registries=[f"{node.outside}:{registry.getsockname()[1]}"])
        yield registry
    node.configure(insecure_registries=[])


@contextmanager
def waiting_for_images(hub: Hub, registry: socket.socket, count: int) -> Iterator[dict[str, Future[Any]]]:
    """Spawns under way, each for an image of its own that does not come; by image."""
    address, port = registry.getsockname()
    with ThreadPoolExecutor(count) as pool:
        spawns = {}
        for name in [f"patient{number}" for number in range(count)]:
            image = f"{address}:{port}/{name}/image:1"
            (hub.folder / f"image-{name}").write_text(image)
            spawns[image] = pool.submit(hub.spawn, name)
        with registry.accept()[0]:
            yield spawns


def assert_all_wait(spawns: dict[str, Future[Any]]) -> None:
    assert not any(spawn.done() for spawn in spawns.values())


def assert_all_were_told(spawns: dict[str, Future[Any]]) -> None:
    for image, spawn in spawns.items():
        assert f"Image {image} could not be pulled: not pulled within 8 s" in spawn.result()[-1]["message"]


def test_a_pull_that_hangs_ends_with_a_sentence_and_holds_up_no_other_start(
    node_hub: Hub, node: Node, silent_registry: socket.socket
) -> None:
    with waiting_for_images(node_hub, silent_registry, 1) as spawns:
        assert node_hub.spawn("ann")[-1].get("ready")
        assert_all_wait(spawns)
        assert_all_were_told(spawns)
    node_hub.halt("ann")
    assert node.containers() == {}


def test_many_pulls_that_hang_hold_up_no_stop(node_hub: Hub, node: Node, silent_registry: socket.socket) -> None:
    assert node_hub.spawn("ann")[-1].get("ready")
    with waiting_for_images(node_hub, silent_registry, 10) as spawns:
        node_hub.halt("ann")
        assert_all_wait(spawns)
        assert_all_were_told(spawns)
    assert node.containers() == {}


@pytest.fixture
def torn_registry(node: Node, registry: Registry) -> Iterator[Torn]:
    with torn(registry, node.outside) as way:
        node.configure(insecure_registries=[way.host])
        yield way
    node.configure(insecure_registries=[])


def test_a_pull_that_breaks_off_ends_with_a_sentence_and_leaves_nothing(
    node_hub: Hub, node: Node, registry: Registry, torn_registry: Torn, client: docker.DockerClient
) -> None:
    """Others start meanwhile."""
    # One that the engine has nothing of.
    layer = f"FROM {tiny_image()}\nRUN head -c 100000 /dev/urandom >/layer\n".encode()
    large, _ = client.images.build(fileobj=io.BytesIO(layer), rm=True, nocache=True, network_mode="none")
    name = registry.push(large, "torn:1")
    image = name.replace(registry.host, torn_registry.host)
    (node_hub.folder / "image-zoe").write_text(image)
    with ThreadPoolExecutor(1) as pool:
        spawn = pool.submit(node_hub.spawn, "zoe")
        wait_until(torn_registry.begun.is_set, timeout=30, what="half of the image has come")
        assert node_hub.spawn("ann")[-1].get("ready")
        assert not spawn.done()
        torn_registry.cut.set()
        assert f"Image {image} could not be pulled: unexpected EOF" in spawn.result()[-1]["message"]
    node_hub.halt("ann")
    assert node.containers() == {}
    assert image not in [tag for one in node.client.api.images() for tag in one["RepoTags"] or ()]
