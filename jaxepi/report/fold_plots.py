"""Figures of a cross-validation: each metric over the folds, and what the folds predict, each in its colour."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxepi.evaluate.sampled_density import density, to_axis
from jaxepi.report.fold_summary import FoldSummary
from jaxepi.report.plots import (
    FEW_VALUES,
    GREY,
    INK,
    LIGHT,
    SERIES,
    draw_density,
    draw_points,
    equal_limits,
    literal,
    log_ticks,
    only_classes,
    tidy,
)
from jaxepi.report.words import words_of


def fold_values(summary: FoldSummary) -> Figure | None:
    """A panel a metric: the value of each fold, their mean as a line, one standard deviation as a band."""
    rows = summary.headlines()
    if not rows:
        return None
    figure = Figure(figsize=(0.6 + 2.3 * len(rows), 2.9), layout="constrained")
    folds = [literal(fold, 16) for fold in summary.results]
    for ax, (name, row) in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows.items(), strict=True):
        at = np.arange(len(folds))
        if row.defined.size:
            ax.axhline(row.mean, color=INK, lw=1.0)
        if row.defined.size > 1:
            ax.axhspan(row.mean - row.sd, row.mean + row.sd, color=LIGHT, alpha=0.6, lw=0)
        ax.scatter(at, row.values, s=36, color=[SERIES[i % len(SERIES)] for i in at], zorder=3)
        for x, value in zip(at, row.values, strict=True):
            text, y = ("undefined", row.mean) if np.isnan(value) else (f"{value:.3f}", value)
            if y == y:
                ax.annotate(text, (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=7.5, color=INK,
                            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8})  # fmt: skip
        if row.together == row.together:
            ax.axhline(row.together, color=INK, lw=1.0, ls=(0, (1, 2)))
        tidy(ax, "", "", summary.title(name))
        ax.set_xticks(at, folds, rotation=30 if len(folds) > 5 else 0, fontsize=8)
        ax.set_xlim(-0.6, len(folds) - 0.4)
        ax.margins(y=0.25)
        ax.grid(axis="y", color=LIGHT, lw=0.6)
    return figure


def fold_curves(summary: FoldSummary) -> Figure | None:
    """ROC and precision-recall curves of all folds, and of all held-out records together; None without classes."""
    region = summary.first.region
    curves = {fold: result.curves for fold, result in summary.results.items()}
    if not any(np.isfinite(c.get(f"{region}/fpr_flat", np.nan)).any() for c in curves.values()):
        return None
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    panels = [("fpr", "tpr", "false positive rate", "true positive rate", "auc", "AUC"),
              ("tpr", "precision", "recall", "precision", "average_precision", "average precision")]  # fmt: skip
    for ax, (x, y, xlabel, ylabel, value, word) in zip(figure.subplots(1, 2), panels, strict=True):
        row = summary.rows[f"{value}_{region}"]
        for number, (fold, own) in enumerate(curves.items()):
            label = f"{literal(fold, 16)}  {_number(row.values[number])}"
            if f"{region}/{x}_flat" in own:
                ax.plot(own[f"{region}/{x}_flat"][0], own[f"{region}/{y}_flat"][0], color=SERIES[number % len(SERIES)],
                        lw=1.2, alpha=0.9, label=label)  # fmt: skip
        if summary.together is not None and row.together == row.together:
            together = summary.together.curves
            ax.plot(together[f"{region}/{x}_flat"][0], together[f"{region}/{y}_flat"][0], color=INK, lw=2.0,
                    label=f"all together  {row.together:.3f}")  # fmt: skip
            if x == "tpr":
                _chance(ax, [together[f"{region}/precision_flat"][0][-1]] * 2)
        if x == "fpr":
            _chance(ax, [0, 1])
        tidy(ax, xlabel, ylabel)
        ax.set_xlim(0, 1), ax.set_ylim(0, 1.01)
        ax.set_aspect("equal")
        legend = ax.legend(fontsize=7.5, frameon=False, loc="lower right" if x == "fpr" else "best", title=word)
        legend.get_title().set_fontsize(8)
    return figure


def _chance(ax: Axes, heights: list[float]) -> None:
    ax.plot([0, 1], heights, color=GREY, lw=0.9, ls=(0, (5, 4)))


def _number(value: float) -> str:
    return "undefined" if value != value else f"{value:.3f}"


def _joint_density(summary: FoldSummary) -> tuple[np.ndarray, float, float, float]:
    """Counts (bins, bins) of all folds, the ends of both axes and their floor; values without bounds by the samples."""
    name, results = f"{summary.first.region}/density", list(summary.results.values())
    limits = summary.first.curves[f"{name}_range_flat"]
    if len(limits) == 2:
        return sum(result.curves[f"{name}_flat"][0] for result in results), *map(float, limits), 0.0
    sampled = (np.concatenate([getattr(r.samples, side).ravel() for r in results]) for side in ("prediction", "target"))
    counts, (low, high, floor) = density(*sampled)
    return counts, float(low), float(high), float(floor)


def fold_scatter(summary: FoldSummary) -> Figure | None:
    """Predicted against measured values of all folds: points in the folds' colours, or a density; None for classes."""
    first, region = summary.first, summary.first.region
    if any(f"{region}/density_flat" not in r.curves or only_classes(r) for r in summary.results.values()):
        return None
    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    ax = figure.subplots()
    counts, low, high, floor = _joint_density(summary)
    if summary.together is not None and counts.sum() <= FEW_VALUES:
        for number, (fold, result) in enumerate(summary.results.items()):
            known = ~np.isnan(result.samples.target)
            values = (result.samples.prediction[known], result.samples.target[known])
            color, label = SERIES[number % len(SERIES)], literal(fold, 16)
            draw_points(ax, *(to_axis(value, floor) for value in values), color, label)
        ax.legend(fontsize=8, frameon=False, loc="lower right")
        equal_limits(ax)
    else:
        draw_density(ax, counts, low, high, words_of(first).plural)
    if floor:
        log_ticks(ax, floor)
    unit = f", {first.unit}" if first.unit else ""
    tidy(ax, f"measured{unit}", f"predicted{unit}")
    lines = [
        f"{summary.title(name)} = {row.together:.3f}"
        for name, row in summary.headlines().items()
        if row.together == row.together
    ]
    if lines:
        ax.text(0.03, 0.97, "\n".join(["all together", *lines]), transform=ax.transAxes, va="top", fontsize=8.5,
                color=INK, bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2})  # fmt: skip
    return figure
