"""The fixtures of a scenario: a kit of its own for the folder, brought up by compose, destroyed at the end.

A scenario's conftest.py says `from support.scenario import *`; where it wants other settings, it replaces
`kit_settings`. Its folder is a package, with an `__init__.py`: else pytest would keep its kit up to the end of the run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_docker.plugin import Services, get_docker_services

from support.kit import Kit

__all__ = [
    "docker_cleanup",
    "docker_compose_command",
    "docker_compose_file",
    "docker_compose_project_name",
    "docker_services",
    "docker_setup",
    "kit",
    "kit_settings",
    "running",
]


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    """What the scenario writes into .env, raw as it stands there; {url} is where the kit will be."""
    return {}


@pytest.fixture(scope="package")
def kit(tmp_path_factory: pytest.TempPathFactory, kit_settings: dict[str, str | None]) -> Iterator[Kit]:
    """A kit that is built and configured, not started."""
    kit = Kit(tmp_path_factory.mktemp("kit"))
    try:
        kit.write_env(**{name: value and value.replace("{url}", kit.url) for name, value in kit_settings.items()})
        kit.make("build")
        yield kit
    finally:
        kit.destroy()


@pytest.fixture(scope="package")
def docker_compose_command(kit: Kit) -> str:
    return f"docker compose --progress quiet --env-file {kit.env_file}"


@pytest.fixture(scope="package")
def docker_compose_file(kit: Kit) -> list[str]:
    return [str(kit.folder / name) for name in kit.setting("COMPOSE_FILE").split(":")]


@pytest.fixture(scope="package")
def docker_compose_project_name(kit: Kit) -> str:
    return kit.project


@pytest.fixture(scope="package")
def docker_setup() -> list[str]:
    return ["up --detach --wait --wait-timeout 180"]


@pytest.fixture(scope="package")
def docker_cleanup() -> list[str]:
    """Nothing: `kit` destroys all, users' servers first, and also what a failed `up` left."""
    return []


@pytest.fixture(scope="package")
def docker_services(
    docker_compose_command: str,
    docker_compose_file: list[str],
    docker_compose_project_name: str,
    docker_setup: list[str],
    docker_cleanup: list[str],
) -> Iterator[Services]:
    """The plugin's own is one for all folders, whatever its scope: it belongs to no package."""
    with get_docker_services(
        docker_compose_command, docker_compose_file, docker_compose_project_name, docker_setup, docker_cleanup
    ) as services:
        yield services


@pytest.fixture(scope="package")
def running(kit: Kit, docker_services: object) -> Kit:
    """The scenario's kit, up and healthy."""
    return kit
