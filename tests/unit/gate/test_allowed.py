"""What settings allow."""

from __future__ import annotations

import hashlib
import time
from types import SimpleNamespace
from typing import Any

import pytest

from dockerspawner._networks import subnets
from dockerspawner._profiles import choice as profile_choice
from dockerspawner._profiles import list as profile_list
from dockerspawner._profiles import text_check
from dockerspawner._records import ownership
from dockerspawner._storage import preparation
from dockyard.gate.__main__ import SETTINGS as SETTINGS_READ
from dockyard.gate.__main__ import from_settings
from dockyard.gate.policy import checks, models
from dockyard.gate.policy.allowed import Allowed, allowed
from dockyard.gate.strict import Refused
from dockyard.settings.binds import bind_paths
from dockyard.settings.load import some
from dockyard.settings.names import canonical
from dockyard.settings.sources import Mistakes
from support.bodies import networks

SETTINGS = {
    "compose_project_name": "kit",
    "spawner": "docker",
    "notebook_image": "kit-singleuser:0.1.0",
    "allowed_images": ("registry.test:5000/lab/r",),
    "mem_limit": "2G",
    "cpu_limit": None,
    "cpu_guarantee": None,
    "pids_limit": 1024,
    "gate_limits": "always",
    "gpus": "",
    "home_volume": "{prefix}-home-{username}",
    "bind_paths": (),
    "home_driver": "",
    "home_driver_opts": {},
    "network_isolation": "shared",
    "user_subnet_pool": ("10.213.0.0/18",),
}


def rules(profiles: Any = (), **settings: Any) -> Allowed:
    return allowed(SimpleNamespace(**{**SETTINGS, **settings}), profiles)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("r", "r:latest"),
        ("r:1", "r:1"),
        ("host:5000/r", "host:5000/r:latest"),
        ("host:5000/a/r:1", "host:5000/a/r:1"),
        ("host:5000/r:1@sha256:ab", "host:5000/r@sha256:ab"),
        ("r@sha256:ab", "r@sha256:ab"),
    ],
)
def test_an_image_by_its_full_name(given: str, expected: str) -> None:
    assert canonical(given) == expected


PROFILES = [
    {
        "display_name": "All",
        "docker_override": {"gpus": 1, "volumes": {"lab-{username}": "/lab", "/srv/data": "/data"}},
        "profile_options": {
            "image": {
                "choices": {"r": {"docker_override": {"image": "quay.io/jupyter/r-notebook:1"}}},
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "[a-z]+|evil",
                    "docker_override": {"image": "quay.io/lab/{value}:2", "mounts": [{"source": "more-{username}"}]},
                },
            }
        },
    }
]


@pytest.mark.parametrize(
    ("image", "may"),
    [
        ("kit-singleuser:0.1.0", True),
        ("kit-singleuser", False),
        ("kit-singleuserX0.1.0", False),
        ("registry.test:5000/lab/r:latest", True),
        ("registry.test:5000/lab/r", True),
        ("registry.test:5000/lab/r:2", False),
        ("quay.io/jupyter/r-notebook:1", True),
        ("quay.io/lab/py:2", True),
        ("quay.io/lab/py:3", False),
        ("quay.io/lab/a/b:2", False),
        ("evil:2", False),
        ("quay.io/lab/evil:2\n", False),
    ],
)
def test_images_of_settings_and_profiles(image: str, may: bool) -> None:
    assert rules(PROFILES).image(image) is may


@pytest.mark.parametrize(
    ("volume", "may"),
    [
        ("kit-home-ada", True),
        ("kit-shared-data", True),
        ("lab-ada", True),
        ("more-ada", True),
        ("kit_hub-data", False),
        ("lab-ada/x", False),
        ("lab-", False),
        ("others", False),
    ],
)
def test_volumes_of_settings_and_profiles(volume: str, may: bool) -> None:
    assert rules(PROFILES).volume(volume) is may


