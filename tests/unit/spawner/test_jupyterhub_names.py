"""JupyterHub's private names on a spawner, which this package must not override by accident."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import pytest
from jupyterhub.spawner import Spawner
from traitlets.config import LoggingConfigurable

from dockerspawner import DockerSpawner, SwarmSpawner, SystemUserSpawner

# Private names that JupyterHub's Spawner has beside what every configurable object has; `_log_name` and the like.
JUPYTERHUBS = {name for name in dir(Spawner) if name.startswith("_") and not name.startswith("__")}
JUPYTERHUBS -= set(dir(LoggingConfigurable))


def ours(spawner: type) -> list[type]:
    return [cls for cls in spawner.__mro__ if cls.__module__.startswith("dockerspawner")]


def private_names(cls: type) -> Iterator[str]:
    """List names that a class defines, and that its methods set on the spawner."""
    yield from vars(cls)
    for node in ast.walk(ast.parse(inspect.getsource(cls))):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


@pytest.mark.parametrize("spawner", [DockerSpawner, SwarmSpawner, SystemUserSpawner])
def test_no_private_name_of_jupyterhubs_is_taken(spawner: type) -> None:
    """For example, JupyterHub checks `_failed` to decide about the spawner object: a method would always be true."""
    assert {"_failed", "_spawn_pending", "_server"} <= JUPYTERHUBS
    taken = {name: cls.__name__ for cls in ours(spawner) for name in private_names(cls) if name in JUPYTERHUBS}
    assert taken == {}
