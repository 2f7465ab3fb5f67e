"""Predictions of the genes of a dataset as a table: what launch.py --mode predict does for Chromoformer."""

import csv
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from jaxepi import __version__
from jaxepi.data.subset import Subset
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor, Record
from jaxepi.storage.atomic import plain, write_json
from jaxepi.storage.job import finished, fresh_folder
from jaxepi.task import predicted

TABLE, SUMMARY = "genes.tsv", "predict.json"
COLUMNS = ("gene", "chrom", "tss", "strand", "fold", "label", "expression", "prediction")
MISSING = "NA"


def job_arguments(predictor: Predictor, chosen: Subset) -> dict[str, Any]:
    """What decides the results of a job over genes; a finished one is not repeated with the same."""
    return {
        "model": predictor.digest(),
        "task": plain(predictor.task.settled()),
        "dataset": chosen.dataset.fingerprint,
        "split": chosen.split,
        "genes": "all" if len(chosen) == len(chosen.dataset.split(chosen.split)) else chosen.numbers,
    }


def predict_genes(
    predictor: Predictor,
    chosen: Subset,
    out_dir: str | os.PathLike[str],
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `genes.tsv` and `predict.json`; all of it or nothing, and a finished job is not repeated.

    Args:
      predictor: from `jaxepi.load`.
      chosen: which genes of which dataset.
      out_dir: a folder that does not exist yet.
      batch_size: genes at a time.
      progress: show a progress line.

    Returns: the content of `predict.json`: the number of `genes` and the arguments.

    Raises:
      JaxepiError: a dataset that does not fit the model, told before any work; or the disk is full.
    """
    out, arguments = Path(out_dir).absolute(), job_arguments(predictor, chosen)
    if (done := finished(out, SUMMARY, arguments, "prediction")) is not None:
        return done
    task = predictor.for_dataset(chosen.dataset.manifest)
    with fresh_folder(out) as folder:
        with open(folder / TABLE, "w", newline="") as file, progress_line(chosen, "predict", progress) as bar:
            table = TableWriter(file, COLUMNS)
            for records, values in predictor.over(chosen.records, task, predicted, batch_size):
                for record, value in zip(records, values[:, 0, 0].tolist(), strict=True):
                    table.row(gene_row(record, value))
                bar.update(len(records))
        summary = {"jaxepi_version": __version__, "source": predictor.source, "genes": len(chosen)}
        write_json(folder / SUMMARY, {"arguments": arguments, **summary})
    return {"arguments": arguments, **summary}


class TableWriter:
    """Tab-separated lines under a header; numbers with six digits, `NA` for None and what is not finite."""

    def __init__(self, file: IO[str], columns: Sequence[str]):
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._writer.writerow(columns)

    def row(self, values: Sequence[Any]) -> None:
        self._writer.writerow(_text(value) for value in values)


def gene_row(record: Record, prediction: float) -> tuple[Any, ...]:
    """The values of COLUMNS: what the dataset knows of a gene (None where it does not), and its prediction.

    Raises:
      JaxepiError: the prediction is not finite.
    """
    if not math.isfinite(prediction):
        raise JaxepiError(f"The model gives NaN or infinity for {record['key']}.")
    label = int(record["label"])
    return (
        record["key"],
        record["chrom"],
        int(record["start"]),
        "-" if record["minus"] else "+",
        int(record["fold"]),
        label if label >= 0 else None,
        float(record["expression"]),
        prediction,
    )


def progress_line(chosen: Subset, what: str, shown: bool) -> tqdm:
    """A line on the terminal that counts genes."""
    return tqdm(total=len(chosen), unit="gene", desc=what, disable=not shown, file=sys.stderr)


def _text(value: Any) -> str:
    value = plain(value)
    if value is None:
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
