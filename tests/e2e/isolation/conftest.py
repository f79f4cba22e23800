from __future__ import annotations

import pytest

from support.scenario import *  # noqa: F403


@pytest.fixture(scope="package")
def kit_settings() -> dict[str, str | None]:
    return {"NETWORK_ISOLATION": "per-user", "USER_SUBNET_POOL": "10.214.0.0/20", "ALLOW_INTERNET": "true"}
