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

from jaxepi.analysis.draw import drawn
from jaxepi.analysis.impute import Record, impute_files, task_predictor
from jaxepi.analysis.impute_store import FORMATS, require_h5py
from jaxepi.analysis.job import fresh_folder
from jaxepi.analysis.motifs import Motif, MotifCollector, convolution, write_motifs
from jaxepi.analysis.mutations import exact_effects, gradient_effects
from jaxepi.data import Dataset
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.evaluate.files import write_text
from jaxepi.pretrained.table import weights_digest
from jaxepi.sequence import decode
from jaxepi.tasks.sites import SiteTask
from jaxepi.train import startup
from jaxepi.train.checkpoint import restore_model

METHODS = ("gradient", "exact")
_BLOCK = 512  # sites of base changes that are held and written at a time
_FILTER_BATCH = 64  # sites whose activations are held at a time: 33 MB in float64 with 1001 bp and 128 filters


@dataclasses.dataclass(frozen=True)
class SiteRun:
    """A trained model of single sites with a dataset."""

    task: SiteTask
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

    def batches(self, places: Sequence[tuple[str, int]], size: int, what: str) -> Iterator[list[Record]]:
        """Records of the sites, `size` at a time, with a progress line."""
        with tqdm(total=len(places), unit="site", desc=what) as bar:
            for low in range(0, len(places), size):
                records = [self.dataset.split(name)[number] for name, number in places[low : low + size]]
                yield records
                bar.update(len(records))


def open_run(workdir: Path, config: Any, checkpoint: str) -> SiteRun:
    """A run with the dataset of `config` (None: the run's own).

    Raises:
      JaxepiError: no run or no dataset, or the run is of a system whose records are not single sites.
    """
    restored = restore_model(workdir, checkpoint)
    if not isinstance(restored.task, SiteTask):
        raise JaxepiError(
            f"{workdir} is a run of {restored.config.system!r}, but this mode is for models of single sites, such as "
            "deepcpg; --mode predict serves the others."
        )
    dataset = startup.find_dataset(config if config is not None else restored.config)
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
    """Effects of base changes on a run's predictions, as `effects.h5` and `profile.tsv` in `out`.

    Args:
      method: `gradient` or `exact`, see `jaxepi.analysis.mutations`.
      target: mean or var over the outputs, or the name of one output.
      width: bp in the middle of the window; None = all.

    Returns: number of sites.

    Raises:
      JaxepiError: the model reads no DNA, unknown method or target, or `out` is there already.
    """
    h5py = require_h5py()
    if run.task.first_convolution(run.model) is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so no base can be changed.")
    if method not in METHODS:
        raise JaxepiError(f"--effects is {method!r}{did_you_mean(method, METHODS)}; it must be one of {METHODS}.")
    if width is not None and width < 1:
        raise JaxepiError(f"--width is {width}: a positive number of bp was expected.")
    known = list(run.task.tracks)
    if target not in ("mean", "var") and target not in known:
        raise JaxepiError(
            f"--target is {target!r}{did_you_mean(target, known)}; it must be mean, var, or an output of the model."
        )
    chosen = known.index(target) if target in known else target
    places = run.sites(split, most_sites)
    with fresh_folder(out) as partial:
        low, profile = 0, None
        with h5py.File(partial / "effects.h5", "w") as file:
            file.attrs.update(method=method, target=target, channels="ACGT")
            for records in run.batches(places, _BLOCK, "effects"):
                effects, codes = _effects(run, records, method, chosen, width, batch_size)
                _append(file, records, effects, codes, len(places), low)
                strength = np.abs(effects).max(axis=2).sum(axis=0, dtype=np.float64)
                profile, low = strength if profile is None else profile + strength, low + len(records)
        if profile is None:
            raise JaxepiError(f"{run.dataset.path} has no site in split {split!r}.")
        rows = [f"{i - len(profile) // 2}\t{value / len(places):.6g}\n" for i, value in enumerate(profile)]
        write_text(partial / "profile.tsv", "offset\tmean_largest_effect\n" + "".join(rows))
    return len(places)


def _effects(
    run: SiteRun, records: Sequence[Record], method: str, target: str | int, width: int | None, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Effects (B, W, 4) and the base codes (B, W) of the same middle."""
    batch = run.task.collate(list(records))
    inputs, _ = run.task.prepare(batch, jax.random.key(0), False)
    others = sorted(name for name in inputs if name != "dna")
    predict, arrays = _predictor(run, others), [np.asarray(inputs[name]) for name in others]
    codes, length = batch["sequence"], batch["sequence"].shape[1]
    middle = slice(0, length)
    if width is not None:
        middle = slice(max(length // 2 - width // 2, 0), length // 2 + width // 2 + 1)
    if method == "exact":
        effects = exact_effects(predict, codes, arrays, target, width, batch_size=4 * batch_size)
    else:
        effects = gradient_effects(predict, codes, arrays, target, batch_size)[:, middle]
    return effects, codes[:, middle]


def _predictor(run: SiteRun, others: Sequence[str]) -> Callable[..., jax.Array]:
    run.model.eval()
    graph, weights = nnx.split(run.model)

    def predict(dna: jax.Array, *arrays: jax.Array) -> jax.Array:
        inputs = {"dna": dna, **dict(zip(others, arrays, strict=True))}
        return run.task.site_values(run.task.apply(nnx.merge(graph, weights), inputs))

    return predict


def _append(file: Any, records: Sequence[Record], effects: np.ndarray, codes: np.ndarray, total: int, low: int) -> None:
    """Rows from `low` on of the datasets, which the first call makes."""
    columns = {
        "chrom": [record["chrom"] for record in records],
        "position": np.array([int(record["start"]) for record in records], np.int64),
        "sequence": [decode(row) for row in codes],
        "effect": effects,
    }
    for name, values in columns.items():
        if name not in file:
            text = isinstance(values, list)
            shape = (total,) if text else (total, *values.shape[1:])
            kind = require_h5py().string_dtype() if text else values.dtype
            file.create_dataset(name, shape, kind, compression="gzip", chunks=True)
        file[name][low : low + len(values)] = values
