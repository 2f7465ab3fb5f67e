"""The folder of labels: arrays with a row a window, the windows, and a manifest with the checksums of both."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.window_table import COLUMNS, LABELS, REGIONS, Regions, read_regions

BINS, WINDOW, HDF5 = "bins.npy", "window.npy", "labels.h5"
LAYOUTS = ("npy", "original")
NO_SPLIT = "all"  # of windows that name none
FILES = (BINS, WINDOW, HDF5, REGIONS)
SINGLE = "single_bin"  # of the original's layout: labels of whole windows (N, 1, K)
_COMPRESSION = 9  # of the original


def binned(bin_width: int) -> str:
    """The original's name of the labels of bins (N, T, K)."""
    return f"{bin_width}bp_bins"


class LabelWriter:
    """Writes labels window by window into a folder.

    Letters: N windows, T bins, K tracks.
    """

    def __init__(self, folder: Path, regions: Regions, shape: tuple[int, int, int], bin_width: int, layout: str):
        """Args:
        folder: where the files go.
        regions: the N windows.
        shape: (N, T, K).
        bin_width: bp.
        layout: one of `LAYOUTS`.
        """
        self._folder, self._regions, self._hdf5 = folder, regions, None
        count, bins, tracks = shape
        if layout == "original":
            from jaxepi.storage.job import require_h5py

            self._hdf5 = require_h5py(", or leave out --layout original").File(folder / HDF5, "w")
            self._bins, self._window = (
                self._hdf5.create_dataset(
                    name, (count, places, tracks), "f4", chunks=(1, places, tracks), compression="gzip",
                    compression_opts=_COMPRESSION,
                )
                for name, places in ((binned(bin_width), bins), (SINGLE, 1))
            )  # fmt: skip
        else:
            opened = np.lib.format.open_memmap
            self._bins = opened(folder / BINS, "w+", np.float32, shape)
            self._window = opened(folder / WINDOW, "w+", np.float32, (count, tracks))
        self._states: list[str] = []

    def write(self, low: int, bins: np.ndarray, window: np.ndarray, states: Sequence[str]) -> None:
        """Labels (n, T, K) and (n, K) of the windows from row `low` on, and what became of each."""
        rows = slice(low, low + len(bins))
        self._bins[rows] = bins
        self._window[rows] = window if self._hdf5 is None else window[:, None]
        self._states += states

    def finish(self) -> dict[str, dict[str, Any]]:
        """Writes the table of windows; returns file -> bytes and checksum."""
        from jaxepi.storage.embedding_store import checksum

        if self._hdf5 is not None:
            self._hdf5.close()
        else:
            self._bins.flush()
            self._window.flush()
        lines = ["\t".join([*COLUMNS, "lifted"]), *self._lines()]
        (self._folder / REGIONS).write_text("\n".join(lines) + "\n")
        paths = [self._folder / name for name in FILES if (self._folder / name).is_file()]
        return {path.name: {"bytes": path.stat().st_size, "crc32c": checksum(path)} for path in paths}

    def _lines(self) -> Iterator[str]:
        own = self._regions
        for row, state in enumerate(self._states):
            cells = (own.shown(row), own.chrom[row], own.start[row], own.end[row], own.split[row] or NO_SPLIT, state)
            yield "\t".join(map(str, cells))


class Labels:
    """Labels on disk, read some rows at a time; safe to pickle.

    Attributes:
      source: what they are read from, for messages.
      manifest: of a folder; None for a file.
      regions: windows of the rows; None for a file.
      shape: (N, T, K); T is 1 for whole windows.
      is_original: whether it is a file in the layout of the original, which names no tracks.
    """

    def __init__(self, path: Path, resolution: str, bin_width: int | None = None):
        """Args:
        path: a folder that `data_prep labels` wrote, an HDF5 file in the original's layout, or a plain .npy.
        resolution: "bin" or "window".
        bin_width: bp, by which HDF5 names the labels of bins; a folder tells its own.

        Raises:
          JaxepiError: there are no labels, or of another shape.
        """
        self.source, self.manifest, self.regions, self._array = path, None, None, None
        self._opened: Any = None
        if path.is_dir():
            from jaxepi.data.array_folder import read_arrays

            self.manifest, self.regions = read_arrays(path, LABELS), read_regions(path / REGIONS)
            bin_width, path = self.manifest["bin_width"], _file_of(path, self.manifest["files"], resolution)
        elif not path.is_file():
            raise JaxepiError(f"There are no labels at {path}: make them with `python -m data_prep labels`")
        self._path = path
        if path.suffix in (".h5", ".hdf5"):
            self._array = SINGLE if resolution == "window" else binned(bin_width or 128)
        self.is_original = self.manifest is None and self._array is not None
        shape, dtype = self._open().shape, self._open().dtype
        if len(shape) not in (2, 3) or dtype.kind not in "fiu":
            raise JaxepiError(
                f"{path} holds {dtype} {shape}, but numbers (windows, bins, tracks) or (windows, tracks) were expected"
            )
        if resolution == "window" and len(shape) == 3 and shape[1] != 1:
            raise JaxepiError(
                f"{path} holds {shape[1]} values a window and track: give it with --resolution bin, or give labels "
                "(windows, tracks)"
            )
        if resolution == "bin" and len(shape) == 2:
            raise JaxepiError(f"{path} holds one value a window and track: give it with --resolution window")
        self.shape = (shape[0], shape[1] if len(shape) == 3 else 1, shape[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def rows(self, low: int, high: int) -> np.ndarray:
        """Labels (high - low, T, K) float32."""
        try:
            values = np.asarray(self._open()[low:high], np.float32)
        except (OSError, ValueError) as problem:
            raise JaxepiError(f"{self._path} cannot be read at row {low} ({problem}): copy it again") from problem
        return values.reshape(high - low, *self.shape[1:])

    def _open(self) -> Any:
        if self._opened is None:
            self._opened = _open_npy(self._path) if self._array is None else _open_hdf5(self._path, self._array)
        return self._opened


def _file_of(folder: Path, files: Mapping[str, Any], resolution: str) -> Path:
    return folder / (HDF5 if HDF5 in files else WINDOW if resolution == "window" else BINS)


def _open_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise JaxepiError(f"{path} is damaged or no .npy file of numbers ({problem}): copy or make it again") from None


def _open_hdf5(path: Path, name: str) -> Any:
    from jaxepi.storage.job import require_h5py

    try:
        file = require_h5py(what="reading HDF5").File(path, "r")
    except OSError as problem:
        raise JaxepiError(f"{path} is damaged or no HDF5 file: copy it again") from problem
    if name not in file:
        held = ", ".join(map(repr, file)) or "nothing"
        raise JaxepiError(f"{path} holds {held}, but an array {name!r} was expected")
    return file[name]
