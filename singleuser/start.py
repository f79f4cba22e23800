"""The users' server, started as `jupyterhub-singleuser` starts it, but sooner; what each measure saves is in README.md.

Nothing that is installed is changed, and it holds for this process only: kernels and terminals have all as it is.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, module_from_spec, spec_from_file_location
from typing import Any

# jsonschema's optional checkers of formats that no schema of the server has (a test looks): it does without them
# where they can't be imported. They build a parser of internationalized addresses, and load a library of dates.
WITHOUT = ("rfc3987_syntax", "isoduration")
# Imported by what seldom uses it: loaded when it is used.
LATER = frozenset({"requests"})


class Later(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in LATER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


def beside(name: str) -> Any:
    """Load a module from this file's folder, which is not on the module search path."""
    spec = spec_from_file_location(name, os.path.join(os.path.dirname(__file__), f"{name}.py"))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What an import makes stays: looking for garbage meanwhile, and ever again after that, is in vain.
gc.disable()
for name in WITHOUT:
    sys.modules[name] = None  # type: ignore[assignment]
sys.meta_path.insert(0, Later())

from jupyterhub.singleuser import main  # noqa: E402

gc.freeze()
gc.enable()
beside("unreachable").install()
# Only set on a swarm whose nodes share the homes.
if os.environ.get("DOCKYARD_FENCE_AFTER"):
    beside("fence").start(os.environ)
main()
