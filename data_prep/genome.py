"""The reference genome: lengths and base codes of any interval of a plain or block-gzipped FASTA file."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.chroms import harmonise_all
from jaxepi.errors import JaxepiError
from jaxepi.sequence import N, encode

_GZIP_MAGIC = b"\x1f\x8b"


class Genome:
    """A FASTA file. The handle is opened once per process and never shared between processes, whose seeks would mix."""

    def __init__(self, path: str | os.PathLike[str], prefix: str = "as-is") -> None:
        """Opens the file, with the index beside it or one made in a temporary folder where that is not possible.

        Args:
            path: FASTA, plain or block-gzipped (`.gz`, `.bgz`).
            prefix: see `data_prep.chroms.harmonise`.

        Raises:
            JaxepiError: if the file is missing, unreadable, empty, not FASTA, or compressed with plain gzip.
        """
        self.path = Path(path).absolute()
        self._prefix = prefix
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._index: Path | None = None
        self._pid = -1
        self._fasta: Any = None
        _check_fasta(self.path)
        lengths = {name: len(record) for name, record in self._open().items()}
        self._file_name = harmonise_all(list(lengths), prefix)
        self.lengths: dict[str, int] = {name: lengths[own] for name, own in self._file_name.items()}
        if not self.lengths:
            raise JaxepiError(f"{self.path} holds no sequence: a FASTA file with `>name` lines was expected")

    def codes(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Base codes (end - start,) uint8 of an interval, 0-based half-open; what lies outside the chromosome is N."""
        low, high = max(start, 0), min(end, self.lengths[chrom])
        codes = np.full(end - start, N, np.uint8)
        if low < high:
            codes[low - start : high - start] = encode(self._open()[self._file_name[chrom]][low:high])
        return codes

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fasta": None, "_pid": -1, "_scratch": None}

    def _open(self) -> Any:
        if self._pid != os.getpid():
            self._fasta = self._open_indexed()
            self._pid = os.getpid()
        return self._fasta

    def _open_indexed(self) -> Any:
        import pyfaidx

        if self._index is None or not self._index.exists():
            self._index = self._find_index_place()
        try:
            return pyfaidx.Fasta(
                str(self.path),
                as_raw=True,
                indexname=str(self._index),
                gzi_indexname=str(self._index.with_suffix(".gzi")),
            )
        except (OSError, ImportError, ValueError, pyfaidx.FastaIndexingError) as error:
            raise JaxepiError(
                f"{self.path} could not be indexed as FASTA ({str(error).rstrip('.')}): check the file"
            ) from error

    def _find_index_place(self) -> Path:
        """The index beside the FASTA if it is current or can be written there, else one in a temporary folder."""
        beside = Path(f"{self.path}.fai")
        needed = [beside, Path(f"{self.path}.gzi")] if self.path.suffix in (".gz", ".bgz") else [beside]
        age = self.path.stat().st_mtime
        current = all(p.exists() and os.access(p, os.R_OK) and p.stat().st_mtime >= age for p in needed)
        replaceable = os.access(self.path.parent, os.W_OK) and all(os.access(p, os.W_OK) for p in needed if p.exists())
        if current or replaceable:
            return beside
        self._scratch = tempfile.TemporaryDirectory(prefix="jaxepi-fai-")
        return Path(self._scratch.name) / beside.name


def _check_fasta(path: Path) -> None:
    if not path.exists():
        raise JaxepiError(f"{path} does not exist: --fasta needs a FASTA file, plain or block-gzipped")
    try:
        with path.open("rb") as file:
            head = file.read(18)
    except OSError as error:
        raise JaxepiError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if path.suffix in (".gz", ".bgz") or head[:2] == _GZIP_MAGIC:
        blocked = head[:2] == _GZIP_MAGIC and len(head) >= 14 and head[3] & 4 and head[12:14] == b"BC"
        if not blocked:
            raise JaxepiError(
                f"{path} is not block-gzipped and allows no random access: run `gunzip` (or `bgzip`) on it first"
            )
        if path.suffix not in (".gz", ".bgz"):
            raise JaxepiError(f"{path} is block-gzipped but its name does not end in .gz: rename it")
    elif not head.startswith((b">", b";")):
        raise JaxepiError(f"{path} is not a FASTA file: its first line should begin with `>`")
