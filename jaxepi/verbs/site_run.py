"""Imputation, motifs and base changes of a trained run of single sites: what launch.py --mode impute and others do.

The parts are in `impute`, `motifs` and `mutations`; here they meet a run, its dataset and files. B sites, L bp.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from jaxepi import __version__
from jaxepi.analysis.filter_motifs import Motif, MotifCollector, convolution, middle_slice, write_motifs
from jaxepi.analysis.mutagenesis import TARGETS, exact_function, gradient_function
from jaxepi.analysis.mutagenesis_files import SUMMARY, EffectStore
from jaxepi.config import dataset_source
from jaxepi.data import Dataset
from jaxepi.data.open import find_dataset
from jaxepi.data.subset import drawn
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.table import weights_digest
from jaxepi.storage.job import finished, fresh_folder, require_h5py, write_errors
from jaxepi.systems.deepcpg.impute import Record, impute_files, task_predictor
from jaxepi.systems.deepcpg.impute_files import FORMATS
from jaxepi.task import Task
from jaxepi.trained import restore_model

METHODS = ("gradient", "exact")
_FILTER_BATCH = 64  # sites whose activations are held at a time: 33 MB in float64 with 1001 bp and 128 filters


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
        return [places[i] for i in drawn(len(places), most, "--most_sites", seed)]

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
            f"{workdir} is a run of {restored.config.system!r}, but this mode is for models of single sites; "
            "--mode predict serves the others."
        )
    dataset = find_dataset(**dataset_source(config if config is not None else restored.config))
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


def impute_run(
    run: SiteRun,
    out: Path,
    *,
    split: str | None = None,
    outputs: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
    values: str = "imputed",
    batch_size: int = 512,
) -> dict[str, Any]:
    """Every site and output of a run's dataset as files, see `impute_files`; variance classes are left out."""
    names = [name for name in run.task.tracks if "/cat_var/" not in name] if outputs is None else list(outputs)
    return impute_files(
        task_predictor(run.task, run.model, names),
        run.dataset,
        outputs=names,
        model=weights_digest(run.model),
        out_dir=out,
        splits=None if split is None else [split],
        formats=formats,
        values=values,
        batch_size=batch_size,
    )


def motifs_run(
    run: SiteRun,
    out: Path,
    *,
    split: str | None = None,
    most_sites: int | None = None,
    trim_bits: float | None = None,
) -> list[Motif]:
    """Motifs and logos of the first filters, see `write_motifs`.

    Raises:
      JaxepiError: the model reads no DNA, or `out` is there already.
    """
    filters = run.task.first_convolution(run.model)
    if filters is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so it has no filters to look at.")
    kernel, bias = (np.asarray(array, np.float32) for array in filters)
    activate, collector = convolution(kernel, bias), MotifCollector(kernel.shape[2], kernel.shape[0])
    with fresh_folder(out) as partial:
        for records in run.batches(run.sites(split, most_sites), _FILTER_BATCH, "motifs"):
            # Padded to one shape, so that it is compiled once; the padding is cut off before it counts.
            padded = run.task.collate([*records, *[None] * (_FILTER_BATCH - len(records))])["sequence"]
            collector.add(padded[: len(records)], activate(padded)[: len(records)])
        return write_motifs(partial, collector, kernel, trim_bits=trim_bits)


def effects_run(
    run: SiteRun,
    out: Path,
    *,
    method: str = "gradient",
    target: str = "mean",
    width: int | None = None,
    split: str | None = None,
    most_sites: int | None = None,
    batch_size: int = 128,
) -> int:
    """Effects of base changes on a run's predictions, as `effects.h5`, `profile.tsv` and `effects.json` in `out`.

    A job that was killed goes on when the same call is made again and gives the same files; a finished one is not
    repeated.

    Args:
      method: `gradient` or `exact`, see `jaxepi.analysis.mutagenesis`.
      target: mean or var over the outputs, or the name of one output.
      width: bp in the middle of the window; None = all.
      batch_size: sites at a time; exact: four times as many changed sequences.

    Returns: number of sites.

    Raises:
      JaxepiError: the model reads no DNA, unknown method or target, no site, something else at `out`, or a full disk.
    """
    _check_effects(run, method, target, width)
    places = run.sites(split, most_sites)
    if not places:
        raise JaxepiError(f"{run.dataset.path} has no site in split {split!r}.")
    arguments = {
        "model": weights_digest(run.model),
        "dataset": run.dataset.fingerprint,
        "split": split,
        "most_sites": most_sites,
        "effects": method,
        "target": target,
        "width": width,
        "batch_size": batch_size,
    }
    out = out.absolute()
    if (done := finished(out, SUMMARY, arguments, "table of effects")) is not None:
        return done["sites"]
    compute, bases = _effects(run, method, target, width, batch_size)
    block = batch_size if method == "gradient" else 1  # the exact effects of a site are thousands of predictions
    with write_errors(out), EffectStore(out, arguments, bases) as store:
        for records in run.batches(places, block, "effects", done=store.sites):
            effects, codes = compute(records)
            starts = np.array([int(record["start"]) for record in records])
            store.append_sites([record["chrom"] for record in records], starts, effect=effects, sequence=codes)
        store.finish({"jaxepi_version": __version__, "sites": store.sites}, {"method": method, "target": target})
    return len(places)


def _check_effects(run: SiteRun, method: str, target: str, width: int | None) -> None:
    require_h5py()
    if run.task.first_convolution(run.model) is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so no base can be changed.")
    if method not in METHODS:
        raise JaxepiError(f"--effects is {method!r}{did_you_mean(method, METHODS)}; it must be one of {METHODS}.")
    if width is not None and width < 1:
        raise JaxepiError(f"--width is {width}: a positive number of bp was expected.")
    known = list(run.task.tracks)
    if target not in TARGETS and target not in known:
        raise JaxepiError(
            f"--target is {target!r}{did_you_mean(target, [*TARGETS, *known])}; it must be mean, var, or an output of "
            f"the model, such as {known[0]}."
        )


def _effects(
    run: SiteRun, method: str, target: str, width: int | None, batch_size: int
) -> tuple[Callable[[Sequence[Record]], tuple[np.ndarray, np.ndarray]], int]:
    """The function from B records to effects (B, W, 4) and base codes (B, W), compiled once; and W."""
    run.model.eval()
    graph, weights = nnx.split(run.model)

    def read(records: Sequence[Record | None]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Base codes (B, L), and what else the model reads."""
        batch = run.task.collate(list(records))
        inputs, _ = run.task.prepare(batch, jax.random.key(0), False)
        return batch["sequence"], {name: np.asarray(values) for name, values in inputs.items() if name != "dna"}

    padding, others = read([None])

    def predict(dna: jax.Array, *arrays: jax.Array) -> jax.Array:
        inputs = {"dna": dna, **dict(zip(others, arrays, strict=True))}
        return run.task.values(run.task.apply(nnx.merge(graph, weights), inputs))[:, 0]

    middle = middle_slice(padding.shape[1], width)
    chosen = run.task.tracks.index(target) if target in run.task.tracks else target
    if method == "exact":
        function = exact_function(predict, chosen, width, 4 * batch_size)
    else:
        function = gradient_function(predict, chosen, batch_size)

    def effects(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
        codes, inputs = read(records)
        made = function(codes, [inputs[name] for name in others])
        return (made if method == "exact" else made[:, middle]), codes[:, middle]

    return effects, middle.stop - middle.start
