"""A test that can't run here says why; where REQUIRE says that tests must run, it fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE"):
        pytest.fail(reason)
    pytest.skip(reason)
