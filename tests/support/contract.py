"""Print what a package `dockerspawner` offers to configurations and subclasses, as JSON.

A separate script, because the Python of dockerspawner 14 also runs it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import sys
import warnings
from types import SimpleNamespace
from typing import Any

MODULES = (
    "dockerspawner",
    "dockerspawner._version",
    "dockerspawner.dockerspawner",
    "dockerspawner.swarmspawner",
    "dockerspawner.systemuserspawner",
    "dockerspawner.volumenamingstrategy",
)
CLASSES = ("DockerSpawner", "SwarmSpawner", "SystemUserSpawner")
HUB = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")

# Sample values for traits, by a name for the report.
SAMPLES: dict[str, Any] = {
    "None": None,
    "False": False,
    "True": True,
    "0": 0,
    "1": 1,
    "1.5": 1.5,
    "''": "",
    "text": "text",
    "1G": "1G",
    "[]": [],
    "[text]": ["text"],
    "{}": {},
    "{a: b}": {"a": "b"},
    "callable": lambda *arguments: None,
}


def plain(value: Any) -> Any:
    """Convert `value` to JSON, without the memory address in a function's repr."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return getattr(value, "__name__", type(value).__name__)


def parameters(function: Any) -> list[tuple[str, str, bool]]:
    """Return name, kind, and whether the parameter is optional."""
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind.name, one.default is not one.empty) for one in found if one.name != "self"]


def spawner_of(cls: Any) -> Any:
    log = logging.getLogger("contract")
    log.disabled = True
    user = SimpleNamespace(name="root", url="/user/root/", escaped_name="root")
    return cls(user=user, hub=HUB, api_token="token", log=log)


def accepted(cls: Any, name: str) -> list[str]:
    """List the samples that a trait accepts."""
    found = []
    for sample, value in SAMPLES.items():
        spawner = spawner_of(cls)
        try:
            setattr(spawner, name, value)
        except Exception:
            continue
        found.append(sample)
    return found


def trait(cls: Any, name: str, found: Any) -> dict[str, Any]:
    try:
        default = plain(getattr(spawner_of(cls), name))
    except Exception as error:
        default = f"raises {type(error).__name__}"
    return {
        "kind": "trait",
        "type": type(found).__name__,
        "config": bool(found.metadata.get("config")),
        "default": default,
        "accepts": accepted(cls, name),
    }


def member(cls: Any, name: str, found: Any) -> dict[str, Any]:
    from traitlets import TraitType
    from traitlets.traitlets import DefaultHandler, EventHandler

    if isinstance(found, TraitType):
        return trait(cls, name, found)
    if isinstance(found, property):
        return {"kind": "property"}
    if isinstance(found, DefaultHandler):
        return {"kind": "default", "parameters": []}
    if isinstance(found, EventHandler):
        return {"kind": "handler"}
    if isinstance(found, (staticmethod, classmethod)):
        return {"kind": "method", "parameters": parameters(found.__func__)}
    if inspect.isfunction(found):
        return {"kind": "method", "parameters": parameters(found)}
    return {"kind": "value"}


def members(cls: Any) -> dict[str, Any]:
    """List the members that the package adds to JupyterHub's Spawner, or overrides."""
    from jupyterhub.spawner import Spawner

    found = {}
    for name in dir(cls):
        attribute = inspect.getattr_static(cls, name)
        inherited = inspect.getattr_static(Spawner, name, None) is attribute
        if not (inherited or (name.startswith("__") and name.endswith("__"))):
            found[name] = member(cls, name, attribute)
    return found


def main(wanted: dict[str, list[str]]) -> dict[str, Any]:
    """`wanted` are additional names per module."""
    warnings.simplefilter("ignore")
    modules = {}
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            modules[name] = []
            continue
        listed = [one for one in vars(module) if not one.startswith("__") or one in ("__all__", "__version__")]
        modules[name] = listed + [one for one in wanted.get(name, []) if one not in listed and hasattr(module, one)]
    package = importlib.import_module("dockerspawner")
    return {"modules": modules, "classes": {name: members(getattr(package, name)) for name in CLASSES}}


if __name__ == "__main__":
    json.dump(main(json.loads(sys.argv[1]) if sys.argv[1:] else {}), sys.stdout)
