"""Rules for whole files: Dockerfiles, scripts, compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dockyard.gate import __main__ as gate
from support.repo import ROOT, tracked

# Not the stand-ins for others' images: they are as those are.
DOCKERFILES = [path for path in tracked("*Dockerfile") if "tests" not in path.relative_to(ROOT).parts]
SCRIPTS = [path for path in tracked("scripts/*", ".ci/run", "hub/proxy/run") if path.suffix != ".py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_top_level() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders == {"spawner", "hub", "singleuser", "compose", "scripts", "tests"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_dockerfile(path: Path) -> None:
    text = path.read_text()
    assert not text.startswith("# syntax"), "a front end would be fetched from a registry"
    assert ":latest" not in text
    assert not re.search(r"^ADD ", text, re.MULTILINE), "COPY says what it does"
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
    images = [stage for stage in stages if "org.opencontainers.image.title" in stage]
    assert stages[-1] in images
    assert len(images) == len(re.findall(r"^CMD ", text, re.MULTILINE)) - text.count(" AS plain\n")
    for image in images:
        assert re.search(r"^USER (?!root|0)", image, re.MULTILINE) or "Stand-in" in image, "it must not run as root"
        assert "HEALTHCHECK" in image
    for command in re.findall(r"apt-get .*?install .*", text):
        assert "--no-install-recommends" in command
    # Lists that another layer has brought may be gone from the build cache.
    for step in re.split(r"^(?=[A-Z]+ )", text, flags=re.MULTILINE):
        assert " install " not in step or "apt-get" not in step or re.search(r"apt-get .*update.*\n.*apt-get", step), (
            step
        )
    for command in re.findall(r"pip install .*", text):
        assert "--require-hashes" in command or "--no-deps --no-build-isolation" in command
    for command in re.findall(r"^ *(npm .*)", text, re.MULTILINE):
        assert command.startswith("npm ci ")


def test_the_lock_of_npm_has_a_hash_of_each_package() -> None:
    packages = json.loads((ROOT / "hub" / "proxy" / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_script(path: Path) -> None:
    _first, second, *rest = path.read_text().splitlines()
    executable = bool(path.stat().st_mode & 0o100)
    if path.name.startswith("_"):
        assert not executable
        return
    assert executable
    assert second.startswith("# "), "the second line says what it does"
    assert any(line in {"set -euo pipefail", "set -eu"} for line in rest[:4])
    assert not re.search(r"\bsleep \d", path.read_text())


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed: apt-get install shellcheck")
def test_shellcheck() -> None:
    command = ["shellcheck", "--external-sources", *map(str, SCRIPTS), *map(str, tracked("singleuser/*.sh"))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_verb_has_its_script_and_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help"}
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) - {"help"}  # type: ignore[index]
    helped = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert verbs == phony == helped
    for script in re.findall(r"scripts/([\w-]+)", makefile):
        assert (ROOT / "scripts" / script).is_file()
    recipes = re.findall(r"^[a-z-]+:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert all(recipe.count("\n") <= 3 for recipe in recipes)


# Each overlay that adds a service, and the service.
OVERLAYS = {"tls": "edge", "postgres": "postgres"}
COMBINATIONS = [chosen for size in range(len(OVERLAYS) + 1) for chosen in combinations(OVERLAYS, size)]

needs_compose = pytest.mark.skipif(not shutil.which("docker"), reason="there is no docker compose: make engine")


def config(*overlays: str, sheet: str = "") -> dict[str, Any]:
    """What compose makes of compose.yaml and these overlays, with nothing but .env.example's defaults; the hub has the
    variables of `sheet`, too."""
    files = ["compose.yaml", *(f"compose.{name}.yaml" for name in overlays)]
    command = [
        "docker",
        "compose",
        *(part for file in files for part in ("--file", file)),
        "config",
        "--format",
        "json",
    ]
    environ = {"PATH": os.environ["PATH"], "COMPOSE_PROJECT_NAME": "dockyard"}
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "compose", f"{folder}/compose")
        Path(folder, ".env").write_text(sheet)
        done = subprocess.run(command, cwd=f"{folder}/compose", env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.replace(folder, "")))


@needs_compose
def test_compose_is_hardened() -> None:
    """Every service that runs, of every overlay, too."""
    services = config(*OVERLAYS)["services"]
    assert set(services) == {"hub", "proxy", "gate", "edge", "postgres"}
    for name, spec in services.items():
        assert spec["read_only"] is True, name
        assert spec["cap_drop"] == ["ALL"], name
        assert spec.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "edge" else []), name
        assert spec["security_opt"] == ["no-new-privileges"], name
        assert {"mem_limit", "cpu_shares", "pids_limit", "restart"} <= set(spec), name
        # A number of cores is refused by an engine that has fewer, and by a kernel without such limits.
        assert "cpus" not in spec, name
        # Users' servers have 1024.
        assert spec["cpu_shares"] >= 16 * 1024, name
        # An engine without CAP_SYS_RESOURCE starts no container with a negative one.
        assert spec.get("oom_score_adj", 0) >= 0, name
        assert "container_name" not in spec, name
        # Images of others say root, those of the kit do not.
        assert spec.get("user") == ("1000:1000" if name in {"edge", "postgres"} else None), name
    assert services["proxy"]["networks"]["hub"] == {"aliases": ["proxy-api"]}


@needs_compose
def test_who_is_on_which_network() -> None:
    """The proxy, which everybody talks to, reaches the database by the hub's network, and nobody the gate by any."""
    made = config(*OVERLAYS)
    assert made["services"]["gate"].pop("network_mode") == "none"
    assert {name: set(spec.get("networks", ())) for name, spec in made["services"].items()} == {
        "edge": {"front"},
        "proxy": {"front", "hub", "users"},
        "hub": {"hub", "users"},
        "gate": set(),
        "postgres": {"hub"},
    }


