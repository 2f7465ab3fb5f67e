"""A figure of one region: predicted bins of each track, over what was measured where it was, along the chromosome.

Letters: P points of a curve.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxepi.report.plots import BLUE, GREY, INK, LIGHT, VERMILION, literal, tidy

ROOM = 1.08  # of a panel, times its highest value
MEASURED = "#BDBDBD"


class Panel(NamedTuple):
    """A track: predicted and measured values (P,), NaN where there are none, and their correlation."""

    track: str
    predicted: np.ndarray
    measured: np.ndarray | None = None
    pearson: float | None = None


class Mark(NamedTuple):
    """The start site of a gene, 0-based."""

    gene: str
    position: int
    minus: bool


def along_region(
    span: tuple[str, int, int],
    start: int,
    width: int,
    panels: Sequence[Panel],
    *,
    unit: str,
    bins: int = 1,
    asked: tuple[int, int] | None = None,
    mark: Mark | None = None,
) -> Figure:
    """A panel a track: measured values as a grey area, predicted ones as a line.

    Args:
      span: chromosome, first base and end of what is shown.
      start: first base of the first point.
      width: bp of a point.
      panels: at least one.
      unit: of the values.
      bins: of which a point is the mean.
      asked: first base and end of the region that was asked for; what lies outside is shaded.
      mark: a start site to point out.
    """
    chrom, low, high = span
    figure = Figure(figsize=(9.6, 1.15 + 1.35 * max(len(panels), 1.3)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    edges = (start + width * np.arange(len(panels[0].predicted) + 1)) / 1e6
    for ax, panel in zip(axes, panels, strict=True):
        _panel(ax, edges, panel)
        for first, last in _outside(span, asked):
            ax.axvspan(first / 1e6, last / 1e6, color=LIGHT, alpha=0.35, lw=0, zorder=0)
        if mark is not None:
            ax.axvline(mark.position / 1e6, color=VERMILION, lw=1.0, ls=(0, (4, 3)), zorder=4)
    axes[0].set_xlim(low / 1e6, high / 1e6)
    if mark is not None:
        _label(axes[0], mark, (low, high))
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10])
    axes[-1].xaxis.set_major_locator(ticks)
    decimals = _decimals(ticks.tick_values(low / 1e6, high / 1e6))
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.{decimals}f}"))
    means = f", means of {bins} bins" if bins > 1 else ""
    axes[-1].set_xlabel(literal(f"position on {chrom} (Mb){means}", 60), fontsize=9, color=INK)
    figure.supylabel(literal(unit), fontsize=9, color=INK)
    _title(figure, span, asked, mark, panels)
    return figure


def _panel(ax: Axes, edges: np.ndarray, panel: Panel) -> None:
    """One track, with its name and correlation above."""
    shown = [panel.predicted]
    if panel.measured is not None:
        ax.stairs(panel.measured, edges, fill=True, color=MEASURED, lw=0)
        shown.append(panel.measured)
    ax.stairs(panel.predicted, edges, baseline=None, color=BLUE, lw=1.1, zorder=3)
    finite = np.concatenate([values[np.isfinite(values)] for values in shown])
    low, high = min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0))
    ax.set_ylim(low * ROOM, high * ROOM if high > low else low + 1.0)
    tidy(ax)
    ax.axhline(0, color=GREY, lw=0.5, zorder=2)
    ax.grid(axis="y", color=LIGHT, lw=0.6)
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.set_title(literal(panel.track, 60), fontsize=8.5, color=INK, loc="left", pad=3)
    if panel.pearson is not None:
        told = "r undefined" if np.isnan(panel.pearson) else f"Pearson r = {panel.pearson:.3f}"
        ax.set_title(told, fontsize=8.5, color=INK, loc="right", pad=3)


def _outside(span: tuple[str, int, int], asked: tuple[int, int] | None) -> list[tuple[int, int]]:
    """The parts of what is shown that were not asked for."""
    _, low, high = span
    if asked is None:
        return []
    return [(first, last) for first, last in ((low, asked[0]), (asked[1], high)) if first < last]


def _label(ax: Axes, mark: Mark, span: tuple[int, int]) -> None:
    """The gene's name beside its line, on the side to which it is transcribed as far as there is room."""
    left = (
        mark.minus if 0.12 < (mark.position - span[0]) / (span[1] - span[0]) < 0.88 else mark.position > sum(span) / 2
    )
    arrow = f"← {mark.gene}" if mark.minus else f"{mark.gene} →"
    ax.annotate(
        literal(arrow), (mark.position / 1e6, 0.97), xycoords=ax.get_xaxis_transform(), color=VERMILION, fontsize=8.5,
        xytext=(-4 if left else 4, 0), textcoords="offset points", ha="right" if left else "left", va="top", zorder=5,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _decimals(ticks: np.ndarray) -> int:
    """Decimals with which neighbouring ticks, whose distance is 1, 2 or 5 times a power of ten, differ."""
    return max(0, int(np.ceil(-np.log10(float(np.diff(ticks).min())) - 1e-9)))


def _title(
    figure: Figure,
    span: tuple[str, int, int],
    asked: tuple[int, int] | None,
    mark: Mark | None,
    panels: Sequence[Panel],
) -> None:
    """What is shown, and where something is measured the legend of the two curves."""
    chrom, low, high = span
    text = f"{chrom}:{low}-{high}"
    if mark is not None:
        text = f"{mark.gene}, {text}"
    elif _outside(span, asked):
        text = f"{chrom}:{asked[0]}-{asked[1]} (white), in {text}"
    alone = ", predicted" if panels[0].measured is None else ""
    figure.suptitle(literal(text + alone, 90), fontsize=10, color=INK, x=0.01, ha="left")
    if panels[0].measured is not None:
        handles = [Patch(color=MEASURED), Line2D([], [], color=BLUE, lw=1.4)]
        figure.legend(
            handles, ["measured", "predicted"], fontsize=8.5, frameon=False, ncols=2, loc="upper right",
            bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2,
        )  # fmt: skip
