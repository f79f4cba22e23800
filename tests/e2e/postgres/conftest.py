"""The kit with the Postgres overlay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.scenario import *  # noqa: F403
from support.standins import image_of, official

BOTH = "compose/compose.yaml:compose/compose.postgres.yaml"


@pytest.fixture(scope="package")
def kit_settings() -> Iterator[dict[str, str | None]]:
    with official(image_of("postgres", "postgres")):
        yield {"COMPOSE_FILE": BOTH}
