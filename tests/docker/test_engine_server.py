"""The fake engine is kept honest: the same calls give the same shapes, statuses and words as on the real one."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from support.engine import clean
from support.engine_server import EngineServer
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

Run = Callable[[docker.APIClient, str], Any]

# What is not said alike: lists of the machine's own, and where the engine names the host's files.
MACHINE = {"GraphDriver", "MaskedPaths", "ReadonlyPaths", "Components", "DNSNames", "IPAM", "Platform", "RepoDigests"}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[docker.APIClient]:
    with EngineServer(tmp_path_factory.mktemp("engine"), images=[tiny_image()]) as server:
        client = docker.APIClient(base_url=server.url, timeout=10)
        yield client
        client.close()


@pytest.fixture
def both(client: docker.DockerClient, fake: docker.APIClient) -> Iterator[Callable[[Run], tuple[Any, Any]]]:
    """Runs the same calls on both engines, each with the same name for what they make."""
    name = f"dyt{secrets.token_hex(3)}"
    yield lambda run: (run(client.api, name), run(fake, name))
    clean(client, name)


def shape(value: Any, path: str = "") -> set[str]:
    """Keys and the types of their values, such as `State.ExitCode: int`; of a list its first entry."""
    if isinstance(value, dict) and value:
        return set().union(*(shape(inner, f"{path}.{key}") for key, inner in value.items() if key not in MACHINE))
    if isinstance(value, list) and value:
        return shape(value[0], f"{path}[]")
    return {f"{path.lstrip('.')}: {type(value).__name__}"}


def settings(api: docker.APIClient, name: str) -> dict[str, Any]:
    host = api.create_host_config(
        network_mode=f"{name}-net",
        binds={f"{name}-home": {"bind": "/home/jovyan", "mode": "rw"}},
        port_bindings={8888: ("127.0.0.1",)},
        mem_limit="64m",
    )
    return {
        "image": tiny_image(),
        "name": name,
        "environment": {"A": "b"},
        "labels": {"dockyard.instance": name},
        "ports": {"8888/tcp": {}},
        "host_config": host,
    }


def made(api: docker.APIClient, name: str) -> None:
    """A network, and a container on it."""
    api.create_network(f"{name}-net")
    api.create_container(**settings(api, name))


def said(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, str]:
    """Status and message of a call that is refused, without ids."""
    with pytest.raises(docker.errors.APIError) as caught:
        call(*args, **kwargs)
    assert caught.value.response is not None
    return caught.value.response.status_code, re.sub(r"\b[0-9a-f]{64}\b", "ID", str(caught.value.explanation))


def test_versions_are_negotiated(both: Any) -> None:
    real, fake = both(lambda api, name: api.version())
    assert set(real) == set(fake)
    assert fake["MinAPIVersion"] == real["MinAPIVersion"]


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited"])
def test_a_container_is_described_alike(both: Any, state: str) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        made(api, name)
        if state != "created":
            api.start(name)
        if state == "paused":
            api.pause(name)
        if state == "exited":
            api.kill(name)
            api.wait(name)
        listed = api.containers(all=True, filters={"label": f"dockyard.instance={name}"})
        return api.inspect_container(name), listed

    (real, real_list), (fake, fake_list) = both(run)
    assert fake["State"]["Status"] == real["State"]["Status"] == state
    assert shape(fake) == shape(real)
    assert shape(fake_list) == shape(real_list)
    for key in ("Path", "Args", "Name"):
        assert fake[key] == real[key]
    for key in ("Env", "Cmd", "Labels", "WorkingDir", "StopSignal", "Image", "ExposedPorts"):
        assert fake["Config"][key] == real["Config"][key]
    for key in ("Running", "Paused", "OOMKilled", "ExitCode", "Error"):
        assert fake["State"][key] == real["State"][key]
    for key in ("Names", "State", "Labels", "Image", "Command"):
        assert fake_list[0][key] == real_list[0][key]


@pytest.mark.parametrize("filters", [{"label": "nobody"}, {"name": "x" * 40}, {"status": "dead"}, {"id": "0" * 64}])
def test_filters_that_match_nothing(both: Any, filters: dict[str, str]) -> None:
    real, fake = both(lambda api, name: api.containers(all=True, filters=filters))
    assert real == fake == []


def test_filters_that_match(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        made(api, name)
        mine = {"label": f"dockyard.instance={name}"}
        for filters in ({"name": name[2:]}, {"name": f"^/{name}$"}, {"status": "created"}, {"network": f"{name}-net"}):
            yield len(api.containers(all=True, filters={**mine, **filters}))
        yield len(api.containers(filters=mine))
        yield len(api.containers(all=True, filters={"label": [f"dockyard.instance={name}", "nobody"]}))
        yield said(api.containers, filters={"nosuch": "x"})

    real, fake = (list(each) for each in both(run))
    assert real == fake


def test_refusals_are_worded_alike(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        missing = f"{name}-missing"
        for method in ("inspect_container", "start", "stop", "kill", "pause", "wait", "logs", "remove_container"):
            yield method, said(getattr(api, method), missing)
        yield said(api.rename, missing, "other")
        yield said(api.inspect_image, f"{missing}:1")
        yield said(api.inspect_image, missing)
        yield said(api.create_container, f"{missing}:1", name=name)
        yield said(api.create_container, tiny_image(), name="-x/y")
        yield said(api.inspect_network, missing)
        yield said(api.remove_network, missing)
        yield said(api.inspect_volume, missing)
        yield said(api.remove_volume, missing)
        made(api, name)
        yield said(api.create_container, **settings(api, name))
        yield said(api.create_network, f"{name}-net", check_duplicate=True)
        yield said(api.kill, name)
        yield said(api.pause, name)
        yield said(api.exec_create, name, ["true"])
        api.start(name)
        yield said(api.rename, name, name)
        yield said(api.unpause, name)
        yield said(api.remove_container, name)
        yield said(api.remove_volume, f"{name}-home")
        yield said(api.remove_network, f"{name}-net")
        yield said(api.connect_container_to_network, name, f"{name}-net")
        yield said(api.connect_container_to_network, name, missing)
        yield said(api.disconnect_container_from_network, name, "none")
        api.pause(name)
        yield said(api.pause, name)
        yield said(api.start, name)
        yield said(api.remove_container, name)
        api.unpause(name)
        yield said(api.connect_container_to_network, missing, f"{name}-net")
        unconnected = api.create_host_config(network_mode=missing)
        api.create_container(tiny_image(), name=f"{name}-2", host_config=unconnected)
        yield said(api.start, f"{name}-2")

    real, fake = (list(each) for each in both(run))
    for says_real, says_fake in zip(real, fake, strict=True):
        assert says_fake == says_real


def test_what_is_so_already_is_no_error(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        made(api, name)
        for path in ("start", "start", "stop?t=1", "stop?t=1"):
            yield api._post(f"{api.base_url}/v1.45/containers/{name}/{path}").status_code
        api.remove_container(name, force=True, v=True)
        yield said(api.remove_container, name, force=True)

    real, fake = (list(each) for each in both(run))
    assert real == fake


def test_volumes_and_networks_are_described_alike(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        volume = api.create_volume(f"{name}-v", labels={"a": "b"})
        network = api.create_network(f"{name}-net", labels={"a": "b"}, internal=True)
        described = api.inspect_network(f"{name}-net")
        assert described["Id"] == network["Id"]
        assert api.inspect_network(network["Id"])["Name"] == f"{name}-net"
        return volume, api.inspect_volume(f"{name}-v"), network, described

    real, fake = both(run)
    assert shape(list(real)) == shape(list(fake))
    assert real[3]["Internal"] == fake[3]["Internal"]


def test_an_image_is_described_alike(both: Any) -> None:
    real, fake = both(lambda api, name: api.inspect_image(tiny_image()))
    assert shape(fake) == shape(real)
    for key in ("Env", "WorkingDir", "StopSignal", "Entrypoint"):
        assert fake["Config"][key] == real["Config"][key]


def events_of(api: docker.APIClient, name: str, act: Callable[[], Any], last: str) -> list[dict[str, Any]]:
    """The events of this test's containers while `act` runs, to the first one that is `last`."""
    stream = api.events(decode=True, filters={"type": "container", "label": f"dockyard.instance={name}"})
    heard: list[dict[str, Any]] = []
    listener = threading.Thread(target=lambda: heard.extend(_until(stream, last)))
    listener.start()
    act()
    listener.join(20)
    assert not listener.is_alive(), heard
    stream.close()
    return heard


