"""Whether files are still what was written: checkpoints, logs and files of results, by the checksums they carry."""

import dataclasses
import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.storage.job import require_h5py

_PIECE_BYTES = 1 << 24
_START_KINDS = ("start", "resume")  # the lines of a log that follow a kill


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found about one thing on disk.

    Attributes:
      place: file or folder.
      state: "whole", "damaged", or "left over" by a killed process, which nothing reads.
      about: what was checked, or why it is not whole.
    """

    place: Path
    state: Literal["whole", "damaged", "left over"]
    about: str

    def __str__(self) -> str:
        told = f" ({self.about})" if self.state == "whole" else f": {self.about}"
        return f"{self.place}: {self.state}{told}"


def checked(place: Path, check: Callable[..., str], *arguments: Any) -> Finding:
    """The finding of `check(*arguments)`, which tells what it checked, or raises; that need not name the place."""
    try:
        return Finding(place, "whole", check(*arguments))
    except JaxepiError as problem:
        return Finding(place, "damaged", str(problem).removeprefix(f"{place}: ").rstrip("."))
    except Exception as problem:  # libraries raise many kinds for damaged files
        return Finding(place, "damaged", " ".join(str(problem).split())[:160] or type(problem).__name__)


def verify_checkpoints(folder: Path) -> Iterator[Finding]:
    """Every checkpoint of one folder, newest first: its state and its description against their checksums."""
    checkpoints = Checkpoints(folder)
    for step in checkpoints.steps():
        yield checked(folder / str(step), checkpoints.check, step)
    checkpoints.close()
    for partial in sorted(folder.glob("*.orbax-checkpoint-tmp*")):
        yield Finding(partial, "left over", "half a checkpoint, which the next start of the run removes")


def verify_file(path: Path) -> Finding | None:
    """A file that carries checksums or has a form that damage breaks; None for any other."""
    check = _CHECKS.get(path.suffix)
    return None if check is None else checked(path, check, path)


def _json(path: Path) -> str:
    json.loads(path.read_text(encoding="utf-8"))
    return "JSON"


def _log(path: Path) -> str:
    """A line that a kill cut short is no damage: it is the last, or a new start follows it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    cut = 0
    for number, line in enumerate(lines, start=1):
        if _kind(line) is None:
            if number < len(lines) and _kind(lines[number]) not in _START_KINDS:
                raise JaxepiError(f"line {number} is no JSON object")
            cut += 1
    return f"{len(lines):,} lines" + (f", {cut} of them cut short by a kill" if cut else "")


def _kind(line: str) -> str | None:
    """The kind of a line of a log; None if it is no JSON object."""
    try:
        return str(json.loads(line)["kind"])
    except (ValueError, KeyError, TypeError):
        return None


def _arrays(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise JaxepiError(f"{bad} in it does not match its checksum")
    with np.load(path, allow_pickle=False) as arrays:
        return f"checksums of {len([arrays[name].shape for name in arrays.files])} arrays"


def _gzip(path: Path) -> str:
    try:
        with gzip.open(path) as file:
            while file.read(_PIECE_BYTES):
                pass
    except zlib.error as problem:
        raise JaxepiError(f"it cannot be unpacked ({problem})") from None
    return "checksum of the packed content"


def _hdf5(path: Path) -> str:
    """HDF5 keeps no checksums of arrays, but damage to its structure or to compressed pieces shows."""
    h5py = require_h5py(what="checking HDF5")
    count = 0

    def read(name: str, node: object) -> None:
        nonlocal count
        if isinstance(node, h5py.Dataset):
            rows = len(node) if node.shape else 0
            step = max(1, _PIECE_BYTES * rows // max(node.nbytes, 1)) if rows else 1
            for low in range(0, rows, step):
                node[low : low + step]
            count += 1

    with h5py.File(path, "r") as file:
        file.visititems(read)
    return f"{count} arrays can be read"


_CHECKS = {".json": _json, ".jsonl": _log, ".npz": _arrays, ".gz": _gzip, ".h5": _hdf5}
