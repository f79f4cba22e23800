"""Start JupyterHub single-user servers as Docker containers."""

from dockerspawner.dockerspawner import DockerSpawner

__all__ = ["DockerSpawner"]
