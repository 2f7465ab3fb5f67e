"""Folders of arrays with a row a window: embeddings that the verb embed wrote, labels that data_prep wrote.

Both have manifest.json (sealed, with the checksums of the other files) and regions.tsv, see
`jaxepi.storage.embedding_store`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.data.manifest import Manifest, read_manifest
from jaxepi.errors import JaxepiError
from jaxepi.genome.window_table import EMBEDDINGS, LABELS, REGIONS, read_regions
from jaxepi.storage.embedding_store import ARRAY, HDF5, MANIFEST, checksum, shard_name
from jaxepi.storage.job import require_h5py

_MAKERS = {EMBEDDINGS: "launch.py embed", LABELS: "python -m data_prep labels"}


def is_array_folder(path: Path) -> bool:
    """Whether such a folder, or what damage left of one, lies at `path`."""
    return (path / REGIONS).is_file() and path.suffix != ".partial"  # of a job that was stopped or goes on


def read_arrays(path: Path, kind: str) -> Manifest:
    """The manifest of a folder of this kind, with all files that it names there and of their size.

    Raises:
      JaxepiError: it is of another kind, or a file is missing or cut short.
    """
    if not (path / MANIFEST).is_file():
        raise JaxepiError(f"{path} holds no {MANIFEST}: the folder that `{_MAKERS[kind]}` wrote was expected.")
    manifest = read_manifest(path / MANIFEST)
    if manifest["kind"] != kind:
        raise JaxepiError(
            f"{path} is of kind {manifest['kind']!r}: the folder that `{_MAKERS[kind]}` wrote was expected."
        )
    for name, told in manifest["files"].items():
        size = (path / name).stat().st_size if (path / name).is_file() else -1
        if size != told["bytes"]:
            what = "is missing" if size < 0 else f"has {size:,} bytes, not {told['bytes']:,}"
            raise JaxepiError(f"{path / name} {what}: copy it again, or run `{_MAKERS[kind]}` again.")
    return manifest


def check_file(path: Path, told: Mapping[str, Any]) -> str:
    """Reads a file and compares it with its entry in `files`; returns what was checked.

    Raises:
      JaxepiError: it is another file.
    """
    if not path.is_file():
        raise JaxepiError(f"{path} is missing: copy it again.")
    if path.stat().st_size != told["bytes"] or checksum(path) != told["crc32c"]:
        raise JaxepiError(f"{path} is not what was written, as its checksum tells: copy it again.")
    return f"checksum of {told['bytes']:,} bytes"


def fingerprint_of_arrays(arguments: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> str:
    """A digest of what made a folder of arrays and of what its files hold."""
    return hashlib.sha256(json.dumps([arguments, files], sort_keys=True).encode()).hexdigest()


class Embeddings:
    """Embeddings (N, T, C) on disk, read some rows at a time; may be sent to other processes.

    Attributes:
      path: the folder, or a file in the layout of CS282A, one array `embeddings`.
      manifest: of the folder; None for a file.
      regions: windows of the rows; None for a file.
      dtype: "float16", "bfloat16" (kept as uint16) or "float32".
      shape: (N, T, C).
    """

    def __init__(self, path: Path):
        """Raises JaxepiError: there are no embeddings, or they are not whole."""
        self.path, self.manifest, self.regions = path, None, None
        if path.is_dir():
            self.manifest, self.regions = read_arrays(path, EMBEDDINGS), read_regions(path / REGIONS)
            told = self.manifest
            self.dtype, self.shape = told["dtype"], (told["count"], told["bins"], told["channels"])
            if self.regions.count != told["count"]:
                raise JaxepiError(
                    f"{path / REGIONS} has {self.regions.count} windows and {path / MANIFEST} tells of "
                    f"{told['count']} embeddings: copy the folder again."
                )
            self._hdf5 = path / HDF5 if told["arguments"]["format"] == "hdf5" else None
        else:
            if not path.is_file():
                raise JaxepiError(f"There are no embeddings at {path}: make them with `launch.py embed`.")
            self._hdf5 = path
            with _open_hdf5(path) as file:
                self.shape, self.dtype = file[ARRAY].shape, str(file[ARRAY].dtype)
            if len(self.shape) != 3 or self.dtype not in ("float16", "float32"):
                raise JaxepiError(
                    f"{path}: {ARRAY!r} is {self.dtype} {self.shape}, but float16 or float32 (windows, bins, channels) "
                    "was expected."
                )
        self._opened: Any = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def rows(self, low: int, high: int) -> np.ndarray:
        """Rows (high - low, T, C) as the files hold them.

        Raises:
          JaxepiError: a file cannot be read.
        """
        try:
            if self._hdf5 is not None:
                self._opened = self._opened or _open_hdf5(self._hdf5)
                return self._opened[ARRAY][low:high]
            size = self.manifest["shard"]
            parts = [
                np.load(self.path / shard_name(number), mmap_mode="r", allow_pickle=False)[
                    max(low - number * size, 0) : high - number * size
                ]
                for number in range(low // size, -(-high // size))
            ]
            return np.concatenate(parts)
        except (OSError, ValueError, KeyError) as problem:
            raise JaxepiError(f"{self.path} cannot be read at row {low} ({problem}): copy it again.") from problem


def _open_hdf5(path: Path) -> Any:
    h5py = require_h5py(what="reading HDF5")
    try:
        file = h5py.File(path, "r")
        if ARRAY in file:
            return file
        held = ", ".join(map(repr, file)) or "nothing"
        file.close()
    except OSError as problem:
        raise JaxepiError(f"{path} is damaged or no HDF5 file: copy it again.") from problem
    raise JaxepiError(f"{path} holds {held}, but an array {ARRAY!r} was expected.")
