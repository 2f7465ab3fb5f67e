"""What the generic code must know of a system: one frozen object, exported as `SYSTEM` by its package."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jaxepi.pretrained.sources import Released, Source
from jaxepi.pretrained.table import Table
from jaxepi.task import Task

Manifest = dict[str, Any]
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Toy:
    """A made-up dataset that fits in memory, with the sections of a small model for it."""

    manifest: Manifest
    records: list[Record]
    model: Mapping[str, Any]  # fields of config.model
    task: Mapping[str, Any]  # fields of config.task


@dataclasses.dataclass(frozen=True)
class Words:
    """How a report calls what was evaluated."""

    records: str = "windows"
    values: str = "measured values"
    plural: str = "values"  # what a plot counts
    reliability: str = "mean measured"  # axis of the reliability curve
    one_value: bool = False  # a record holds a single value
    classes: tuple[str, str] = ("measured as 0", "measured as 1")
    headlines: tuple[str, ...] = ("pearson", "r2", "mse")  # the values on top
    class_headlines: tuple[str, ...] = ("pearson", "auc", "mae")  # the same where targets have classes
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)  # instead of the usual ones
    metrics: Mapping[str, str] = dataclasses.field(default_factory=dict)  # instead of the usual descriptions


@dataclasses.dataclass(frozen=True)
class Published:
    """A model whose weights its authors have published.

    Attributes:
      name: of the model.
      files: what its authors call the files; words in braces stand for what differs between files of one model.
      where: they lie.
      parameters: numbers in the weights.
      sizes: fields of the model's config that differ from their defaults.
      tracks: names of the outputs; None: those of `Weights.released`.
    """

    name: str
    files: Sequence[str]
    where: str
    parameters: int
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tracks: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Weights:
    """Released weights of a system: how its files are recognised, read and written.

    Attributes:
      wrappers: keys under which the original keeps its state dict; the first is used for writing.
      prefixes: what wrappers of the original put before every name, beside those of `jaxepi.pretrained.table`.
      signature: original names by which a file of this system is recognised.
      sizes: reads the config fields that the tensors tell; raises JaxepiError for a variant that is not supported.
      table: the weight table of a config.
      released: (config of the model, names of tracks or None, fields of `config.task` that were asked for) -> the
        manifest that a dataset of the released models has, and the fields by which they read it, those asked for in.
      build: the model of a config, possibly abstract: every weight comes from the file. None: abstract.
      rename: a tensor's name in any version of the original -> the one in `table`; None if there was one version.
      open: for files whose names or layout vary, or that come with a description: (source, asked sizes) -> tensors
        under the table's names, and sizes with what the file tells besides its tensors. None: names are the table's.
      write: for formats beyond plain named arrays: (model, path, texts to keep in the file) -> True if it wrote a file
        of this suffix.
      noted: config fields that tensors do not tell, or not in which order: an export writes them beside the tensors. A
        tuple that the tensors tell is taken in the order of the file, or descending where that says nothing.
      beside: (config of the model) -> what the original's torch files hold beside the weights.
      named: (config, what was read) -> names of the tracks of a file that names none, if it is a released one that is
        known to have these; else None.
      published: the models that are published, for `jaxepi.list_pretrained`.
    """

    wrappers: Sequence[str]
    prefixes: Sequence[str]
    signature: Sequence[str]
    sizes: Callable[[Mapping[str, np.ndarray], str], dict[str, Any]]
    table: Callable[[Any], Table]
    released: Callable[[Any, Sequence[str] | None, Mapping[str, Any]], tuple[Manifest, dict[str, Any]]]
    build: Callable[[Any], nnx.Module] | None = None
    rename: Callable[[str], str] | None = None
    open: Callable[[Source, Mapping[str, Any]], tuple[Released, dict[str, Any]]] | None = None
    write: Callable[[nnx.Module, Path, Mapping[str, str]], bool] | None = None
    noted: Sequence[str] = ()
    beside: Callable[[Any], Mapping[str, Any]] | None = None
    named: Callable[[Any, Released], Sequence[str] | None] | None = None
    published: Sequence[Published] = ()


@dataclasses.dataclass(frozen=True)
class System:
    """One system.

    Attributes:
      name: as in configs and on the command line.
      about: one line for lists and help.
      datasets: kinds of dataset that it reads, as manifests name them.
      model: class of the model; an instance has `.config`, an instance of `sizes`.
      sizes: frozen dataclass of the model's sizes, the fields of `config.model`.
      task: class of the task.
      objective: frozen dataclass of its fields, those of `config.task`.
      toy: (seed, number of records) -> a made-up dataset, for tests and benchmarks.
      weights: released weights; None if there are none.
      words: region of the metrics' names -> how a report calls what lies there.
      capabilities: what only some systems can do -> "module:function", imported when it is asked for.
    """

    name: str
    about: str
    datasets: tuple[str, ...]
    model: type[nnx.Module]
    sizes: type
    task: type[Task]
    objective: type
    toy: Callable[..., Toy]
    weights: Weights | None = None
    words: Mapping[str, Words] = dataclasses.field(default_factory=dict)
    capabilities: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def abstract(self, config: Any) -> nnx.Module:
        """A model of this config whose weights are shapes, for loading into."""
        if self.weights is not None and self.weights.build is not None:
            return self.weights.build(config)
        return nnx.merge(*_traced(self.model, config), copy=True)


@functools.lru_cache(maxsize=16)
def _traced(model: type[nnx.Module], config: Any) -> tuple[Any, Any]:
    """Graph and shapes of a model; tracing takes a second or more, and one program often loads a config again."""
    return nnx.split(nnx.eval_shape(lambda: model(config, rngs=nnx.Rngs(0))))
