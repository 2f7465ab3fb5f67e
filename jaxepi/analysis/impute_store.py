"""Imputed methylation on disk, written so that a killed job goes on where it was.

While a job runs, `<out>.partial/` holds one raw file of sites, one of values and one of marks, and `progress.json` says
how many sites of them are good. At the end they become the files that were asked for, and the folder is renamed.
"""

import contextlib
import gzip
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.analysis.calls import SYNC_SECONDS, file_names, write_json
from jaxepi.analysis.job import check_same, lock_folder
from jaxepi.errors import JaxepiError

FORMATS = ("tsv", "bedgraph", "hdf5")
TABLE, MATRIX, BEDGRAPHS, SUMMARY = "imputed.tsv.gz", "imputed.h5", "bedgraph", "impute.json"
_RAW = {"sites.raw": 8, "values.raw": 4, "observed.raw": 1}  # bytes an entry
_BLOCK_BYTES = 32 << 20  # of values that are copied at a time
_COMPRESSION = 4


class ImputationStore:
    """Appends sites batch by batch; `finish` turns them into the final files.

    Attributes:
      sites: how many sites are safely on disk; 0 for a new job.
      taken: how many records of each split these are.
      chroms: names of chromosomes in the order of their first site.
    """

    def __init__(self, out: Path, arguments: Mapping[str, Any], outputs: Sequence[str], splits: Sequence[str]):
        """Opens `<out>.partial/`, new or as an interrupted job with the same arguments left it.

        Raises:
          JaxepiError: another process works there, or the interrupted job had other arguments (named).
        """
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")
        self.arguments, self.outputs = dict(arguments), list(outputs)
        self._lock = lock_folder(self.partial)
        path = self.partial / "progress.json"
        told = json.loads(path.read_text()) if path.exists() else None
        if told is not None:
            check_same(told["arguments"], self.arguments, f"{self.partial} was left by a job", "remove it")
        self.sites: int = told["sites"] if told else 0
        self.taken: dict[str, int] = told["taken"] if told else dict.fromkeys(splits, 0)
        self.chroms: list[str] = told["chroms"] if told else []
        self._files = {}
        for name, size in _RAW.items():
            width = 1 if name == "sites.raw" else len(self.outputs)
            self._files[name] = open(self.partial / name, "r+b" if told else "w+b")
            self._files[name].truncate(self.sites * width * size)
            self._files[name].seek(0, os.SEEK_END)
        self._synced = time.monotonic()

    def append(
        self,
        chroms: Sequence[str],
        positions: np.ndarray,
        values: np.ndarray,
        observed: np.ndarray,
        splits: Sequence[str],
    ) -> None:
        """Sites of one batch in order: chromosomes, positions, splits (B,); values and whether observed (B, K)."""
        for chrom in dict.fromkeys(chroms):
            if chrom not in self.chroms:
                self.chroms.append(chrom)
        index = np.array([self.chroms.index(chrom) for chrom in chroms], np.uint64)
        self._files["sites.raw"].write(((index << np.uint64(32)) | np.asarray(positions).astype(np.uint64)).tobytes())
        self._files["values.raw"].write(np.ascontiguousarray(values, np.float32).tobytes())
        self._files["observed.raw"].write(np.ascontiguousarray(observed, np.uint8).tobytes())
        self.sites += len(positions)
        for split in splits:
            self.taken[split] += 1
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Puts everything on disk and then says so in `progress.json`."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        told = {"arguments": self.arguments, "sites": self.sites, "taken": self.taken, "chroms": self.chroms}
        write_json(self.partial / "progress.json", told)
        self._synced = time.monotonic()

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """All sites in blocks: chromosome names (n,), positions (n,) int64, values (n, K), observed (n, K) bool."""
        if not self.sites:
            return
        shape = (self.sites, len(self.outputs))
        keys = np.memmap(self.partial / "sites.raw", np.uint64, "r", shape=(self.sites,))
        values = np.memmap(self.partial / "values.raw", np.float32, "r", shape=shape)
        observed = np.memmap(self.partial / "observed.raw", np.uint8, "r", shape=shape)
        names = np.array(self.chroms)
        size = max(1, _BLOCK_BYTES // (4 * shape[1]))
        for low in range(0, self.sites, size):
            own = np.asarray(keys[low : low + size])
            chrom = names[(own >> np.uint64(32)).astype(np.int64)]
            position = (own & np.uint64(0xFFFFFFFF)).astype(np.int64)
            yield chrom, position, np.asarray(values[low : low + size]), np.asarray(observed[low : low + size]) > 0

    def finish(self, formats: Sequence[str], summary: Mapping[str, Any], original_bedgraph: bool = False) -> None:
        """Writes the final files and the summary, removes what is only of use for going on, and renames the folder."""
        self.sync()
        if "tsv" in formats:
            write_table(self.partial / TABLE, self.outputs, self.blocks())
        if "bedgraph" in formats:
            write_bedgraphs(self.partial / BEDGRAPHS, self.outputs, self.blocks(), original_bedgraph)
        if "hdf5" in formats:
            write_matrix(self.partial / MATRIX, self.outputs, self.sites, self.blocks())
        self.close()
        write_json(self.partial / SUMMARY, {"arguments": self.arguments, **summary})
        for name in (*_RAW, "progress.json", "lock"):
            (self.partial / name).unlink(missing_ok=True)
        os.replace(self.partial, self.out)

    def close(self) -> None:
        """Lets go of the files and the folder."""
        for file in self._files.values():
            file.close()
        self._lock.close()


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


def require_h5py(instead: str = "") -> Any:
    """The package h5py; `instead` is what the sentence adds to what can be done without it.

    Raises:
      JaxepiError: it is not installed.
    """
    try:
        import h5py
    except ImportError as problem:
        raise JaxepiError(
            f"h5py is not installed and HDF5 needs it: pip install 'jaxepi[convert]'{instead}."
        ) from problem
    return h5py
