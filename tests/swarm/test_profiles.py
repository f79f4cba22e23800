"""Profiles on a swarm: what a user chose is what the task is made of, and what is not to be had makes no service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.jupyterhub import Hub
from support.swarm import Swarm
from support.swarmhub import swarm_hub
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("swarm")

SETTINGS = """
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 30}}
c.JupyterHub.load_groups = {{"staff": {{"users": ["grace"]}}}}
c.SwarmSpawner.mem_limit = "32M"
c.SwarmSpawner.environment = {{"COURSE": "physics"}}
c.SwarmSpawner.profile_list = [
    {{"display_name": "Small"}},
    {{
        "display_name": "Large",
        "docker_override": {{
            "image": "{instance}-large:1",
            "cpu_limit": 0.5,
            "environment": {{"SIZE": "large"}},
            "mounts": [{{"source": "/shared", "target": "/data", "type": "bind", "read_only": True}}],
        }},
        "profile_options": {{
            "memory": {{
                "choices": {{
                    "48m": {{"docker_override": {{"mem_limit": "48M"}}}},
                    "64m": {{"docker_override": {{"mem_limit": "64M"}}}},
                }},
            }},
        }},
    }},
    {{
        "display_name": "On a worker",
        "groups": ["staff"],
        "docker_override": {{"extra_placement_spec": {{"constraints": ["node.role == worker"]}}}},
    }},
]
"""


@pytest.fixture(scope="module")
def hub(one_swarm: Swarm, instance: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    for node in one_swarm.nodes:
        node.client.images.get(tiny_image()).tag(f"{instance}-large", "1")
    with swarm_hub(tmp_path_factory.mktemp("hub"), one_swarm, instance, SETTINGS.format(instance=instance)) as hub:
        yield hub
    for node in one_swarm.nodes:
        node.client.images.remove(f"{instance}-large:1", force=True)


def start(hub: Hub, user: str, **options: str) -> None:
    hub.user(user)
    hub.http.post(f"{hub.api}/users/{user}/server", json=options).raise_for_status()
    last = list(hub.events(user))[-1]
    assert last.get("ready"), last


def made_of(container: Any) -> tuple[str, int, int, str]:
    """Image, megabytes, thousandths of a processor and what matters of the environment of a user's server."""
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    environment = dict(pair.split("=", 1) for pair in config["Env"])
    size = f"{environment['COURSE']} {environment.get('SIZE', '')}"
    return config["Image"], host["Memory"] >> 20, host["NanoCpus"] // 10**6, size.strip()


def test_what_was_chosen_reaches_the_task_and_is_remembered(hub: Hub, swarm: Swarm, instance: str) -> None:
    (swarm.shared / "hello").write_text("of all nodes")
    small = (tiny_image(), 32, 0, "physics")
    large = (f"{instance}-large:1", 64, 500, "physics large")
    for options, made in (({}, small), ({"profile": "large", "memory": "64m"}, large), ({}, large)):
        start(hub, "ann", **options)
        container = swarm.container_of(f"{instance}-ann")
        assert made_of(container) == made
        mounted = {mount["Destination"]: mount["RW"] for mount in container.attrs["Mounts"]}
        assert mounted == ({"/data": False} if made is large else {})
        if made is large:
            assert container.exec_run(["cat", "/data/hello"]).output == b"of all nodes"
        hub.halt("ann")


def test_a_profile_of_a_group_says_where(hub: Hub, swarm: Swarm, instance: str) -> None:
    start(hub, "grace", profile="on-a-worker")
    assert swarm.node_of(f"{instance}-grace") in swarm.workers
    hub.halt("grace")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"profile": "huge"}, "There is no profile huge. Available profiles: small, large."),
        ({"profile": "on-a-worker"}, "There is no profile on-a-worker. Available profiles: small, large."),
        ({"profile": "large", "memory": "8g"}, "The option memory has no choice 8g. Available choices: 48m, 64m."),
        ({"profile": "small", "colour": "red"}, "Profile small has no option colour."),
        ({"image": "evil"}, "Profile small has no option image."),
    ],
)
def test_what_is_not_to_be_had_is_refused_by_name(
    hub: Hub, swarm: Swarm, instance: str, options: dict[str, str], why: str
) -> None:
    hub.user("bob")
    refused = hub.http.post(f"{hub.api}/users/bob/server", json=options)
    assert refused.status_code == 400
    assert refused.json()["message"].startswith(why)
    assert swarm.client.api.services({"label": f"dockyard.instance={instance}"}) == []
