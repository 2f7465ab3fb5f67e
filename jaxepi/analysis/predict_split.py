"""Predictions of a dataset beside their targets, as of the original basenji_test.py --save: HDF5, streamed.

Letters: N records, T bins, K tracks, B rows of a batch.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from jaxepi import __version__
from jaxepi.analysis.bins.values import as_kind, check_finite, notes_of, short_list
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.storage.job import finished, require_h5py, write_errors
from jaxepi.storage.row_store import RowArray, RowStore, texts
from jaxepi.storage.write_behind import WriteBehind
from jaxepi.task import Task, Views, mean_over

SUMMARY = "predict.json"
PREDICTIONS, TARGETS = "preds.h5", "targets.h5"


def predict_split_files(
    predictor: Predictor,
    *,
    dataset: Any,
    split: str,
    out_dir: str | os.PathLike[str],
    batch_size: int = 4,
    views: Views | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `preds.h5` and `targets.h5` of a split of a dataset, in its order, and `predict.json`.

    They hold `preds` and `targets` (N, T, K) float16 with `tracks` (K,); a target that is masked out is NaN. Memory
    does not grow with the job. A job that was killed goes on when the same call is made again and gives the same
    bytes; a finished one is not repeated.

    Args:
      predictor: from `jaxepi.load`, of a model of bins.
      dataset: of a kind that the system reads.
      split: its name.
      out_dir: a folder that does not exist yet.
      batch_size: windows at a time.
      views: shifts and strands over whose predictions a mean is taken; None for the windows as they are.
      progress: show a progress line.

    Raises:
      JaxepiError: the dataset does not fit the model, or the disk is full.
    """
    if predictor.grid.at != "bin":
        raise JaxepiError(f"{predictor.source} does not predict bins.")
    views = views or Views()
    views.check(predictor.task, predictor.source)
    require_h5py()
    records, task = dataset.split(split), predictor.for_dataset(dataset.manifest)
    size = predictor.rows(batch_size)
    arguments = {
        "model": predictor.digest(),
        "dataset": dataset.fingerprint,
        "split": split,
        "tracks": short_list(predictor.tracks),
        "batch_size": size,
        "rc": views.reverse_complement,
        "shifts": list(views.shifts),
    }
    out = Path(out_dir).absolute()
    if (done := finished(out, SUMMARY, arguments, "prediction")) is not None:
        return done
    with write_errors(out), RowStore(out, arguments, saved_arrays(len(records), task, predictor.tracks)) as store:
        rest = (records[number] for number in range(store.rows, len(records)))
        bar = tqdm(total=len(records), initial=store.rows, unit="window", disable=not progress, desc="predict")
        with bar, WriteBehind() as behind:
            for batch, made in predictor.over(rest, task, functools.partial(values_and_targets, views=views), size):
                behind.submit(functools.partial(_append, store, made, bar, len(batch)))
        summary = {
            "jaxepi_version": __version__,
            "source": predictor.source,
            "windows": len(records),
            "tracks": len(predictor.tracks),
            "notes": notes_of(store.state),
        }
        store.publish(SUMMARY, summary)
    return {"arguments": arguments, **summary}


def saved_arrays(records: int, task: Task, tracks: Sequence[str]) -> dict[str, RowArray]:
    """File -> what it holds, for the predictions of so many records beside their targets."""
    shape = (records, task.grid.values(task.window), len(tracks))
    beside = {"tracks": texts(tracks)}
    return {
        PREDICTIONS: RowArray("preds", shape, np.float16, beside),
        TARGETS: RowArray("targets", shape, np.float16, beside),
    }


def values_and_targets(
    model: nnx.Module, task: Task, batch: Mapping[str, Any], views: Views | None = None
) -> dict[str, jax.Array]:
    """Predictions and targets (B, T, K) float16 of a collated batch, and what did not fit; traceable."""
    inputs, targets = task.prepare(dict(batch), jax.random.key(0), False)
    shown = task.predictions(task.apply(model, inputs), targets)
    preds, finite, beyond = as_kind(mean_over(model, task, inputs, views or Views()), np.float16)
    measured = jnp.where(shown["mask"] != 0, shown["target"], jnp.nan).astype(jnp.float16)
    return {"preds": preds, "targets": measured, "finite": finite, "beyond": beyond}


def _append(store: RowStore, made: Mapping[str, np.ndarray], bar: tqdm, rows: int) -> None:
    check_finite(made["finite"], lambda row: f"record {store.rows + row} of the split")
    store.append({PREDICTIONS: made["preds"], TARGETS: made["targets"]}, beyond=made["beyond"].sum())
    bar.update(rows)
