"""The stack of a swarm: all combinations of its files, by `docker stack config`, and what it shares with compose."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import combinations
from typing import Any

import pytest
import yaml

from dockyard.gate.__main__ import SETTINGS
from dockyard.settings import envfile
from support.repo import ROOT, tracked

OVERLAYS = {"tls": "edge", "postgres": "postgres"}
COMBINATIONS = [chosen for size in range(len(OVERLAYS) + 1) for chosen in combinations(OVERLAYS, size)]
OWN = {"proxy", "hub", "gate", "beacon", "keeper"}
STACK = (ROOT / "compose/stack.yaml").read_text()
ALL = "\n".join(path.read_text() for path in (ROOT / "compose").glob("stack*.yaml"))

needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker: make engine")


def config(*overlays: str, **environ: str) -> dict[str, Any]:
    """What docker makes of stack.yaml and these overlays, with no value but `environ`."""
    files = ["stack.yaml", *(f"stack.{name}.yaml" for name in overlays)]
    command = ["docker", "stack", "config", *(part for file in files for part in ("--compose-file", file))]
    environ = {"PATH": os.environ["PATH"], **environ}
    done = subprocess.run(command, cwd=ROOT / "compose", env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "docker would ignore something"
    return dict(yaml.safe_load(done.stdout))


@needs_docker
@pytest.mark.parametrize("overlays", COMBINATIONS, ids="+".join)
def test_overlays_in_any_combination(overlays: tuple[str, ...]) -> None:
    """With nothing but defaults; only one service is published, by its node."""
    services = config(*overlays)["services"]
    assert set(services) == OWN | {OVERLAYS[name] for name in overlays}
    ports = [(name, port) for name, spec in services.items() for port in spec.get("ports", [])]
    assert {port["mode"] for _, port in ports} == {"host"}
    published = {(name, port["published"]) for name, port in ports if port["protocol"] == "tcp"}
    assert published == ({("edge", 80), ("edge", 443)} if "tls" in overlays else {("proxy", 8000)})
    assert set(services["proxy"]["networks"]) == {"front", "hub", "users"}
    assert services["proxy"]["networks"]["hub"] == {"aliases": ["proxy-api"]}


@needs_docker
def test_every_service_is_hardened_limited_and_has_its_place() -> None:
    for name, spec in config(*OVERLAYS)["services"].items():
        deploy = spec["deploy"]
        assert spec["read_only"] is True, name
        assert spec["cap_drop"] == ["ALL"], name
        assert spec.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "edge" else []), name
        # A node with fewer cores than a limit says refuses the task.
        assert set(deploy["resources"]["limits"]) == {"memory", "pids"}, name
        assert deploy["restart_policy"]["condition"] == "any", name
        # No virtual address: it would cut idle websockets, and needs IPVS.
        assert deploy["endpoint_mode"] == "dnsrr", name
        assert deploy.get("placement", {}).get("constraints") or deploy["mode"] == "global", name
        assert spec["logging"]["options"]["max-size"], name
        assert ":latest" not in spec["image"], name


@needs_docker
def test_there_are_never_two_hubs() -> None:
    deploy = config(*OVERLAYS)["services"]["hub"]["deploy"]
    assert deploy.get("replicas", 1) == 1
    assert deploy["update_config"]["order"] == deploy["rollback_config"]["order"] == "stop-first"
    assert "node.role == manager" in deploy["placement"]["constraints"]


@needs_docker
def test_who_is_on_which_network() -> None:
    spec = config(*OVERLAYS)
    networks = {name: set(service["networks"]) for name, service in spec["services"].items()}
    assert {name for name, on in networks.items() if "users" in on} == {"proxy", "hub", "keeper"}
    assert {name for name, on in networks.items() if "hub" in on} == {"proxy", "hub", "beacon", "postgres"}
    assert {name for name, on in networks.items() if "engine" in on} == {"hub", "gate"}
    assert {name for name, on in networks.items() if "link-local" in on} == {"keeper"}
    assert networks["gate"] == {"engine"}
    sockets = [name for name, service in spec["services"].items() if "docker.sock" in str(service.get("volumes"))]
    assert sockets == ["gate"]
    assert spec["networks"]["hub"]["internal"] is spec["networks"]["engine"]["internal"] is True
    assert {name: network.get("driver") for name, network in spec["networks"].items()} == {
        "front": "overlay",
        "hub": "overlay",
        "engine": "overlay",
        "users": None,
        "link-local": None,
    }


@needs_docker
def test_values_of_the_sheet_reach_the_stack() -> None:
    spec = config("tls", COMPOSE_PROJECT_NAME="lab", DOCKER_GID="998", PUBLIC_URL="https://hub.test", HTTPS_PORT="8443")
    assert spec["networks"]["users"]["name"] == "lab_users"
    assert spec["services"]["gate"]["user"] == "1000:998"
    assert spec["services"]["hub"]["environment"]["COMPOSE_PROJECT_NAME"] == "lab"
    assert spec["services"]["edge"]["environment"]["PUBLIC_URL"] == "https://hub.test"
    assert 8443 in {port["published"] for port in spec["services"]["edge"]["ports"]}


def test_the_gate_has_the_settings_that_it_reads() -> None:
    gate = yaml.safe_load(STACK)["services"]["gate"]
    assert set(gate["environment"]) == {name.upper() for name in SETTINGS}


def test_the_stack_has_the_settings_own_defaults() -> None:
    defaults = {name: envfile.default(field) for name, field in envfile.fields().items()}
    defaults |= {"DOCKER_GID": "0", "NOTEBOOK_IMAGE": f"dockyard-singleuser:{version()}"}
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^${}]*)\}", ALL))
    # What only the stack knows: images by other names, secrets and configs by their content.
    own = {name for name in used if name.endswith(("_IMAGE", "_SECRET", "_CONFIG")) or name == "CERTIFICATE"}
    assert {"PORT", "DOCKER_SOCKET", "HTTP_PORT"} <= set(used) - own
    for name in set(used) - own | {"NOTEBOOK_IMAGE"}:
        assert used[name] == defaults[name], name
    assert not re.findall(r"\$\{[A-Z_]+(?!:-|[A-Z_])", ALL), "a variable without a default"


def version() -> str:
    found = re.search(r"-hub:([^\s}]+)", (ROOT / "compose/compose.yaml").read_text())
    assert found
    return found[1]


def test_images_are_those_of_compose() -> None:
    assert set(re.findall(r"dockyard-\w+:([^\s}]+)", ALL)) == {version()}
    for name, service in OVERLAYS.items():
        (wanted,) = re.findall(r"image: .*", (ROOT / f"compose/compose.{name}.yaml").read_text())
        assert wanted.startswith(f"image: ${{{service.upper()}_IMAGE:-")
        assert wanted in (ROOT / f"compose/stack.{name}.yaml").read_text()


def test_every_overlay_of_one_host_is_one_of_a_swarm() -> None:
    def names(kind: str) -> set[str]:
        return {path.name.split(".")[1] for path in tracked(f"compose/{kind}.*.yaml")}

    assert names("stack") == names("compose") == set(OVERLAYS)


def test_limits_and_commands_are_those_of_compose() -> None:
    """One service is one thing, wherever it runs."""
    for kind in ("", ".tls", ".postgres"):
        here = yaml.safe_load((ROOT / f"compose/stack{kind}.yaml").read_text())["services"]
        there = yaml.safe_load((ROOT / f"compose/compose{kind}.yaml").read_text().replace("!reset", ""))["services"]
        for name in set(here) & set(there):
            if "mem_limit" not in there[name]:
                continue
            limits = here[name]["deploy"]["resources"]["limits"]
            assert (limits["memory"].lower(), limits["pids"]) == (there[name]["mem_limit"], there[name]["pids_limit"])
            own = {"CERTIFICATE", "OTHERS", "SSL_CERT_FILE", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"}
            if name in OVERLAYS.values():
                assert set(here[name]["environment"]) - own == set(there[name]["environment"]) - own
