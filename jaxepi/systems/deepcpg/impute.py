"""Methylation at every site of a dataset in every cell: observed values kept, missing ones predicted.

The predictor is any function from records to values, so that the same export serves every model of sites × cells:

    run = restore_model("runs/deepcpg")  # of jaxepi.storage.checkpoint; weights_digest is of jaxepi.pretrained.table
    predict = task_predictor(run.task, run.model)
    impute_files(predict, dataset, outputs=run.task.tracks, model=weights_digest(run.model), out_dir="imputed")
"""

import heapq
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from jaxepi import __version__
from jaxepi.data import Dataset
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.storage.job import finished, require_h5py, write_errors
from jaxepi.systems.deepcpg.impute_files import FORMATS, SUMMARY, ImputationStore
from jaxepi.task import Task, predicted

VALUES = ("imputed", "predicted")

Record = Mapping[str, Any]
# B records (None = a padding row) to values (B, K); may return before the device is done.
Predict = Callable[[Sequence[Record | None]], Any]
# the rows of a batch with their splits
Rows = list[tuple[str, Record]]


def impute_files(
    predict: Predict,
    dataset: Dataset,
    *,
    outputs: Sequence[str],
    model: str,
    out_dir: str | os.PathLike[str],
    splits: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
    values: str = "imputed",
    batch_size: int = 512,
    round_observed: bool = False,
    original_bedgraph: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `imputed.tsv.gz`, `bedgraph/<cell>.bedGraph.gz`, `imputed.h5` and `impute.json`.

    All of it or nothing. Sites of all splits come in genome order (chromosomes sorted as text). Memory does not grow
    with the job. A job that was killed goes on when the same call is made again and gives the same files; a finished
    one is not repeated.

    Args:
      predict: B records to values (B, K) of the outputs; a padding row is None and its values are not used.
      dataset: from `open_dataset`.
      outputs: K names, each of them `cpg/<cell>` or a statistic, in the order of `predict`.
      model: what tells models apart, such as a digest of the weights; a job goes on only with the same one.
      out_dir: a folder that does not exist yet.
      splits: which splits; None for all.
      formats: any of tsv, bedgraph, hdf5.
      values: "imputed" keeps what was observed, as the original; "predicted" gives the prediction everywhere.
      batch_size: sites at a time.
      round_observed: fractional observed values become 0 or 1 (half to even), as in the original.
      original_bedgraph: bedGraphs as the original writes them, see `impute_files.write_bedgraphs`.
      progress: show a progress line.

    Returns: the content of `impute.json`: `sites`, `outputs`, `observed` (share of the entries) and the arguments.

    Raises:
      JaxepiError: unfitting arguments, told before any work; a prediction that is not finite; or the disk is full.
    """
    _check(outputs, formats, values, batch_size, dataset)
    names = _splits(dataset, splits)
    arguments = {
        "model": model,
        "dataset": dataset.fingerprint,
        "splits": names,
        "outputs": list(outputs),
        "formats": [name for name in FORMATS if name in formats],
        "values": values,
        "batch_size": batch_size,
        "round_observed": round_observed,
        "original_bedgraph": original_bedgraph,
    }
    out = Path(out_dir).absolute()
    if (done := finished(out, SUMMARY, arguments, "imputation")) is not None:
        return done
    labels = _Labels(dataset.manifest, outputs, round_observed)
    with write_errors(out):
        store = ImputationStore(out, arguments, outputs, names)
        try:
            observed = _impute_all(predict, dataset, store, labels, names, values, batch_size, progress)
            summary = {"jaxepi_version": __version__, "sites": store.sites, "observed": observed}
            if progress:
                print(f"writing {', '.join(arguments['formats'])} for {store.sites} sites", file=sys.stderr)
            store.finish(formats, summary, original_bedgraph)
        finally:
            store.close()
    return {"arguments": arguments, **summary}


def task_predictor(task: Task, model: nnx.Module, outputs: Sequence[str] | None = None) -> Predict:
    """The predictor of a task whose records are sites (one prediction a record and track), compiled.

    Args:
      task: such as jaxepi.systems.deepcpg.task.DeepCpGTask; has `tracks`, the names of its predictions.
      model: with the weights.
      outputs: which tracks, in order; None for all.

    Raises:
      JaxepiError: a track that the task does not have.
    """
    names = list(task.tracks)
    for name in outputs or ():
        if name not in names:
            raise JaxepiError(f"The model has no output {name!r}{did_you_mean(name, names)}.")
    columns = np.array([names.index(name) for name in (names if outputs is None else outputs)])
    model.eval()
    graph, weights = nnx.split(model)

    @jax.jit
    def run(weights: nnx.State, batch: dict[str, jax.Array]) -> jax.Array:
        return predicted(nnx.merge(graph, weights), task, batch)[:, 0, columns]

    return lambda records: run(weights, task.collate(records))


def in_genome_order(dataset: Dataset, splits: Sequence[str], taken: Mapping[str, int]) -> Iterator[tuple[str, Record]]:
    """Records of several splits, each of them sorted, by chromosome (as text) and position, with their split.

    Args:
      dataset: an open dataset.
      splits: which splits.
      taken: how many records of each split to pass over.
    """

    def records(name: str) -> Iterator[tuple[str, Record]]:
        split = dataset.split(name)
        for i in range(taken[name], len(split)):
            yield name, split[i]

    return heapq.merge(*(records(name) for name in splits), key=lambda row: (row[1]["chrom"], int(row[1]["start"])))


class _Labels:
    """Observed values of records in the columns of the outputs."""

    def __init__(self, manifest: Mapping[str, Any], outputs: Sequence[str], rounded: bool):
        self._rounded = rounded
        self._size = len(outputs)
        place = {name: i for i, name in enumerate(outputs)}
        self._of_cell = np.array([place.get(f"cpg/{name}", -1) for name in manifest["cells"]], np.int64)
        pairs = [(i, place[name]) for i, name in enumerate(manifest["statistics"]) if name in place]
        self._statistic, self._of_statistic = np.array(pairs, np.int64).reshape(-1, 2).T

    def of(self, records: Sequence[Record]) -> np.ndarray:
        """Values (B, K) float32, NaN = not observed."""
        labels = np.full((len(records), self._size), np.nan, np.float32)
        for row, record in zip(labels, records, strict=True):
            column = self._of_cell[record["cell"]]
            row[column[column >= 0]] = np.asarray(record["value"], np.float32)[column >= 0]
            row[self._of_statistic] = record["statistics"][self._statistic]
            if self._rounded:
                cells = column[column >= 0]
                row[cells] = np.rint(row[cells])
        return labels


def _impute_all(
    predict: Predict,
    dataset: Dataset,
    store: ImputationStore,
    labels: _Labels,
    splits: Sequence[str],
    values: str,
    size: int,
    progress: bool,
) -> float | None:
    """Batch after batch from where the store stands; the device works on one while the last one is written."""
    total = sum(len(dataset.split(name)) for name in splits)
    rows = in_genome_order(dataset, splits, store.taken)
    with (
        ThreadPoolExecutor(1) as reader,
        tqdm(total=total, initial=store.sites, unit="site", disable=not progress, desc="impute") as bar,
    ):

        def write(batch: Rows, result: Any) -> None:
            records = [record for _, record in batch]
            predicted = np.asarray(result, np.float32)[: len(records)]
            _check_prediction(predicted, records, store.outputs)
            known = labels.of(records)
            observed = ~np.isnan(known)
            kept = np.where(observed, known, predicted) if values == "imputed" else predicted
            positions = np.array([int(record["start"]) for record in records], np.int64)
            store.append([r["chrom"] for r in records], positions, kept, observed, [name for name, _ in batch])
            bar.update(len(records))

        waiting = None
        ahead = reader.submit(lambda: list(islice(rows, size)))
        while batch := ahead.result():
            ahead = reader.submit(lambda: list(islice(rows, size)))
            padding = [None] * (size - len(batch))  # one shape, one compilation
            result = predict([record for _, record in batch] + padding)
            if waiting:
                write(*waiting)
            waiting = (batch, result)
        if waiting:
            write(*waiting)
    store.sync()
    marks = [(block[3].sum(), block[3].size) for block in store.blocks()]
    return float(sum(m for m, _ in marks) / sum(n for _, n in marks)) if marks else None


def _check_prediction(predicted: np.ndarray, records: Sequence[Record], outputs: Sequence[str]) -> None:
    if predicted.shape != (len(records), len(outputs)):
        raise JaxepiError(
            f"The predictor gave an array of shape {predicted.shape} for {len(records)} sites and {len(outputs)} "
            "outputs."
        )
    wrong = np.argwhere(~np.isfinite(predicted))
    if len(wrong):
        row, column = wrong[0]
        raise JaxepiError(f"The model gives NaN or infinity at {records[row]['key']} for {outputs[column]}.")


def _check(outputs: Sequence[str], formats: Sequence[str], values: str, batch_size: int, dataset: Dataset) -> None:
    for name in formats:
        if name not in FORMATS:
            raise JaxepiError(f"Unknown format {name!r}{did_you_mean(name, FORMATS)}; known are {', '.join(FORMATS)}.")
    if values not in VALUES:
        raise JaxepiError(f"values is {values!r}{did_you_mean(values, VALUES)}; it must be one of {VALUES}.")
    if batch_size < 1 or not formats or not outputs:
        raise JaxepiError(f"batch_size is {batch_size} and must be at least 1, and outputs and formats must be named.")
    if len(set(outputs)) != len(outputs):
        raise JaxepiError("An output is named twice: name each output once.")
    known = dataset.manifest["tracks"]
    for name in outputs:
        # A cell that the dataset does not have can still be predicted; a statistic has a place in the records or none.
        if not name.startswith("cpg/") and name not in known:
            raise JaxepiError(f"The dataset has no output {name!r}{did_you_mean(name, known)}.")
        if name.split("/")[-1] == "cat_var":
            raise JaxepiError(f"{name} has three classes and no single value to impute: leave it out.")
    if "hdf5" in formats:
        require_h5py(", or choose tsv or bedgraph")


def _splits(dataset: Dataset, wanted: Sequence[str] | None) -> list[str]:
    known = list(dataset.splits)
    for name in wanted or ():
        if name not in known:
            raise JaxepiError(f"The dataset has no split {name!r}{did_you_mean(name, known)}, only {', '.join(known)}.")
    return [name for name in known if wanted is None or name in wanted]
