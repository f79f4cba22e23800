"""A kit brought up by `make up`, as an operator does, from a clone that was made under umask 077."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.kit import Kit


def make_private(kit: Kit) -> None:
    """Take all rights from others, as umask 077 does at `git clone`.

    Only root reads the lock files and the spawner's source, in builds: they keep their modes, and builds their cache.
    """
    kept = ("requirements.txt", "package.json", "package-lock.json")
    for folder, _, files in os.walk(kit.folder):
        of_the_kit = os.path.relpath(folder, kit.folder)
        if of_the_kit.split(os.sep)[0] != "spawner":
            os.chmod(folder, 0o700)
            for name in set(files) - {*kept}:
                path = os.path.join(folder, name)
                os.chmod(path, os.stat(path).st_mode & 0o700)


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A kit after its first `make up`; what that printed is in `first_output`."""
    kit = Kit(tmp_path_factory.mktemp("kit"))
    try:
        make_private(kit)
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
