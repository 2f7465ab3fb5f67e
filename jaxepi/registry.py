"""The registry of systems: one line each, imported when first asked for. The only place that names them all."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from jaxepi.config import check_run, from_section
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.system import System, Weights
from jaxepi.task import Task

# name -> package that exports `SYSTEM`
SYSTEMS = {
    "basenji": "jaxepi.systems.basenji",
    "chromoformer": "jaxepi.systems.chromoformer",
    "cs282a": "jaxepi.systems.cs282a",
    "deepcpg": "jaxepi.systems.deepcpg",
    "epiformer": "jaxepi.systems.epiformer",
    "melody": "jaxepi.systems.melody",
}


def known_systems() -> list[str]:
    """Names of all systems, without importing them."""
    return list(SYSTEMS)


def get_system(name: str) -> System:
    """The system of this name.

    Raises:
      JaxepiError: there is none, with the nearest name.
    """
    if name not in SYSTEMS:
        known = ", ".join(map(repr, SYSTEMS))
        raise JaxepiError(f"Unknown system {name!r}{did_you_mean(name, SYSTEMS)}; known are {known}.")
    return importlib.import_module(SYSTEMS[name]).SYSTEM


def systems_with_weights() -> list[tuple[System, Weights]]:
    """Every system that has released weights."""
    found = map(get_system, SYSTEMS)
    return [(system, system.weights) for system in found if system.weights is not None]


def system_of_model(model: nnx.Module) -> System:
    """The system whose class `model` is an instance of.

    Raises:
      JaxepiError: no system has this class.
    """
    for system in map(get_system, SYSTEMS):
        if type(model) is system.model:
            return system
    raise JaxepiError(f"A {type(model).__name__} has no original layout; known systems are {', '.join(SYSTEMS)}.")


def all_wrappers() -> list[str]:
    """Every key under which some system keeps its state dict."""
    return list(dict.fromkeys(key for _, weights in systems_with_weights() for key in weights.wrappers))


def capability(system: System, name: str) -> Callable[..., Any]:
    """The function by which a system does what only some systems can do, such as "impute".

    Raises:
      JaxepiError: this one cannot; told with those that can.
    """
    if name not in system.capabilities:
        able = [other for other in SYSTEMS if name in get_system(other).capabilities]
        raise JaxepiError(f"{system.name} has no {name}; {', '.join(able) or 'no system'} has.")
    module, function = system.capabilities[name].split(":")
    return getattr(importlib.import_module(module), function)


def check_config(config: Any) -> None:
    """Everything in the config of a run that can be known to be wrong without its dataset.

    Raises:
      JaxepiError: an unknown system or field, or a number out of its limits.
    """
    check_run(config)
    system = get_system(config.system)
    for name, cls in (("model", system.sizes), ("task", system.objective)):
        told = {field: value for field, value in config[name].items() if value is not None}  # None: the dataset says
        from_section(cls, told, f"config.{name}")


def default_sections(name: str) -> dict[str, Any]:
    """The sections of a system's config with the defaults of their fields."""
    system = get_system(name)
    return {"model": dataclasses.asdict(system.sizes()), "task": dataclasses.asdict(system.objective())}


def make_task(config: Any, manifest: Mapping[str, Any]) -> Task:
    """The task of `config.system` for a dataset; the only reader of a config among tasks.

    Raises:
      JaxepiError: unknown system, unknown field, or a dataset that does not fit.
    """
    dataset = config.get("dataset") or {}
    return task_of(get_system(config.system), config.model, config.task, manifest, tuple(dataset.get("tracks", ())))


def task_of(
    system: System,
    sizes: Mapping[str, Any],
    objective: Mapping[str, Any],
    manifest: Mapping[str, Any],
    tracks: tuple[str | int, ...] = (),
) -> Task:
    """A system's task from its sections, for a dataset of a kind that the system reads.

    Raises:
      JaxepiError: a dataset of another kind, or what the task itself refuses.
    """
    kind = manifest.get("kind", manifest.get("system", system.datasets[0]))
    if kind not in system.datasets:
        raise JaxepiError(
            f"{system.name} reads datasets of {' or '.join(map(repr, system.datasets))}, but the dataset was prepared "
            f"for {kind!r}."
        )
    return system.task(sizes, objective, manifest, tracks)
