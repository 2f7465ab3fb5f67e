"""Figures of tracks: measured against predicted values of each, their course along a chromosome, and ROC panels.

Letters: K tracks, G bins of a chromosome.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxepi.metrics import exact
from jaxepi.report.plots import BLUE, FEW_VALUES, GREY, INK, LIGHT, SERIES, VERMILION, draw_points, literal, tidy

COLUMNS = 6  # panels beside each other
CELLS = 70  # of a density, in each direction
RANKED = 300_000  # values of a track that Spearman is computed from at most
PIXELS = 1_500  # bins of a chromosome are averaged to so many points
BAND = 0.25  # opacity of the range between the lowest and highest bin of a point


class Column(NamedTuple):
    """One column of `along_chromosome`: measured values above, predicted ones below."""

    title: str
    measured: np.ndarray  # (G,)
    predicted: np.ndarray  # (G,)


def scatter_by_track(measured: np.ndarray, predicted: np.ndarray, tracks: Sequence[str], unit: str = "") -> Figure:
    """A panel a track with Pearson and Spearman: points where there are few values, else a log-scaled density.

    Args:
      measured: (N, K), NaN where a value is not known.
      predicted: (N, K).
      tracks: (K,) names.
      unit: of both, for the axes.
    """
    columns = min(len(tracks), COLUMNS)
    rows = -(-len(tracks) // columns)
    figure = Figure(figsize=(2.35 * columns + 0.3, 2.45 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, (ax, track) in enumerate(zip(panels, tracks, strict=False)):
        known = np.isfinite(measured[:, number]) & np.isfinite(predicted[:, number])
        _scatter(ax, measured[known, number], predicted[known, number])
        bottom, left = number + columns >= len(tracks), number % columns == 0
        label = f", {unit}" if unit else ""
        tidy(ax, f"measured{label}" if bottom else "", f"predicted{label}" if left else "")
        ax.set_title(literal(track, 28), fontsize=8, color=INK, loc="left")
    for ax in panels[len(tracks) :]:
        ax.set_axis_off()
    return figure


def _scatter(ax: Axes, measured: np.ndarray, predicted: np.ndarray) -> None:
    if len(measured) <= FEW_VALUES:
        draw_points(ax, predicted, measured)
        low, high = _range(measured, predicted, 0.0)
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    else:
        low, high = _range(measured, predicted, 0.0005)
        both = (np.clip(values, low, high) for values in (measured, predicted))
        counts, *edges = np.histogram2d(*both, CELLS, [(low, high), (low, high)])
        shown = np.ma.masked_equal(counts.T, 0)
        ax.pcolormesh(*edges, shown, cmap="cividis", norm=LogNorm(1, max(2, counts.max())), rasterized=True)
        ax.plot([low, high], [low, high], color=VERMILION, lw=0.9, ls=(0, (5, 4)))
    ax.set_xlim(low, high), ax.set_ylim(low, high)
    ax.set_aspect("equal")
    some = slice(None, None, -(-max(len(measured), 1) // RANKED))
    numbers = exact.pearson(predicted, measured), exact.spearman(predicted[some], measured[some])
    text = "\n".join(f"{name} = {value:.3f}" for name, value in zip(("r", "ρ"), numbers, strict=True))
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize=7.5, color=INK,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5})  # fmt: skip
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=7)


def _range(measured: np.ndarray, predicted: np.ndarray, left_out: float) -> tuple[float, float]:
    """The range of both without the share `left_out` at either end of each, which is then drawn at the edge."""
    if not len(measured):
        return 0.0, 1.0
    ends = np.array([np.quantile(values, [left_out, 1 - left_out]) for values in (measured, predicted)], np.float64)
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def along_chromosome(
    chrom: str, track: str, columns: Sequence[Column], bin_width: int, *, scale: float = 1.0, unit: str = ""
) -> Figure:
    """Measured values above, predicted ones below, along a chromosome; a column for each model.

    Args:
      chrom: name of the chromosome.
      track: name of the track.
      columns: what each model is compared with and predicts, in bins from base 0 on; NaN where there is nothing.
      bin_width: bp.
      scale: all values are multiplied by it.
      unit: of the values then.
    """
    figure = Figure(figsize=(3.6 * len(columns) + 0.4, 4.3), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey=True)
    for number, column in enumerate(columns):
        for row, (values, word) in enumerate(((column.measured, "measured"), (column.predicted, "predicted"))):
            ax, color = axes[row, number], (INK, BLUE)[row]
            place, mean, low, high = _points(np.asarray(values, np.float64) * scale, bin_width)
            ax.fill_between(place, low, high, color=color, alpha=BAND, lw=0)
            ax.plot(place, mean, color=color, lw=0.8)
            tidy(ax, f"{chrom} (Mb)" if row else "", "", literal(column.title, 40) if not row else "")
            if number == 0:
                ax.set_ylabel(f"{word}\n{unit}" if unit else word, fontsize=8.5, color=INK)
            ax.grid(axis="y", color=LIGHT, lw=0.6)
    seen = [column.measured for column in columns] + [column.predicted for column in columns]
    finite = np.concatenate([values[np.isfinite(values)] for values in seen]) * scale
    if finite.size:
        low, high = min(0.0, float(finite.min())), float(np.quantile(finite, 0.999))
        axes[0, 0].set_ylim(low, high + 0.06 * max(high - low, 1e-12))
    figure.suptitle(literal(f"{track}, {chrom}", 80), fontsize=10, color=INK, x=0.01, ha="left")
    return figure


def _points(values: np.ndarray, bin_width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places in Mb, and mean, lowest and highest value of the bins of each point; NaN where none is known."""
    each = max(1, -(-len(values) // PIXELS))
    padded = np.concatenate([values, np.full(-len(values) % each, np.nan)]).reshape(-1, each)
    known = np.isfinite(padded)
    some = known.any(axis=1)
    total, count = np.where(known, padded, 0).sum(axis=1), np.maximum(known.sum(axis=1), 1)
    mean = np.where(some, total / count, np.nan)
    low = np.where(some, np.where(known, padded, np.inf).min(axis=1), np.nan)
    high = np.where(some, np.where(known, padded, -np.inf).max(axis=1), np.nan)
    return (np.arange(len(padded)) + 0.5) * each * bin_width / 1e6, mean, low, high


def roc_panels(curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, float]]], title: str = "") -> Figure:
    """A panel each: name of the panel -> name of a curve (such as a split) -> false and true positive rates and AUC."""
    count = len(curves)
    figure = Figure(figsize=(2.9 * count + 0.4, 3.5 if title else 3.2), layout="constrained")
    for ax, (panel, lines) in zip(
        figure.subplots(1, count, squeeze=False, sharey=True)[0], curves.items(), strict=True
    ):
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (5, 4)))
        for color, (name, (false, true, auc)) in zip(SERIES * len(lines), lines.items(), strict=False):
            area = "one class" if np.isnan(auc) else f"{auc:.3f}"
            ax.plot(false, true, color=color, lw=1.4, label=f"{literal(name, 20)} ({area})")
        tidy(ax, "false positive rate", "true positive rate" if ax is figure.axes[0] else "", literal(panel, 34))
        ax.set_aspect("equal")
        ax.set_xlim(-0.01, 1.01), ax.set_ylim(-0.01, 1.01)
        ax.legend(fontsize=7.5, frameon=False, loc="lower right", title="AUC", title_fontsize=7.5)
    if title:
        figure.suptitle(literal(title, 110), fontsize=10, color=INK, x=0.01, ha="left")
    return figure
