"""The version of the distribution dockyard-spawner."""

from importlib.metadata import PackageNotFoundError, version


def installed(distribution: str) -> str:
    """The version of a distribution, empty where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


__version__ = installed("dockyard-spawner")
version_info = tuple(int(part) if part.isdigit() else part for part in __version__.split("."))
