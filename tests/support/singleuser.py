"""Modules of the notebook image, which are in no package."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from support.repo import ROOT


def module(name: str) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / f"singleuser/{name}.py")
    assert spec
    assert spec.loader
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
