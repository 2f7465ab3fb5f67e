"""A genome-browser-like figure of one held-out window: predicted and measured values at their coordinates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxepi.evaluate.result import BrowserWindow
from jaxepi.report.plots import BLUE, GREY, INK, VERMILION, literal, tidy

MAX_LINES = 6  # tracks drawn as lines; more become rows of a heat map
MAX_ROWS = 60  # rows of a heat map
GAP = 300  # bp without a position over which no line is drawn
REACH = 30  # bp that a heat-map cell reaches at most to each side of its position


def browser_view(shown: BrowserWindow, tracks: list[str], bin_width: int = 0) -> Figure:
    """Few tracks: measured values as points and predicted ones as a line, one panel a track. Many: two heat maps.

    Of bins, both are drawn as coverage, one above the other; the names are then labels as matplotlib shall draw them.
    """
    window = shown.window
    position = shown.start + window.offset + 1  # genome browsers count from 1
    if bin_width:
        return _coverage(shown, position, tracks, bin_width)
    few = len(tracks) <= MAX_LINES
    draw = _lines if few else _heat_maps
    figure = draw(position, window.prediction, window.target, tracks)
    _write_place(figure.axes[0], figure.axes[len(tracks) - 1] if few else figure.axes[2], shown, position[-1])
    return figure


def _write_place(top: Axes, bottom: Axes, shown: BrowserWindow, last: int) -> None:
    """The interval up to its last base as the title, and positions below."""
    first = shown.start + shown.window.offset[0] + 1
    place = literal(f"{shown.chrom}:{first:,}-{last:,}" if shown.chrom else "window")
    top.set_title(place, fontsize=10, color=INK, loc="left")
    bottom.set_xlabel(literal(f"position on {shown.chrom}" if shown.chrom else "position in the window"), fontsize=9)
    bottom.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{int(x):,}"))


def _coverage(shown: BrowserWindow, position: np.ndarray, tracks: list[str], width: int) -> Figure:
    """Two rows a track, measured above predicted, on one scale."""
    window, count = shown.window, len(tracks)
    place = (position - position[0]) // width  # bins without a value are gaps
    edges = position[0] + width * np.arange(place[-1] + 2)
    figure = Figure(figsize=(9.6, 0.7 + 0.78 * max(count, 1.5)), layout="constrained")
    rows = figure.subplots(2 * count, 1, sharex=True, squeeze=False)[:, 0]
    figure.get_layout_engine().set(h_pad=0.01, hspace=0)
    for number, track in enumerate(tracks):
        pair = (window.target[:, number], window.prediction[:, number])
        top = max((float(values[np.isfinite(values)].max(initial=0.0)) for values in pair), default=0.0) or 1.0
        low = min(float(values[np.isfinite(values)].min(initial=0.0)) for values in pair)
        for ax, values, color in zip(rows[2 * number : 2 * number + 2], pair, (INK, BLUE), strict=True):
            drawn = np.full(len(edges) - 1, np.nan)
            drawn[place] = values
            ax.stairs(drawn, edges, fill=True, color=color, lw=0)
            tidy(ax)
            ax.set_ylim(low, 1.05 * top)
            ax.set_yticks([top], [_short(top) if color == INK else ""])
            ax.tick_params(axis="y", labelsize=6.5)
            ax.axhline(0, color=GREY, lw=0.5)
            ax.spines[["left", "bottom"]].set_visible(False)
            ax.tick_params(axis="x", length=3 if ax is rows[-1] else 0)
        rows[2 * number].set_ylabel(track, fontsize=7.5, rotation=0, ha="right", va="center")
        rows[2 * number].yaxis.set_label_coords(-0.05, 0.0)
    for ax, word, color in zip(rows[:2], ("measured", "predicted"), (INK, BLUE), strict=True):
        ax.text(1.006, 0.5, word, transform=ax.transAxes, fontsize=7.5, color=color, va="center")
    rows[0].set_xlim(edges[0], edges[-1])
    _write_place(rows[0], rows[-1], shown, int(edges[-1]) - 1)
    return figure


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _lines(position: np.ndarray, prediction: np.ndarray, target: np.ndarray, tracks: list[str]) -> Figure:
    figure = Figure(figsize=(9.6, 0.75 + 0.95 * max(len(tracks), 1.4)), layout="constrained")
    panels = figure.subplots(len(tracks), 1, sharex=True, squeeze=False)[:, 0]
    for number, (ax, track) in enumerate(zip(panels, tracks, strict=True)):
        ax.vlines(position, 0, np.nan_to_num(target[:, number]), color=GREY, lw=0.6, alpha=0.45)
        ax.plot(position, target[:, number], ls="none", marker="o", ms=2.2, color=INK, label="measured")
        ax.plot(*_with_gaps(position, prediction[:, number]), color=BLUE, lw=1.3, label="predicted")
        tidy(ax, "", "")
        ax.set_ylabel(literal(track, 26), fontsize=8, rotation=0, ha="right", va="center")
        ax.set_ylim(-0.04, 1.06)
        ax.set_yticks([0, 1])
        ax.plot(position, np.full(len(position), -0.04), ls="none", marker="|", ms=4, color=GREY, clip_on=False)
    panels[0].legend(fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    return figure


def _with_gaps(position: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Breaks the line where no position lies for more than GAP bp."""
    cuts = np.flatnonzero(np.diff(position) > GAP) + 1
    return np.insert(position.astype(float), cuts, np.nan), np.insert(values.astype(float), cuts, np.nan)


