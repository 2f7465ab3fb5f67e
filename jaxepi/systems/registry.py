"""The registry of systems: one line each, imported when first asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.system import System
from jaxepi.task import Task

# system -> module that holds its `SYSTEM`, imported when first asked for
_SYSTEMS = {
    "chromoformer": "jaxepi.systems.chromoformer.weights",
    "deepcpg": "jaxepi.systems.deepcpg.weights",
    "melody": "jaxepi.systems.melody.weights",
}


def known_systems() -> list[str]:
    """Names of all systems, without importing them."""
    return list(_SYSTEMS)


def get_system(name: str) -> System:
    """The system of this name.

    Raises:
      JaxepiError: there is none, with the nearest name.
    """
    if name not in _SYSTEMS:
        known = ", ".join(map(repr, _SYSTEMS))
        raise JaxepiError(f"Unknown system {name!r}{did_you_mean(name, _SYSTEMS)}; known are {known}.")
    return importlib.import_module(_SYSTEMS[name]).SYSTEM


def system_of_model(model: nnx.Module) -> System:
    """The system whose class `model` is an instance of.

    Raises:
      JaxepiError: no system has this class.
    """
    for system in map(get_system, _SYSTEMS):
        if type(model) is system.model:
            return system
    raise JaxepiError(f"A {type(model).__name__} has no original layout; known systems are {', '.join(_SYSTEMS)}.")


def all_wrappers() -> list[str]:
    """Every key under which some system keeps its state dict."""
    return list(dict.fromkeys(key for system in map(get_system, _SYSTEMS) for key in system.wrappers))


# system -> where its task lives, imported when first asked for
_TASKS = {
    "chromoformer": ("jaxepi.systems.chromoformer.task", "ChromoformerTask"),
    "deepcpg": ("jaxepi.systems.deepcpg.task", "DeepCpGTask"),
    "melody": ("jaxepi.systems.melody.task", "MelodyTask"),
}


def make_task(config: Any, manifest: Mapping[str, Any]) -> Task:
    """The task of `config.system` for a dataset.

    Raises:
      JaxepiError: unknown system, unknown field, or a dataset that does not fit.
    """
    system = config.system
    if system not in _TASKS:
        raise JaxepiError(f"Unknown system {system!r}{did_you_mean(system, _TASKS)}; known are {sorted(_TASKS)}.")
    if manifest.get("system", system) != system:
        raise JaxepiError(f"The config is for {system!r}, but the dataset was prepared for {manifest['system']!r}.")
    module, name = _TASKS[system]
    return getattr(importlib.import_module(module), name)(config, manifest)
