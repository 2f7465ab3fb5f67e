"""Attention of a Chromoformer over the genes of a dataset as files: what launch.py --mode attention does."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi import __version__
from jaxepi.data.subset import Subset
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.storage.atomic import write_json
from jaxepi.storage.job import file_names, finished, fresh_folder, require_h5py
from jaxepi.systems.chromoformer.attention import GeneAttention, attend, of_genes
from jaxepi.systems.chromoformer.predict_files import (
    COLUMNS,
    TableWriter,
    gene_row,
    job_arguments,
    progress_line,
)
from jaxepi.systems.chromoformer.task import ChromoformerTask

CONTACTS, GENES, ARRAYS, FIGURES, SUMMARY = "contacts.tsv", "genes.tsv", "attention.h5", "figures", "attention.json"
_COMPRESSION = 4
_CHUNK_BYTES = 1 << 16


def attend_genes(
    predictor: Predictor,
    chosen: Subset,
    out_dir: str | os.PathLike[str],
    *,
    figures: int = 20,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `contacts.tsv`, `genes.tsv`, `attention.h5`, `figures/<gene>.png` and `attention.json`.

    All of it or nothing; a finished job is not repeated. Memory does not grow with the number of genes.

    Args:
      predictor: from `jaxepi.load`.
      chosen: which genes of which dataset.
      out_dir: a folder that does not exist yet.
      figures: so many genes, the first ones, get a figure.
      batch_size: genes at a time.
      progress: show a progress line.

    Returns: the content of `attention.json`: numbers of `genes` and `contacts`, and the arguments.

    Raises:
      JaxepiError: a dataset that does not fit the model, told before any work; or the disk is full.
    """
    h5py = require_h5py()
    if figures < 0:
        raise JaxepiError(f"--figures is {figures}: 0 or a positive number was expected.")
    out, arguments = Path(out_dir).absolute(), job_arguments(predictor, chosen) | {"figures": figures}
    if (done := finished(out, SUMMARY, arguments, "attention job")) is not None:
        return done
    task = predictor.for_dataset(chosen.dataset.manifest)
    names = file_names([record["key"] for record, _ in zip(chosen.records, range(figures), strict=False)])
    with fresh_folder(out) as folder:
        (folder / FIGURES).mkdir()
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(folder / name, "w", newline="")) for name in (GENES, CONTACTS)]
            tables = Tables(*map(TableWriter, files, columns_of(task)))
            arrays = Arrays(stack.enter_context(h5py.File(folder / ARRAYS, "w")), task, len(chosen))
            bar = stack.enter_context(progress_line(chosen, "attention", progress))
            for records, found in predictor.over(chosen.records, task, attend, batch_size):
                batch = of_genes(records, found, task)
                arrays.append(batch)
                bar.update(len(batch))
                for gene in batch:
                    tables.append(gene)
                    if names:
                        _draw(gene, task, folder / FIGURES / f"{names.pop(0)}.png")
        summary = {"genes": len(chosen), "contacts": tables.contacts}
        summary |= {"jaxepi_version": __version__, "source": predictor.source}
        write_json(folder / SUMMARY, {"arguments": arguments, **summary})
    return {"arguments": arguments, **summary}


def columns_of(task: ChromoformerTask) -> tuple[Sequence[str], Sequence[str]]:
    """Headers of `genes.tsv` and `contacts.tsv`."""
    by_size = [f"attention_{size}" for size in task.model_config.bin_sizes]
    of_contact = ["gene", "rank", "contact", "distance", "score", "attention", *by_size]
    return (*COLUMNS, "contacts", "self_attention"), (*of_contact, "effect", "strongest_bin", "strongest_bin_attention")


class Tables:
    """The lines of both tables, gene by gene; `contacts` counts those of the second."""

    def __init__(self, genes: TableWriter, contacts: TableWriter):
        self._genes, self._of_contacts = genes, contacts
        self.contacts = 0

    def append(self, gene: GeneAttention) -> None:
        row = gene_row(gene.record, gene.prediction)
        self._genes.row((*row, len(gene.contacts), gene.self_attention))
        for rank, contact in enumerate(gene.contacts, 1):
            place, strongest = (f"{chrom}:{low}-{high}" for chrom, low, high in (contact.region, contact.strongest))
            numbers = (contact.distance, contact.score, contact.attention, *contact.by_size, contact.effect)
            self._of_contacts.row((gene.record["key"], rank, place, *numbers, strongest, contact.strongest_attention))
        self.contacts += len(gene.contacts)


class Arrays:
    """The arrays of all genes in an HDF5 file, written batch by batch; see docs/chromoformer.md for its content."""

    def __init__(self, file: Any, task: ChromoformerTask, genes: int):
        self._file, self._genes, self._low = file, genes, 0
        self._text = require_h5py().string_dtype()
        self._sizes = task.model_config.bin_sizes
        self._most = task.objective.max_pcres
        file.attrs.update(bin_sizes=list(self._sizes), marks=task.marks, target=task.objective.target)

    def append(self, batch: Sequence[GeneAttention]) -> None:
        records = [gene.record for gene in batch]
        self._put("gene", [record["key"] for record in records])
        self._put("chrom", [record["chrom"] for record in records])
        self._put("tss", np.array([int(record["start"]) for record in records], np.int64))
        self._put("minus", np.array([bool(record["minus"]) for record in records]))
        self._put("prediction", np.array([gene.prediction for gene in batch], np.float32))
        shape = (len(batch), self._most)
        names, scores, effects = np.full(shape, "", object), *np.full((2, *shape), np.nan, np.float32)
        for row, gene in enumerate(batch):
            for contact in gene.contacts:
                chrom, low, high = contact.region
                names[row, contact.number] = f"{chrom}:{low}-{high}"
                scores[row, contact.number], effects[row, contact.number] = contact.score, contact.effect
        self._put("contact", names)
        self._put("score", scores)
        self._put("effect", effects)
        for size in self._sizes:
            self._put(f"{size}/promoter", np.stack([gene.promoter[size] for gene in batch]))
            self._put(f"{size}/contacts", np.stack([gene.contact_bins[size] for gene in batch]))
            self._put(f"{size}/regulation", np.stack([gene.regulation[size] for gene in batch]))
            self._put(f"{size}/promoter_start", np.stack([gene.promoter_places[size][:, 0] for gene in batch]))
            self._put(f"{size}/contact_start", np.stack([gene.contact_places[size][:, :, 0] for gene in batch]))
        self._low += len(batch)

    def _put(self, name: str, rows: Any) -> None:
        """The next rows of a dataset, which the first call makes."""
        rows = np.array(rows, object) if isinstance(rows, list) else rows
        if name not in self._file:
            shape = (self._genes, *rows.shape[1:])
            options = {}
            if rows.size:  # whole genes in a chunk, so that no chunk is written twice
                chunk = (min(self._genes, max(1, _CHUNK_BYTES // (rows.nbytes // len(rows)))), *rows.shape[1:])
                options = {"compression": "gzip", "compression_opts": _COMPRESSION, "chunks": chunk}
            self._file.create_dataset(name, shape, self._text if rows.dtype == object else rows.dtype, **options)
        self._file[name][self._low : self._low + len(rows)] = rows


def _draw(gene: GeneAttention, task: ChromoformerTask, path: Path) -> None:
    from jaxepi.systems.chromoformer.attention_plots import gene_figure, save_png  # matplotlib is slow to import

    save_png(gene_figure(gene, task.marks, task.objective.target), path)