@pytest.mark.parametrize(
    ("template", "regex", "text", "may"),
    [
        ("quay.io/jupyter/{value}", "^[a-z-]+:[0-9-]+$", "r-notebook:1", True),
        ("quay.io/jupyter/{value}", "^[a-z-]+:[0-9-]+$", "r-notebook:x", False),
        ("quay.io/jupyter/{value}", "(?i)[a-z-]+:[0-9-]+", "R-notebook:1", True),
        ("quay.io/jupyter/{value}", "r:1|r", "r:1", True),
        ("quay.io/jupyter/{value}", "r:1|r", "r:12", False),
        ("quay.io/jupyter/{value}", "", "a/b:1", True),
        ("quay.io/jupyter/{value}", "[a-z]+", "r", True),
        ("{value}/{value}:1", "[a-z]+", "r", True),
        ("{value}:{prefix}", "[a-z]+", "r", True),
    ],
)
async def test_an_image_that_a_user_writes_is_what_the_spawner_takes(
    template: str, regex: str, text: str, may: bool
) -> None:
    unlisted = {"enabled": True, "validation_regex": regex, "docker_override": {"image": template}}
    profile = {"display_name": "Any", "profile_options": {"image": {"unlisted_choice": unlisted}}}
    assert rules([profile]).image(template.format(value=text, prefix="kit")) is may
    (read,) = profile_list.read([profile], lambda setting, value: "")
    ((option, own),) = profile_choice.texts_of(read, {"image--unlisted-choice": text})
    assert option.unlisted is not None
    assert (not regex or await text_check.matches(regex, own, "ann")) is may


def test_image_an_expression_of_another_profile_that_takes_for_ever_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def profile(regex: str) -> dict[str, Any]:
        unlisted = {"enabled": True, "validation_regex": regex, "docker_override": {"image": "{value}"}}
        return {"display_name": regex, "profile_options": {"image": {"unlisted_choice": unlisted}}}

    image = "a" * 40 + ":1"
    before = time.thread_time()
    assert rules([profile("(a+)+$"), profile("a+:1")]).image(image)
    assert not rules([profile("(a+)+$")]).image(image)
    # Each of the image's spellings has a quarter of a second.
    assert time.thread_time() - before < 3
    assert "validation_regex (a+)+$ takes too long for a text of 42 characters" in caplog.text


def test_of_a_text_that_is_there_twice_both_are_one() -> None:
    image = {"validation_regex": "[a-z]+", "docker_override": {"image": "{value}/{value}:1"}}
    assert not rules([image]).image("r/s:1")


@pytest.mark.parametrize(("length", "may"), [(512, True), (513, False)])
def test_names_are_no_longer_than_a_pattern_takes_in_no_time(length: int, may: bool) -> None:
    name = "a" * length
    given = Allowed("kit", images=("[a:]+",), volumes=("a+",), drivers=(("nfs", {"device": "a+"}),))
    assert given.image(f"{name[7:]}:{'a' * 6}") is may
    assert given.volume(name) is may
    assert given.driver("nfs", {"device": name}) is may


NETWORK = networks()[0]


def test_networks_of_servers_own_where_settings_give_them_any() -> None:
    with pytest.raises(Refused, match="NETWORK_ISOLATION is shared"):
        checks.network(rules(), NETWORK)
    pool = {"network_isolation": "per-user", "user_subnet_pool": ("10.9.0.0/24", "10.213.0.0/24")}
    assert checks.network(rules(**pool), NETWORK).body["Name"] == NETWORK["Name"]
    with pytest.raises(Refused, match=r"not in the pool 10\.9\.0\.0/24"):
        checks.network(rules(**{**pool, "user_subnet_pool": ("10.9.0.0/24",)}), NETWORK)


def test_gpus_where_a_setting_or_a_profile_has_them() -> None:
    assert not rules().gpus
    assert not rules(gpus="0").gpus
    assert rules(gpus="all").gpus
    assert rules(PROFILES).gpus


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/srv/data", True),
        ("/home/ada", True),
        ("/srv/data/", False),
        ("/srv", False),
        ("/srv/data/x", False),
        ("/home", False),
        ("/home/", False),
        ("/home/ada/x", False),
        ("/home/..", False),
        ("/home/.", False),
        ("//home/ada", False),
        ("/", False),
        ("srv/data", False),
        ("", False),
    ],
)
def test_paths_of_the_host(path: str, may: bool) -> None:
    assert rules(bind_paths=bind_paths(("/srv/data/", "/home/*"))).bind(path) is may


