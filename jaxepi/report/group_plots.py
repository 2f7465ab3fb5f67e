"""Figures of parts: of the records, such as the sites inside an annotation; of the tracks, such as an assay's."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxepi.evaluate.result import EvalResult
from jaxepi.evaluate.sampled_density import ranked
from jaxepi.metrics.track_groups import assays_of
from jaxepi.report.plots import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    LOWEST_R2,
    MAX_BARS,
    MAX_THIN_LINES,
    SERIES,
    density_of,
    draw_bars,
    draw_predicted,
    few_values,
    literal,
    only_classes,
    tidy,
    title_of,
)

LINES = ("-", "--", ":")
MAX_GROUP_LINES = len(SERIES) * len(LINES)
MAX_SCATTERED = 12  # tracks with a scatter plot of their own
SCATTERED_A_ROW = 4


def known_mean(values: Sequence[float]) -> float:
    """Mean of the values that are defined; NaN if none is."""
    known = np.asarray(values, np.float64)
    return float(np.nanmean(known)) if not np.isnan(known).all() else float("nan")


def group_bars(result: EvalResult) -> Figure | None:
    """AUC and Matthews correlation of every part of the records, means over tracks; None without parts."""
    if not result.groups:
        return None
    shown = sorted(result.groups, key=lambda group: -sum(result.groups[group]["n_values"]))[:MAX_BARS]
    every = f"all {literal(result.region)}"
    figure = Figure(figsize=(9.2, 0.9 + 0.26 * (len(shown) + 1)), layout="constrained")
    panels = [("auc", "AUC (bars start at chance, 0.5)", 0.5), ("mcc", "Matthews correlation", 0.0)]
    for column, (ax, (name, label, base)) in enumerate(zip(figure.subplots(1, 2), panels, strict=True)):
        tidy(ax, label)
        columns = [result.per_track.get(f"{name}_{result.region}", [np.nan]), *(result.groups[g][name] for g in shown)]
        for y, values in enumerate(columns if len(result.tracks) <= MAX_THIN_LINES else []):
            ax.plot(values, [y + 0.38] * len(values), ls="none", marker="o", ms=2.5, mew=0.5, mfc="none", color=GREY)
        names = [every, *(f"{literal(g, 30)} ({sum(result.groups[g]['n_values']):,})" for g in shown)]
        means = np.array([known_mean(values) for values in columns])
        draw_bars(ax, means, np.full(len(means), np.nan), names if column == 0 else None, base)
    return figure


def group_curves(result: EvalResult) -> Figure | None:
    """ROC and precision-recall curves of every part of the records, all tracks together; None without curves."""
    ends = [re.fullmatch(r"[^/]+-(\d+)/fpr_flat", name) for name in result.curves]
    keys = {int(end[1]): end[0].removesuffix("/fpr_flat") for end in ends if end}
    parts = [(name, keys[i]) for i, name in enumerate(result.groups) if i in keys and _has_curve(result, keys[i])]
    if not parts:
        return None
    parts.sort(key=lambda part: -sum(result.groups[part[0]]["n_values"]))
    named = [(f"all {result.region}", result.region, INK, "-")] if _has_curve(result, result.region) else []
    for number, (name, key) in enumerate(parts[:MAX_GROUP_LINES]):
        label = f"{literal(name, 26)} ({sum(result.groups[name]['n_values']):,})"
        named.append((label, key, SERIES[number % len(SERIES)], LINES[number // len(SERIES)]))
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, x, y in ((axes[0], "fpr", "tpr"), (axes[1], "tpr", "precision")):
        for label, key, color, line in named:
            values = (result.curves[f"{key}/{x}_flat"][0], result.curves[f"{key}/{y}_flat"][0])
            ax.plot(*values, color=color, ls=line, lw=2.0 if color == INK else 1.3, label=label)
        ax.set_xlim(0, 1), ax.set_ylim(0, 1.01)
        ax.set_aspect("equal")
    axes[0].plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=(0, (5, 4)))
    tidy(axes[0], "false positive rate", "true positive rate")
    tidy(axes[1], "recall", "precision")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def _has_curve(result: EvalResult, key: str) -> bool:
    """Whether both classes occur."""
    return (
        f"{key}/fpr_flat" in result.curves
        and not np.isnan([result.curves[f"{key}/{name}_flat"][0] for name in ("fpr", "tpr", "precision")])
        .all(axis=1)
        .any()
    )


def assay_boxes(result: EvalResult) -> Figure | None:
    """Pearson and R2 of the tracks of every assay as boxes, few tracks as points too; None without assays."""
    if not result.track_groups:
        return None
    assays, region = np.array(assays_of(result.descriptions)), result.region
    shown = list(result.track_groups)[:MAX_BARS]
    panels = [(f"pearson_{region}", "Pearson r"), (f"r2_{region}", "R2")]
    panels = [(name, label) for name, label in panels if name in result.per_track]
    figure = Figure(figsize=(9.2, 0.8 + 0.34 * len(shown)), layout="constrained")
    for ax, (name, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        tidy(ax, label)
        values = np.maximum(np.array(result.per_track[name], np.float64), LOWEST_R2)
        columns = [values[(assays == assay) & ~np.isnan(values)] for assay in shown]
        line = {"color": BLUE, "lw": 1.2}
        ax.boxplot(columns, orientation="horizontal", widths=0.55, sym="", boxprops=line, whiskerprops=line,
                   capprops=line, medianprops={"color": INK, "lw": 1.6})  # fmt: skip
        for number, column in enumerate(columns, 1):
            if len(column) <= MAX_THIN_LINES:
                ax.plot(column, [number] * len(column), ls="none", marker="o", ms=3, mew=0.6, mfc="none", color=GREY)
        names = [f"{literal(assay, 30)} ({result.track_groups[assay]['n_tracks']:,.0f})" for assay in shown]
        ax.set_yticks(np.arange(1, len(shown) + 1), names if ax is figure.axes[0] else [""] * len(shown))
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color=LIGHT, lw=0.6)
    return figure


def track_scatters(result: EvalResult) -> Figure | None:
    """Predicted against measured values of single tracks, from the best to the worst; None with fewer than four."""
    if f"{result.region}/density" not in result.curves or only_classes(result) or result.has_classes:
        return None
    pearson = result.per_track.get(f"pearson_{result.region}", [])
    kept = [value if density_of(result, k) is not None else float("nan") for k, value in enumerate(pearson)]
    shown = ranked(kept, MAX_SCATTERED)
    if len(shown) < 4:  # the figure of all tracks has them
        return None
    rows = -(-len(shown) // SCATTERED_A_ROW)
    figure = Figure(figsize=(9.6, 0.2 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, SCATTERED_A_ROW, squeeze=False).ravel()
    unit = f", {result.unit}" if result.unit else ""
    for number, ax in enumerate(panels):
        if number >= len(shown):
            ax.set_axis_off()
            continue
        draw_predicted(ax, result, shown[number], few_values(result), bar=False)
        last = number + SCATTERED_A_ROW >= len(shown)
        tidy(ax, f"measured{unit}" if last else "", f"predicted{unit}" if number % SCATTERED_A_ROW == 0 else "")
        ax.set_title(title_of(result, shown[number], 25), fontsize=7.5, color=INK, loc="left")
        ax.tick_params(labelsize=6.5)
        ax.text(0.04, 0.96, f"r = {pearson[shown[number]]:.3f}", transform=ax.transAxes, va="top", fontsize=7.5,
                bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5})  # fmt: skip
    return figure
