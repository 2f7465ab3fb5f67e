"""What is written of each region besides its bins: agreement with what was measured, and plots."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.analysis.bins.along import Along, Region
from jaxepi.analysis.bins.measured import log2_of
from jaxepi.report.pictures import save_figure
from jaxepi.report.region_plots import Mark, Panel, along_region
from jaxepi.storage.job import file_names

MEASURED, PLOTS = "measured.tsv", "plot"
_COLUMNS = ("region", "chrom", "start", "end", "track", "bins", "pearson", "pearson_log2")


def write_regions(
    folder: Path, along: Along, values: np.ndarray, tracks: Sequence[str], unit: str, progress: bool
) -> dict[str, Any]:
    """Writes `measured.tsv`, and `plot/<region>.png` with `plot/<region>.log2.png`, as far as they are asked for.

    Args:
      folder: of a job; plots that lie there are replaced.
      along: the regions.
      values: (N, M, K) of all sites.
      tracks: (K,) names.
      unit: of the values, for axes.
      progress: show a progress line.

    Returns: `measured`: of each measured track the means over regions of both correlations; `notes`.
    """
    shutil.rmtree(folder / PLOTS, ignore_errors=True)
    if along.plots:
        (folder / PLOTS).mkdir()
    names = file_names([str(along.place_of(number)) for number in range(along.plots)])
    agreements = _Table(folder / MEASURED, along)
    with agreements:
        for number, region in enumerate(along.regions(values, progress)):
            agreements.add(region)
            if region.curves is not None:
                _draw(folder / PLOTS, names[number], region, [tracks[k] for k in along.drawn], unit)
    return agreements.summary()


class _Table:
    """`measured.tsv`: a row for each region and measured track; no file if nothing is measured."""

    def __init__(self, path: Path, along: Along):
        self._measured = along.measured
        self._names = [] if along.measured is None else along.measured.names
        self._file = open(path, "w", encoding="utf-8") if self._names else None
        self._sums = np.zeros((len(self._names), 2))
        self._counts = np.zeros((len(self._names), 2), np.int64)
        self._unlogged = 0
        if self._file is not None:
            self._file.write("\t".join(_COLUMNS) + "\n")

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, region: Region) -> None:
        """The rows of a region."""
        for track, own in enumerate(region.agreements):
            found = np.array([own.raw.value, own.log2.value])
            self._sums[track] += np.nan_to_num(found)
            self._counts[track] += np.isfinite(found)
            self._unlogged += own.unlogged
            name = " ".join(self._names[track].split())
            row = (region.place, region.chrom, region.start, region.end, name, own.raw.count)
            self._file.write("\t".join([*map(str, row), *(f"{value:.6g}" for value in found)]) + "\n")

    def summary(self) -> dict[str, Any]:
        """Means over the regions in which a correlation is defined, None where it is in none; and what was counted."""
        if self._measured is None:
            return {"measured": {}, "notes": []}
        means = np.where(self._counts > 0, self._sums / np.maximum(self._counts, 1), np.nan).tolist()
        measured = {
            name: {"pearson_region_mean": _known(raw), "pearson_log2_region_mean": _known(log2)}
            for name, (raw, log2) in zip(self._names, means, strict=True)
        }
        notes = self._measured.notes()
        if self._unlogged:
            notes.append(f"bins with a value of -1 or less, which log2(1 + x) leaves out: {self._unlogged:,}")
        return {"measured": measured, "notes": notes}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _draw(folder: Path, name: str, region: Region, tracks: Sequence[str], unit: str) -> None:
    """Two plots of a region: its values, and their logarithms."""
    own, curves = region.place, region.curves
    mark = None if own.tss is None else Mark(own.gene, own.tss, own.minus)
    asked = None if mark is not None else (own.interval.start, own.interval.end)
    span = (region.chrom, region.start, region.end)
    for ending, log in (("", False), (".log2", True)):
        values = log2_of(curves.values) if log else curves.values
        panels = []
        for number, track in enumerate(tracks):
            found = region.agreements[number] if region.agreements else None
            measured = None if found is None else values[:, 1, number]
            r = None if found is None else (found.log2 if log else found.raw).value
            panels.append(Panel(track, values[:, 0, number], measured, r))
        axis = f"log2(1 + {unit or 'value'})" if log else unit or "value"
        place = (span, curves.start, curves.width)
        figure = along_region(*place, panels, unit=axis, bins=curves.each, asked=asked, mark=mark)
        save_figure(folder / f"{name}{ending}.png", figure)
