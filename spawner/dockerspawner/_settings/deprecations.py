"""Old names of settings and methods: each works, and says its new name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import observe

from dockerspawner._core import Core

_PACKAGE = __name__.partition(".")[0]

# Old name: new name, and the version of dockerspawner that renamed it.
RENAMED = {
    "container_ip": ("host_ip", "0.9"),
    "container_port": ("port", "0.9"),
    "container_image": ("image", "0.9"),
    "container_prefix": ("prefix", "0.10"),
    "container_name_template": ("name_template", "0.10"),
    "remove_containers": ("remove", "0.10"),
    "image_whitelist": ("allowed_images", "12.0"),
}

# Names that do nothing any more, and what to do instead.
IGNORED = {
    "hub_ip_connect": "use c.JupyterHub.hub_connect_ip",
    "use_docker_client_env": "Docker's environment variables are always read",
    **dict.fromkeys(
        ("certs_volume_name", "move_certs_image"),
        "each container has a volume of its own for its keys, and needs no image to put them there",
    ),
    **dict.fromkeys(
        ("tls", "tls_verify", "tls_ca", "tls_cert", "tls_key", "tls_assert_hostname"), "use DockerSpawner.tls_config"
    ),
}


def is_replaced(spawner: object, name: str) -> bool:
    """Does a subclass outside of this package, or the spawner object, override this method?"""
    owner = next((cls for cls in type(spawner).__mro__ if name in vars(cls)), object)
    return name in vars(spawner) or owner.__module__.partition(".")[0] != _PACKAGE


def takes(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Select the keyword `arguments` that `method` accepts: an override in a subclass may lack some of them."""
    parameters = inspect.signature(method).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return arguments
    names = {one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY}
    return {name: value for name, value in arguments.items() if name in names}


class _Renamed(AnyTrait):
    """Reads as the new setting where nobody has set it."""

    def default(self, obj: Any = None) -> Any:
        return None if obj is None else getattr(obj, RENAMED[str(self.name)][0])


def _renamed(name: str) -> AnyTrait:
    return _Renamed(config=True, help=f"Deprecated: use {RENAMED[name][0]}.")


def _ignored(name: str) -> AnyTrait:
    return AnyTrait(config=True, help=f"Deprecated and ignored: {IGNORED[name]}.")


class Deprecations(Core):
    """Settings and methods under the names that they once had."""

    container_ip = _renamed("container_ip")
    container_port = _renamed("container_port")
    container_image = _renamed("container_image")
    container_prefix = _renamed("container_prefix")
    container_name_template = _renamed("container_name_template")
    remove_containers = _renamed("remove_containers")
    image_whitelist = _renamed("image_whitelist")

    hub_ip_connect = _ignored("hub_ip_connect")
    use_docker_client_env = _ignored("use_docker_client_env")
    certs_volume_name = _ignored("certs_volume_name")
    move_certs_image = _ignored("move_certs_image")
    tls = _ignored("tls")
    tls_verify = _ignored("tls_verify")
    tls_ca = _ignored("tls_ca")
    tls_cert = _ignored("tls_cert")
    tls_key = _ignored("tls_key")
    tls_assert_hostname = _ignored("tls_assert_hostname")

    @observe(*RENAMED)
    def _pass_on(self, change: Any) -> None:
        new, version = RENAMED[change.name]
        if getattr(self, new) == change.new:
            return
        name = type(self).__name__
        self.log.warning(
            f"{name}.{change.name} is deprecated in DockerSpawner {version}, use {name}.{new} instead",
        )
        setattr(self, new, change.new)

    @observe(*IGNORED)
    def _say_ignored(self, change: Any) -> None:
        self.log.warning("%s.%s is deprecated and ignored: %s", type(self).__name__, change.name, IGNORED[change.name])

    def check_image_whitelist(self, *args: Any, **kwargs: Any) -> Awaitable[str]:
        """Deprecated: check_allowed."""
        name = type(self).__name__
        message = f"{name}.check_image_whitelist is deprecated in DockerSpawner 12.0, use {name}.check_allowed instead"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.check_allowed(*args, **kwargs)
