"""A kit whose servers are tiny, but for those who ask for the real image."""

from __future__ import annotations

import pytest

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
    }
