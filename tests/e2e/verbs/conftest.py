"""A kit brought up by `make up`, as an operator does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.kit import Kit


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A kit after its first `make up`; what that printed is in `first_output`."""
    kit = Kit(tmp_path_factory.mktemp("kit"))
    try:
        kit.write_env()
        kit.first_output = kit.make("up").stdout
        yield kit
    finally:
        kit.destroy()


@pytest.fixture
def restored(up: Kit) -> Iterator[Kit]:
    """The same, for a test that writes into .env: what it wrote is taken back, and the kit is up again."""
    kept = up.env_file.read_text()
    yield up
    up.env_file.write_text(kept)
    up.make("up")


@pytest.fixture
def another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A second clone on the same engine."""
    kit = Kit(tmp_path_factory.mktemp("another"))
    try:
        yield kit
    finally:
        kit.destroy()
