"""What the converter must know of one system, and the list of systems. A new one is a file beside `melody.py`."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.sources import Released, Source
from jaxepi.pretrained.table import Table

# system -> module that holds its `SYSTEM`, imported when first asked for
_SYSTEMS = {
    "chromoformer": "jaxepi.pretrained.chromoformer",
    "deepcpg": "jaxepi.pretrained.deepcpg",
    "melody": "jaxepi.pretrained.melody",
}


@dataclasses.dataclass(frozen=True)
class System:
    """Released weights of one system.

    Attributes:
      name: as in configs and on the command line.
      model: class of our module; an instance has `.config`, an instance of `config`.
      config: frozen dataclass of the model's sizes.
      wrappers: keys under which the original keeps its state dict; the first is used for writing.
      prefixes: what wrappers of the original put before every name.
      signature: original names by which a file of this system is recognised.
      sizes: reads the config fields that the tensors tell; raises JaxepiError for a variant that is not supported.
      build: the model of a config, possibly abstract (`nnx.eval_shape`): every weight comes from the file.
      table: the weight table of a config.
      tracks: names of the output tracks of the released models with these sizes, or None if they have none.
      window: bp of input that the released models were trained on.
      predict: what users want of the model: one-hot (B, L, 4) -> (B, L or T, K); traceable. None for a model that
        reads genes (marks and contacts) and no sequence.
      rename: a tensor's name in any version of the original -> the one in `table`; None if there was one version.
      open: for files whose names or layout vary, or that come with a description: (source, asked sizes) -> tensors
        under the table's names, and sizes with what the file tells besides its tensors. None: names are the table's.
      write: for formats beyond plain named arrays: (model, path) -> True if it wrote a file of this suffix.
    """

    name: str
    model: type[nnx.Module]
    config: type
    wrappers: Sequence[str]
    prefixes: Sequence[str]
    signature: Sequence[str]
    sizes: Callable[[Mapping[str, np.ndarray], str], dict[str, Any]]
    build: Callable[[Any], nnx.Module]
    table: Callable[[Any], Table]
    tracks: Callable[[Any], tuple[str, ...] | None]
    window: int
    predict: Callable[[nnx.Module, jax.Array], jax.Array] | None
    rename: Callable[[str], str] | None = None
    open: Callable[[Source, Mapping[str, Any]], tuple[Released, dict[str, Any]]] | None = None
    write: Callable[[nnx.Module, Path], bool] | None = None


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
