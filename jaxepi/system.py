"""What the converter must know of one system, and the list of systems. A new one is a file beside `melody.py`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.pretrained.sources import Released, Source
from jaxepi.pretrained.table import Table


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
