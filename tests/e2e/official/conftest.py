"""The kit on Python's official image: Python and pip are in /usr/local, as they are not where Debian's are used."""

from __future__ import annotations

import pytest

from support.scenario import *  # noqa: F403
from support.standins import official


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    return {"PYTHON_IMAGE": official("python")}
