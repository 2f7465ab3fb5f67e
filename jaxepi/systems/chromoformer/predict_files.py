"""Predictions of the genes of a dataset as a table: what the verb predict does for Chromoformer."""

import csv
import dataclasses
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from jaxepi import __version__
from jaxepi.data import Dataset, Split
from jaxepi.data.subset import drawn
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.storage.atomic import plain, write_json
from jaxepi.storage.job import finished, fresh_folder
from jaxepi.systems.chromoformer.predictor import GenePredictor, Record, predicted

TABLE, SUMMARY = "genes.tsv", "predict.json"
COLUMNS = ("gene", "chrom", "tss", "strand", "fold", "label", "expression", "prediction")
MISSING = "NA"


@dataclasses.dataclass(frozen=True)
class ChosenGenes:
    """Some records of a split of a dataset."""

    dataset: Dataset
    split: str  # such as fold1 or fold1+fold2
    numbers: list[int]  # of the records, ascending

    @property
    def records(self) -> Iterator[Record]:
        split = self.dataset.split(self.split)
        return (split[number] for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def choose_genes(
    dataset: Dataset, split: str | None = None, genes: Sequence[str] | None = None, most: int | None = None
) -> ChosenGenes:
    """The genes of a split, or some of them, in the order of the dataset.

    Args:
      dataset: from `open_dataset`.
      split: such as fold1 or fold1+fold2; None for all of the dataset.
      genes: names; None for all, or for a draw of `most` of them with a fixed seed.
      most: how many to draw; None for all.

    Raises:
      JaxepiError: no such split or gene, or `most` is not positive.
    """
    name = split or "+".join(part for part, count in dataset.splits.items() if count)
    records = dataset.split(name)
    if genes is None:
        return ChosenGenes(dataset, name, drawn(len(records), most, "--most_genes"))
    return ChosenGenes(dataset, name, _named(records, genes, f"{dataset.path}, split {name},"))


def _named(records: Split, genes: Sequence[str], where: str) -> list[int]:
    place = {record["key"]: number for number, record in enumerate(records)}
    for gene in genes:
        if gene not in place:
            raise JaxepiError(f"{where} has no gene {gene!r}{did_you_mean(gene, place)}.")
    return sorted({place[gene] for gene in genes})


def job_arguments(predictor: GenePredictor, chosen: ChosenGenes) -> dict[str, Any]:
    """What decides the results of a job over genes; a finished one is not repeated with the same."""
    return {
        "model": predictor.digest(),
        "task": plain(dataclasses.asdict(predictor.objective)),
        "dataset": chosen.dataset.fingerprint,
        "split": chosen.split,
        "genes": "all" if len(chosen) == len(chosen.dataset.split(chosen.split)) else chosen.numbers,
    }


def predict_genes(
    predictor: GenePredictor,
    chosen: ChosenGenes,
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
    task = predictor.task(chosen.dataset.manifest)
    with fresh_folder(out) as folder:
        with open(folder / TABLE, "w", newline="") as file, progress_line(chosen, "predict", progress) as bar:
            table = TableWriter(file, COLUMNS)
            for records, values in predictor.over(chosen.records, task, predicted, batch_size):
                for record, value in zip(records, values.tolist(), strict=True):
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


def progress_line(chosen: ChosenGenes, what: str, shown: bool) -> tqdm:
    """A line on the terminal that counts genes."""
    return tqdm(total=len(chosen), unit="gene", desc=what, disable=not shown, file=sys.stderr)


def _text(value: Any) -> str:
    value = plain(value)
    if value is None:
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
