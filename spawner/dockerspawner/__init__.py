"""Start JupyterHub single-user servers as Docker containers.

Private folders, from the lowest to the highest; each imports only from those before it: _errors, _records, _settings,
_engine, _profiles, _networks, _images, _storage, _start, _swarm. The public modules put them together.
"""

import warnings

from dockerspawner._version import __version__, installed
from dockerspawner.dockerspawner import DockerSpawner
from dockerspawner.swarmspawner import SwarmSpawner, SwarmSystemUserSpawner
from dockerspawner.systemuserspawner import SystemUserSpawner

__all__ = ["DockerSpawner", "SwarmSpawner", "SwarmSystemUserSpawner", "SystemUserSpawner", "__version__"]

if installed("dockerspawner"):
    warnings.warn(
        "The distribution dockerspawner is installed beside dockyard-spawner, whose package has the same name: "
        "pip uninstall dockerspawner, then install dockyard-spawner again",
        stacklevel=2,
    )
