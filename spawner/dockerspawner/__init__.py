"""Start JupyterHub single-user servers as Docker containers."""

import warnings
from importlib.metadata import PackageNotFoundError, version

from dockerspawner.dockerspawner import DockerSpawner
from dockerspawner.swarmspawner import SwarmSpawner, SwarmSystemUserSpawner
from dockerspawner.systemuserspawner import SystemUserSpawner

__all__ = ["DockerSpawner", "SwarmSpawner", "SwarmSystemUserSpawner", "SystemUserSpawner", "__version__"]


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


__version__ = _installed("dockyard-spawner")

if _installed("dockerspawner"):
    warnings.warn(
        "The distribution dockerspawner is installed beside dockyard-spawner, whose package has the same name: "
        "pip uninstall dockerspawner, then install dockyard-spawner again",
        stacklevel=2,
    )
