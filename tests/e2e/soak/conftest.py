"""A kit whose servers are tiny, but for those who ask for the real image, each on a network of its own."""

from __future__ import annotations

import pytest

from support.kit import Kit
from support.notebook import notebook_image
from support.scenario import *  # noqa: F403
from support.tiny import tiny_image


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    return {
        "NOTEBOOK_IMAGE": tiny_image(),
        "ALLOWED_IMAGES": notebook_image(),
        "PULL_POLICY": "never",
        "NAMED_SERVERS": "true",
        "DELETE_DATA_WITH_USER": "true",
        "MEM_LIMIT": "512M",
        # On a machine that may have other things to do.
        "START_TIMEOUT": "180",
        "NETWORK_ISOLATION": "per-user",
        "USER_SUBNET_POOL": "10.215.0.0/20",
    }


@pytest.fixture(scope="package", autouse=True)
def own_configuration(kit: Kit) -> None:
    """Tiny servers are not JupyterHub servers: any HTTP answer makes them ready."""
    path = kit.folder / "hub/config.d/50-tiny.py"
    path.write_text('c.DockerSpawner.ready_check = "http"\n')
    path.chmod(0o644)
