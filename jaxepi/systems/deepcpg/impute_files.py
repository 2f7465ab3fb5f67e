"""Imputed methylation on disk: values and marks of a SiteStore, which become the files that were asked for."""

import contextlib
import gzip
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.storage.job import file_names, require_h5py
from jaxepi.storage.site_store import Column, SiteStore

FORMATS = ("tsv", "bedgraph", "hdf5")
TABLE, MATRIX, BEDGRAPHS, SUMMARY = "imputed.tsv.gz", "imputed.h5", "bedgraph", "impute.json"
_COMPRESSION = 4


class ImputationStore(SiteStore):
    """Appends sites batch by batch; `finish` turns them into the final files.

    Attributes:
      taken: how many records of each split were appended.
    """

    def __init__(self, out: Path, arguments: Mapping[str, Any], outputs: Sequence[str], splits: Sequence[str]):
        """See SiteStore."""
        self.outputs = list(outputs)
        columns: dict[str, Column] = {"values": (np.float32, (len(outputs),)), "observed": (np.uint8, (len(outputs),))}
        super().__init__(out, arguments, columns, {"taken": dict.fromkeys(splits, 0)})
        self.taken: dict[str, int] = self.state["taken"]

    def append(
        self,
        chroms: Sequence[str],
        positions: np.ndarray,
        values: np.ndarray,
        observed: np.ndarray,
        splits: Sequence[str],
    ) -> None:
        """Sites of one batch in order: chromosomes, positions, splits (B,); values and whether observed (B, K)."""
        for split in splits:
            self.taken[split] += 1
        self.append_sites(chroms, positions, values=values, observed=observed)

    def blocks(self) -> "Blocks":
        """All sites in blocks: chromosome names (n,), positions (n,) int64, values (n, K), observed (n, K) bool."""
        for chrom, position, columns in self.site_blocks():
            yield chrom, position, columns["values"], columns["observed"] > 0

    def finish(self, formats: Sequence[str], summary: Mapping[str, Any], original_bedgraph: bool = False) -> None:
        """Writes the final files and the summary, and renames the folder."""
        self.sync()
        if "tsv" in formats:
            write_table(self.partial / TABLE, self.outputs, self.blocks())
        if "bedgraph" in formats:
            write_bedgraphs(self.partial / BEDGRAPHS, self.outputs, self.blocks(), original_bedgraph)
        if "hdf5" in formats:
            write_matrix(self.partial / MATRIX, self.outputs, self.sites, self.blocks())
        self.publish(SUMMARY, summary)


Blocks = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def output_names(outputs: Sequence[str]) -> list[str]:
    """Names for columns and files: the cell of `cpg/<cell>`, otherwise the parts joined by `_`; all different."""
    return file_names([output.removeprefix("cpg/").replace("/", "_") for output in outputs])


def write_table(path: Path, outputs: Sequence[str], blocks: Blocks) -> None:
    """A gzipped TSV, one line a site: chromosome, 0-based position of the C, and a column an output (five decimals)."""
    with gzip.GzipFile(path, "wb", compresslevel=_COMPRESSION, mtime=0) as file:
        file.write("\t".join(["chrom", "position", *output_names(outputs)]).encode() + b"\n")
        form = "%s\t%d" + "\t%.5f" * len(outputs) + "\n"
        for chrom, position, value, _ in blocks:
            rows = zip(chrom.tolist(), position.tolist(), value.tolist(), strict=True)
            file.write("".join(form % (name, at, *row) for name, at, row in rows).encode())


def write_bedgraphs(folder: Path, outputs: Sequence[str], blocks: Blocks, original: bool = False) -> None:
    """One gzipped bedGraph an output, each CpG an interval [c, c + 2), five decimals.

    With `original`: as the original writes them, [p, p + 1) with p the 1-based position, names that begin with `chr`,
    and no `track` line.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        files = []
        for name in output_names(outputs):
            path = folder / f"{name}.bedGraph.gz"
            file = stack.enter_context(gzip.GzipFile(path, "wb", compresslevel=_COMPRESSION, mtime=0))
            if not original:
                file.write(f'track type=bedGraph name="{name}"\n'.encode())
            files.append(file)
        shift, width = (1, 1) if original else (0, 2)
        for chrom, position, value, _ in blocks:
            names = [f"chr{name.removeprefix('chr')}" for name in chrom.tolist()] if original else chrom.tolist()
            starts = (position + shift).tolist()
            places = [f"{name}\t{at}\t{at + width}\t" for name, at in zip(names, starts, strict=True)]
            for column, file in enumerate(files):
                rows = zip(places, value[:, column].tolist(), strict=True)
                file.write("".join(f"{place}{one:.5f}\n" for place, one in rows).encode())


def write_matrix(path: Path, outputs: Sequence[str], sites: int, blocks: Blocks) -> None:
    """An HDF5 file: `chrom`, `position` (n,), `value` float32 and `observed` bool (n, K), `output` (K,).

    Raises:
      JaxepiError: h5py is not installed.
    """
    h5py = require_h5py()
    size = len(outputs)
    with h5py.File(path, "w") as file:
        text = h5py.string_dtype()
        file.create_dataset("output", data=list(outputs), dtype=text)
        options = {"compression": "gzip", "compression_opts": _COMPRESSION, "chunks": True} if sites else {}
        chroms = file.create_dataset("chrom", (sites,), text, **options)
        positions = file.create_dataset("position", (sites,), "i8", **options)
        values = file.create_dataset("value", (sites, size), "f4", **options)
        marks = file.create_dataset("observed", (sites, size), "?", **options)
        low = 0
        for chrom, position, value, observed in blocks:
            high = low + len(position)
            chroms[low:high], positions[low:high] = chrom.astype(object), position
            values[low:high], marks[low:high] = value, observed
            low = high