def _until(stream: Any, last: str) -> Iterator[dict[str, Any]]:
    for event in stream:
        yield event
        if event["Action"] == last:
            return


def in_one_order(events: list[Any]) -> list[Any]:
    """The events as an engine that is not busy tells them.

    A busy one hears from containerd late that a container was paused and went on, and tells it a second time. Of a
    stop and the end that it has led to it tells now one, now the other first.
    """
    found: list[Any] = []
    told: set[str] = set()
    for event in events:
        action = event["Action"]
        if action == "start":
            told.clear()
        if action not in told:
            found.append(event)
        if action in ("pause", "unpause"):
            told.add(action)
    for at in range(len(found) - 1):
        if [event["Action"] for event in found[at : at + 2]] == ["die", "stop"]:
            found[at : at + 2] = reversed(found[at : at + 2])
    return found


def test_events_are_told_alike(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        def act() -> None:
            made(api, name)
            for step in (api.start, api.pause, api.unpause, api.kill, api.wait, api.start):
                step(name)
            api.rename(name, f"{name}-b")
            api.stop(f"{name}-b", timeout=1)
            api.start(f"{name}-b")
            api.remove_container(f"{name}-b", force=True)

        return in_one_order(events_of(api, name, act, "destroy"))

    real, fake = both(run)
    assert [event["Action"] for event in fake] == [event["Action"] for event in real]
    assert [shape(event) for event in fake] == [shape(event) for event in real]
    for on_fake, on_real in zip(fake, real, strict=True):
        attributes = on_real["Actor"]["Attributes"]
        assert on_fake["Actor"]["Attributes"] == attributes or on_real["Action"] == "die"
        assert on_fake["Actor"]["Attributes"].get("exitCode") == attributes.get("exitCode")


def test_past_events_are_told_again_and_filtered(both: Any) -> None:
    def run(api: docker.APIClient, name: str) -> Any:
        made(api, name)
        api.start(name)
        api.kill(name)
        api.wait(name)
        kinds = ({"event": "die"}, {"event": ["start", "kill"]}, {"container": name}, {"image": "other"})
        for filters in kinds:
            told = api.events(
                since=1, until=2**31, decode=True, filters={"label": f"dockyard.instance={name}", **filters}
            )
            wanted = {"other": 0}.get(str(filters.get("image")), 1)
            yield [next(told)["Action"] for _ in range(wanted)]
            told.close()

    real, fake = (list(each) for each in both(run))
    assert real == fake


def test_out_of_memory_is_told_alike(client: docker.DockerClient, tmp_path: Path) -> None:
    name = f"dyt{secrets.token_hex(3)}"
    greedy = ["sh", "-c", "x=a; while true; do x=$x$x; done"]
    labels = {"dockyard.instance": name}

    def on_real() -> None:
        host = client.api.create_host_config(mem_limit="8m", memswap_limit="8m", network_mode="none")
        client.api.create_container(tiny_image(), greedy, name=name, labels=labels, host_config=host)
        client.api.start(name)

    try:
        real = events_of(client.api, name, on_real, "die")
        real_state = client.api.inspect_container(name)["State"]
    finally:
        clean(client, name)
    with EngineServer(tmp_path, images=[tiny_image()]) as server:
        api = docker.APIClient(base_url=server.url)

        def on_fake() -> None:
            api.create_container(tiny_image(), name=name, labels=labels)
            api.start(name)
            server.control.end(name, oom=True)

        fake = events_of(api, name, on_fake, "die")
        fake_state = api.inspect_container(name)["State"]
        api.close()
    # The kernel may kill a child first, which is one more.
    assert {event["Action"] for event in fake} == {event["Action"] for event in real}
    for key in ("OOMKilled", "ExitCode", "Status"):
        assert fake_state[key] == real_state[key]


def test_a_pull_streams_alike(fake: docker.APIClient, client: docker.DockerClient, registry: Any) -> None:
    name = registry.push(client.images.get(tiny_image()), f"dyt{secrets.token_hex(3)}:1")
    repository = name.rpartition(":")[0]
    try:
        real = list(client.api.pull(repository, tag="1", stream=True, decode=True))
    finally:
        client.images.remove(name)
    told = list(fake.pull(repository, tag="1", stream=True, decode=True))
    assert real[0] == told[0]
    assert real[-1] == told[-1]
    assert fake.inspect_image(name)["RepoTags"] == [name]


def test_a_silent_or_cut_stream_and_what_happens_unheard(tmp_path: Path) -> None:
    with EngineServer(tmp_path) as server:
        api, control = docker.APIClient(base_url=server.url), server.control
        control.preload(2, labels={"dockyard.user": "u{n}"})
        heard: list[str] = []
        stream = api.events(decode=True)
        listener = threading.Thread(target=lambda: heard.extend(event["Action"] for event in stream))
        listener.start()
        control.silence_events()
        control.end("server-0", code=3)
        control.silence_events(False)
        control.end("server-1", code=4, quiet=True)
        control.rename("server-1", "other")
        wait_until(lambda: "rename" in heard, timeout=10)
        control.cut_events()
        listener.join(10)
        assert heard == ["rename"]
        assert control.streams() == 0
        assert [api.inspect_container(one)["State"]["ExitCode"] for one in ("server-0", "other")] == [3, 4]
        api.close()