def _heat_maps(position: np.ndarray, prediction: np.ndarray, target: np.ndarray, tracks: list[str]) -> Figure:
    rows = min(len(tracks), MAX_ROWS)
    names = [literal(track, 26) for track in tracks[:rows]]
    figure = Figure(figsize=(9.6, 1.9 + 0.11 * 2 * rows), layout="constrained")
    mean, measured, predicted = figure.subplots(3, 1, sharex=True, height_ratios=[1.1, 0.11 * rows, 0.11 * rows])
    known = ~np.isnan(target).all(axis=1)
    average = np.full(len(position), np.nan)
    average[known] = np.nanmean(target[known], axis=1)
    mean.plot(position, average, ls="none", marker="o", ms=2.2, color=INK, label="measured")
    mean.plot(*_with_gaps(position, prediction.mean(axis=1)), color=BLUE, lw=1.3, label="predicted")
    tidy(mean)
    mean.set_ylabel("mean of\nall tracks", fontsize=8, rotation=0, ha="right", va="center")
    mean.set_ylim(-0.04, 1.06)
    mean.set_yticks([0, 1])
    mean.legend(fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    for ax, values, word in ((measured, target, "measured"), (predicted, prediction, "predicted")):
        mesh = _cells(ax, position, values[:, :rows])
        tidy(ax)
        ax.set_yticks(np.arange(rows) + 0.5, names)
        ax.tick_params(axis="y", labelsize=5.5, length=0)
        ax.set_ylim(rows, 0)
        ax.spines["left"].set_visible(False)
        ax.text(1.005, 0.5, word, transform=ax.transAxes, rotation=270, va="center", fontsize=9, color=INK)
    bar = figure.colorbar(mesh, ax=[measured, predicted], shrink=0.4, pad=0.035, aspect=30)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    if len(tracks) > rows:
        predicted.text(0, -0.02, f"the first {rows} of {len(tracks)} tracks", transform=predicted.transAxes,
                       fontsize=7, va="top", color=VERMILION)  # fmt: skip
    return figure


def _cells(ax: Axes, position: np.ndarray, values: np.ndarray) -> QuadMesh:
    """A heat map whose cells lie at their genome positions and reach half-way to their neighbours, REACH at most."""
    middle = (position[1:] + position[:-1]) / 2
    left = np.maximum(np.concatenate([[-np.inf], middle]), position - REACH)
    right = np.minimum(np.concatenate([middle, [np.inf]]), position + REACH)
    # Between the cells lie empty ones, so that edges ascend and gaps stay white.
    edges = np.stack([left, right], axis=1).ravel()
    grid = np.full((values.shape[1], 2 * len(position) - 1), np.nan)
    grid[:, ::2] = values.T
    rows = np.arange(values.shape[1] + 1)
    return ax.pcolormesh(edges, rows, np.ma.masked_invalid(grid), cmap="cividis", norm=Normalize(0, 1), rasterized=True)
