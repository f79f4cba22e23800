"""What `docker compose up` writes when the real engine refuses something, and the line that `make up` makes of it."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.types import IPAMConfig, IPAMPool

from refusals import refusal
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def project() -> Iterator[str]:
    name = f"refused-{secrets.token_hex(3)}"
    yield name
    subprocess.run(["docker", "compose", "--project-name", name, "--progress", "quiet", "down"], check=True)


def said(project: str, folder: Path, **spec: Any) -> str:
    service = {"image": tiny_image(), **spec.pop("service", {})}
    (folder / "compose.yaml").write_text(json.dumps({"services": {"one": service}, **spec}))
    command = ["docker", "compose", "--project-name", project, "--progress", "quiet", "up", "--detach", "--wait"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode != 0, done.stdout
    return refusal(done.stdout)


def test_a_name_that_another_container_has(project: str, tmp_path: Path) -> None:
    other = docker.from_env().containers.create(tiny_image(), name=f"{project}-one-1")
    try:
        line = said(project, tmp_path, service={"network_mode": "none"})
    finally:
        other.remove()
    assert line.startswith(f'Conflict. The container name "/{project}-one-1" is already in use')
    assert "'docker rm'" in line


def test_addresses_that_another_network_has(project: str, tmp_path: Path) -> None:
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet="192.0.2.0/28")])
    other = docker.from_env().networks.create(f"{project}-other", ipam=ipam)
    try:
        line = said(project, tmp_path, networks={"default": {"ipam": {"config": [{"subnet": "192.0.2.0/28"}]}}})
    finally:
        other.remove()
    assert "Pool overlaps with other one on this address space" in line
    assert "'docker network ls'" in line


def test_a_network_that_compose_did_not_create(project: str, tmp_path: Path) -> None:
    other = docker.from_env().networks.create(f"{project}_default", internal=True)
    try:
        line = said(project, tmp_path)
    finally:
        other.remove()
    assert line.startswith(f"network {project}_default was found but has incorrect label")
    assert f"'docker network rm {project}_default'" in line


def test_a_service_that_ends_is_not_a_refusal(project: str, tmp_path: Path) -> None:
    assert said(project, tmp_path, service={"network_mode": "none", "command": ["false"]}) == ""