@needs_compose
@pytest.mark.parametrize("overlays", COMBINATIONS, ids="+".join)
def test_overlays_in_any_combination(overlays: tuple[str, ...]) -> None:
    """Whatever the order, the same services; only one of them is published, on BIND_ADDR."""
    spec = config(*overlays)
    services = spec["services"]
    assert set(services) == {"hub", "proxy", "gate"} | {OVERLAYS[name] for name in overlays}
    published = {name: {port["published"] for port in services[name].get("ports", [])} for name in services}
    expected = {"edge": {"80", "443"}} if "tls" in overlays else {"proxy": {"8000"}}
    assert {name: ports for name, ports in published.items() if ports} == expected
    assert {port["host_ip"] for service in services.values() for port in service.get("ports", [])} == {"127.0.0.1"}
    assert ("postgres" in services["hub"]["depends_on"]) == ("postgres" in overlays)
    assert "proxy" in services["hub"]["depends_on"]
    assert spec == config(*reversed(overlays))
    for name in overlays:
        assert services[OVERLAYS[name]]["healthcheck"]["test"]
        assert not services[OVERLAYS[name]]["image"].endswith(":latest")
        assert ":" in services[OVERLAYS[name]]["image"]


@needs_compose
def test_the_gate_is_alone_with_the_socket_and_has_no_secret() -> None:
    spec = config(*OVERLAYS)
    services = spec["services"]
    mounted = {name: [volume["source"] for volume in one.get("volumes", [])] for name, one in services.items()}
    assert [name for name, sources in mounted.items() if "/var/run/docker.sock" in sources] == ["gate"]
    assert [name for name, one in services.items() if "group_add" in one] == ["gate"]
    # Who else had its volume, or came to it by a network, could ask what the hub may ask.
    assert {name for name, sources in mounted.items() if "gate" in sources} == {"hub", "gate"}
    assert services["gate"]["network_mode"] == "none"
    assert {"secrets", "ports", "env_file"}.isdisjoint(services["gate"])
    of_a_swarm = {"spawner", "home_driver", "home_driver_opts"}
    assert set(services["gate"]["environment"]) - PROXIES == {name.upper() for name in set(gate.SETTINGS) - of_a_swarm}


# What docker's client sets where its configuration has a proxy.
PROXIES = {f"{name}_proxy" for name in ("http", "https", "ftp", "no", "all")}
PROXIES |= {name.upper() for name in PROXIES}


@needs_compose
def test_no_service_has_the_proxy_of_dockers_client_and_the_hub_the_one_of_the_sheet() -> None:
    services = config(*OVERLAYS, sheet="HTTPS_PROXY=http://proxy.test:3128\n")["services"]
    given = {name: {one: spec["environment"].get(one) for one in PROXIES} for name, spec in services.items()}
    empty = dict.fromkeys(PROXIES, "")
    assert given == dict.fromkeys(services, empty) | {"hub": empty | {"HTTPS_PROXY": "http://proxy.test:3128"}}


def test_no_container_of_a_script_has_the_proxy_of_dockers_client() -> None:
    for path in SCRIPTS:
        for line in path.read_text().splitlines():
            if re.search(r"\bdocker (run|create)\b", line) and not line.lstrip().startswith("#"):
                assert '"${direct[@]}"' in line or '"${options[@]}"' in line, f"{name(path)}: {line}"


@needs_compose
def test_every_overlay_is_in_the_combinations() -> None:
    assert {path.name for path in tracked("compose/compose.*.yaml")} == {f"compose.{name}.yaml" for name in OVERLAYS}


def test_every_scenario_is_a_package_so_that_its_kit_ends_with_it() -> None:
    scenarios = {path.parent for path in tracked("tests/e2e/*/conftest.py")}
    assert len(scenarios) >= 7
    assert [name(scenario) for scenario in scenarios if not (scenario / "__init__.py").exists()] == []
