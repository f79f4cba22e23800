"""The kit with the Postgres overlay."""

from __future__ import annotations

import pytest

from support.scenario import *  # noqa: F403
from support.standins import official

BOTH = "compose/compose.yaml:compose/compose.postgres.yaml"


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    return {"COMPOSE_FILE": BOTH, "POSTGRES_IMAGE": official("postgres")}
