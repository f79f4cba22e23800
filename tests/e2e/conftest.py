"""The whole kit, as its users meet it. One folder a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.needs("engine"))
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.needs("browser"))