@pytest.mark.parametrize("path", ["/srv/data", "/srv/teams/a"])
def test_paths_that_may_only_be_read(path: str) -> None:
    given = rules(bind_paths=bind_paths(("/srv/data:ro", "/srv/teams/*:ro")))
    assert given.bind(path, read_only=True)
    assert not given.bind(path, read_only=False)
    assert not given.bind(f"{path}:ro", read_only=True)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (("srv",), "not an absolute path"),
        (("/srv/../etc",), "not an absolute path"),
        (("/srv/*/x",), "not an absolute path"),
        (("/",), "not an absolute path"),
        (("/:ro",), "not an absolute path"),
        (("/*",), "not an absolute path"),
        (("/srv/data:rw",), "not an absolute path"),
        (("/srv:ro/data",), "not an absolute path"),
        (("/run/docker.sock",), "the engine's socket"),
        (("/var/run/docker.sock:ro",), "the engine's socket"),
        (("/run",), "the engine's socket"),
        (("/var/run/*:ro",), "the engine's socket"),
        (("/run/containerd",), "the engine's socket"),
        (("/srv", "/srv/data"), "one below the other"),
        (("/srv/data", "/srv"), "one below the other"),
        (("/srv/*", "/srv/data"), "one below the other"),
        (("/srv", "/srv/*"), "one below the other"),
        (("/srv:ro", "/srv/*"), "one below the other"),
    ],
)
def test_paths_that_would_lead_elsewhere(entries: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bind_paths(entries)


@pytest.mark.parametrize(
    ("device", "may"),
    [
        (":/homes/ada", True),
        (":/homes/", False),
        (":/homes/..", False),
        (":/homes/ada/../..", False),
        (":/homes/ada/x", False),
        (":/", False),
        ("/", False),
    ],
)
def test_a_drivers_options_are_those_that_settings_give(device: str, may: bool) -> None:
    options = {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/homes/{username}"}
    given = rules(home_driver="local", home_driver_opts=options)
    assert given.driver("local", options | {"device": device}) is may
    assert not given.driver("local", options | {"device": device, "x": "y"})
    assert not given.driver("other", options | {"device": device})


def test_a_driver_of_the_engines_own_has_no_options_unless_settings_give_them() -> None:
    assert rules().driver("", {})
    assert rules().driver("local", {})
    assert not rules().driver("local", {"type": "none", "o": "bind", "device": "/"})
    assert not rules().driver("other", {})


@pytest.mark.parametrize("name", ["lab-ada", "lab-ada-x"])
def test_the_unnamed_server_has_volumes_too(name: str) -> None:
    assert rules(home_volume="lab-{username}{servername}").volume(name)
    assert rules(home_volume="{username}-{servername}-lab").volume("ada--lab")


@pytest.mark.parametrize(
    ("home", "profile", "volume", "unlabelled"),
    [
        ("jupyterhub-user-{username}", "{username}", "jupyterhub-user-ada", True),
        ("jupyterhub-user-{username}", "{username}", "postgres-data", False),
        ("jupyterhub-user-{username}", "x{username}", "xylo", False),
        ("jupyterhub-user-{username}", "{servername}-{username}", "a-b", False),
        ("jupyterhub-user-{username}", "{username}", "kit-home-ada", True),
        ("jupyterhub-user-{username}", "course", "course", True),
        ("jupyterhub-user-{username}", "course-{username}", "course-ada", True),
        ("{username}", "course", "ada", False),
    ],
)
def test_unlabelled_volumes_begin_with_a_name_of_the_settings(
    home: str, profile: str, volume: str, unlabelled: bool
) -> None:
    given = rules([{"docker_override": {"volumes": {profile: "/x"}}}], home_volume=home)
    assert given.volume(volume)
    assert given.unlabelled_volume(volume) is unlabelled


def test_gate_and_spawner_speak_of_the_same() -> None:
    assert hashlib.sha256(preparation.SCRIPT.encode()).hexdigest() == models.HELPER_SCRIPT
    assert preparation.MOUNTED == models.HELPER_MOUNT
    assert (checks.INSTANCE, checks.HELPER) == (ownership.INSTANCE, ownership.HELPER)
    assert (checks.USERS_PREFIX, checks.EGRESS_PREFIX) == (subnets.PREFIX, subnets.EGRESS_PREFIX)


def test_the_gate_reads_its_own_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "COMPOSE_PROJECT_NAME": "lab",
        "NOTEBOOK_IMAGE": "lab/notebook:1",
        "BIND_PATHS": "/srv/data,/home/*",
        "SPAWNER": "swarm",
        "HOME_DRIVER": "local",
        "HOME_DRIVER_OPTS": "type=nfs,device=:/homes/{username}",
        "GPUS": "",
    }
    monkeypatch.setattr("os.environ", environ)
    given = from_settings(some(*SETTINGS_READ))
    assert (given.project, given.binds, given.gpus) == ("lab", ("/srv/data", "/home/*"), False)
    assert given.image("lab/notebook:1")
    assert given.volume("lab-home-ada")
    assert given.driver("local", {"type": "nfs", "device": ":/homes/ada"})
    environ["BIND_PATHS"] = "data"
    with pytest.raises(Mistakes, match="BIND_PATHS has 'data', which is not an absolute path"):
        some(*SETTINGS_READ)
