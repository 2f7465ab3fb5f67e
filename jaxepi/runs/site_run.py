"""A trained run of single sites with its dataset: what imputation, motifs and base changes of a run start from."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import nnx
from tqdm import tqdm

from jaxepi.config import dataset_source
from jaxepi.data import Dataset
from jaxepi.data.open import find_dataset
from jaxepi.data.subset import drawn
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.registry import get_system
from jaxepi.task import Task
from jaxepi.trained import restore_model

Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SiteRun:
    """A trained model of single sites with a dataset."""

    task: Task
    model: nnx.Module
    dataset: Dataset
    workdir: Path

    def sites(self, split: str | None, most: int | None, seed: int = 0) -> list[tuple[str, int]]:
        """(split, number) of the sites of a split (None = all splits), or a seeded draw of `most` of them, in order.

        Raises:
          JaxepiError: no such split, or `most` is not positive.
        """
        known = list(self.dataset.splits)
        if split is not None and split not in known:
            raise JaxepiError(f"The dataset has no split {split!r}{did_you_mean(split, known)}, only {known}.")
        names = known if split is None else [split]
        places = [(name, number) for name in names for number in range(len(self.dataset.split(name)))]
        return [places[i] for i in drawn(len(places), most, "--most-sites", seed)]

    def batches(self, places: Sequence[tuple[str, int]], size: int, what: str, done: int = 0) -> Iterator[list[Record]]:
        """Records of the sites behind the first `done`, `size` at a time, with a progress line."""
        with tqdm(total=len(places), initial=done, unit="site", desc=what) as bar:
            for low in range(done, len(places), size):
                records = [self.dataset.split(name)[number] for name, number in places[low : low + size]]
                yield records
                bar.update(len(records))


def open_run(workdir: Path, config: Any, checkpoint: str | None) -> SiteRun:
    """A run with the dataset of `config` (None: the run's own).

    Raises:
      JaxepiError: no run or no dataset, or the run is of a system whose records are not single sites.
    """
    restored = restore_model(workdir, checkpoint)
    if restored.task.grid.at != "site":
        raise JaxepiError(
            f"{workdir} is a run of {restored.config.system!r}, but this is for models of single sites; predict "
            "serves the others."
        )
    source = dataset_source(config if config is not None else restored.config)
    dataset = find_dataset(**source, kinds=get_system(restored.config.system).datasets)
    for name in ("window", "neighbours", "cells"):
        held, wanted = dataset.manifest[name], restored.task.manifest[name]
        if held != wanted:
            raise JaxepiError(
                f"{dataset.path} has {name} {_short(held)}, but {workdir} was trained with {_short(wanted)}; prepare "
                "the dataset with the same --profiles, --dna-wlen and --cpg-wlen."
            )
    return SiteRun(restored.task, restored.model, dataset, workdir)


def _short(value: Any) -> str:
    return f"{value[:3]}... ({len(value)})" if isinstance(value, list) and len(value) > 3 else str(value)
