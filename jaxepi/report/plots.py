"""Figures of the report. Each function draws one `Figure` from numbers; nothing here reads files or keeps state.

Colours are of the Okabe-Ito palette and cividis, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxepi.evaluate.result import EvalResult
from jaxepi.evaluate.sampled_density import to_axis
from jaxepi.report.words import words_of
from jaxepi.storage.history import RunHistory

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
INK, GREY, LIGHT = "#222222", "#8C8C8C", "#D9D9D9"
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)

MAX_BARS = 60  # tracks drawn one by one; of more, the ends and a histogram
END_BARS = 12  # tracks shown at each end then
MAX_THIN_LINES = 64
FEW_VALUES = 3000  # up to so many are drawn as points
MAX_NAMED_LINES = len(SERIES) - 1  # tracks that get a colour of their own and a name
LOWEST_R2 = -1.0  # where an axis of R2 begins, which has no lower bound


def literal(text: str, longest: int = 44) -> str:
    """A name as matplotlib shall draw it: `$` starts no formula, white space is one blank, a long middle is cut."""
    text = " ".join(str(text).split())
    if len(text) > longest:
        text = text[: longest // 2] + "…" + text[len(text) - (longest - 1) // 2 :]
    return text.replace("$", r"\$")


def tidy(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """The common look: no box, small grey ticks, light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=8, width=0.6, length=3)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_axisbelow(True)


def loss_curves(history: RunHistory, metric: str | None = None) -> Figure | None:
    """Training loss and its terms, and the validation metric `metric` per split; None if nothing was logged."""
    series, evals = history.series(), _validation_series(history, metric)
    series = {name: values for name, values in series.items() if name == "loss" or values != series.get("loss")}
    if not series and not evals:
        return None
    panels = bool(series) + bool(evals)
    figure = Figure(figsize=(4.6 * panels, 3.0), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    if series:
        ax = axes.pop(0)
        for number, (name, (steps, values)) in enumerate(series.items()):
            color = INK if name == "loss" else SERIES[(number - 1) % len(SERIES)]
            label = "loss (all terms)" if name == "loss" and len(series) > 1 else literal(name.replace("_", " "))
            many = len(values) > 120
            marker = "o" if len(values) < 3 else None
            ax.plot(steps, values, color=color, lw=0.7 if many else 1.5, alpha=0.35 if many else 1, marker=marker, ms=4,
                    label=None if many else label)  # fmt: skip
            if many:
                ax.plot(*_smoothed(steps, values), color=color, lw=1.6, label=label)
        tidy(ax, "step", "training loss", "Training")
        ax.set_ylim(*_robust_limits([value for _, values in series.values() for value in values]))
        ax.legend(fontsize=8, frameon=False)
    if evals:
        ax = axes.pop(0)
        for color, (name, (steps, values)) in zip(SERIES * len(evals), evals.items(), strict=False):
            ax.plot(steps, values, color=color, lw=1.5, marker="o", ms=3.5, label=literal(name))
        tidy(ax, "step", "", literal(f"{metric or 'metric'} on held-out data", 60))
        ax.legend(fontsize=8, frameon=False)
    for ax in figure.axes:
        ax.grid(axis="y", color=LIGHT, lw=0.6)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _validation_series(history: RunHistory, metric: str | None) -> dict[str, tuple[list[int], list[float]]]:
    series = {}
    for split, by_step in history.evals.items():
        points = [(step, m[metric]) for step, m in by_step.items() if metric in m and m[metric] is not None]
        if points:
            series[split] = tuple(map(list, zip(*points, strict=True)))
    return series


def _smoothed(steps: list[int], values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Running median over about a fortieth of the curve."""
    width = max(3, len(values) // 40) | 1
    frames = np.lib.stride_tricks.sliding_window_view(np.array(values), width)
    return np.array(steps)[width // 2 : len(values) - width // 2], np.median(frames, axis=-1)


def _robust_limits(values: list[float]) -> tuple[float, float]:
    """From 0 (or the lowest value) to the highest, or to the 98th percentile where a start far above hides the rest."""
    values = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high, most = min(0.0, min(values)), max(*values, 1e-12), float(np.quantile(values, 0.98))
    high = most if high > 3 * most > 0 else high
    return low, high + 0.08 * (high - low)


def per_track_bars(result: EvalResult, ceiling: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Pearson and AUC, without classes R2, of every track: bars (few), or both ends and a histogram (many).

    `ceiling`: track -> {`pearson_<region>`: the best that can be reached}, drawn as a tick on the bar.
    """
    region = result.region
    second = (f"auc_{region}", "AUC (bars start at chance, 0.5)", 0.5)
    panels = [(f"pearson_{region}", "Pearson r", 0.0), second if result.has_classes else (f"r2_{region}", "R2", 0.0)]
    panels = [(name, label, base) for name, label, base in panels if name in result.per_track]
    order = np.argsort([-v if v == v else np.inf for v in result.per_track[panels[0][0]]], kind="stable")
    held = np.array(result.per_track.get(f"n_values_{region}", np.ones(len(order))))
    order = order[held[order] > 0] if held.any() else order  # tracks of another region have no value here
    many = len(order) > MAX_BARS
    shown = np.concatenate([order[:END_BARS], order[-END_BARS:]]) if many else order
    height = 0.55 + 0.185 * max(len(shown), 2) + (1.9 if many else 0.35)
    figure = Figure(figsize=(9.2, height), layout="constrained")
    rows = [1.5, 0.185 * len(shown)] if many else [1.0]
    grid = figure.subplots(len(rows), len(panels), squeeze=False, height_ratios=rows)
    for column, (name, label, base) in enumerate(panels):
        values = np.array(result.per_track[name], np.float64)
        if many:
            histogram = grid[0, column]
            histogram.hist(
                np.maximum(values[~np.isnan(values)], LOWEST_R2), bins=40, color=BLUE, edgecolor="white", lw=0.3
            )
            tidy(histogram, label.partition(" (")[0], "tracks", f"All {len(order):,} tracks")
        ax = grid[-1, column]
        tidy(ax, label, "", f"Best and worst {END_BARS}" if many and column == 0 else "")
        names = [result.tracks[track] for track in shown]
        best = np.array([(ceiling or {}).get(track, {}).get(name, np.nan) for track in names], np.float64)
        draw_bars(ax, values[shown], best, [label_of(result, k) for k in shown] if column == 0 else None, base)
        if many:
            ax.axhline(END_BARS - 0.5, color=GREY, lw=0.8, ls=(0, (4, 3)))
    return figure


def label_of(result: EvalResult, track: int, longest: int = 44) -> str:
    """A track's name with its description, as matplotlib shall draw it."""
    about = f" {result.descriptions[track]}" if result.descriptions else ""
    return literal(result.tracks[track] + about, longest)


def title_of(result: EvalResult, track: int, longest: int = 30) -> str:
    """The same in two lines."""
    about = f"\n{literal(result.descriptions[track], longest + 6)}" if result.descriptions else ""
    return literal(result.tracks[track], longest) + about


def draw_bars(ax: Axes, values: np.ndarray, best: np.ndarray, names: list[str] | None, base: float) -> None:
    """Horizontal bars from `base`, the value written behind; undefined ones say so; `best` (NaN: unknown) as a tick."""
    at = np.arange(len(values))
    ax.barh(at, np.nan_to_num(values - base), left=base, height=0.62, color=BLUE)
    ax.plot(best, at, ls="none", marker="|", ms=11, mew=1.8, color=VERMILION)
    known = [value for value in (*values, *best) if value == value] + [base]
    low, high = max(min(known), LOWEST_R2), max(1.0, *known)
    for y, value in zip(at, values, strict=True):
        # Inside the bar, where a tick cannot be mistaken for what the number belongs to; short bars have no room.
        inside = value - base > 0.15 * (high - low)
        text = "undefined" if np.isnan(value) else f"{value:.3f}"
        place = {"ha": "right", "color": "white"} if inside else {"ha": "left", "color": INK}
        edge = value if inside else base if np.isnan(value) else max(value, base)
        ax.text(edge + (-0.01 if inside else 0.02) * (high - low), y, text, va="center", fontsize=7, **place)
    if low < base:
        ax.axvline(base, color=INK, lw=0.6)
    ax.set_xlim(low, high + 0.04 * (high - low))
    if low < 0:
        ax.locator_params(axis="x", nbins=5)
    ax.set_xticks([tick for tick in ax.get_xticks() if low <= tick <= high])
    ax.set_yticks(at, names if names is not None else [""] * len(at))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(max(len(values), 2) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color=LIGHT, lw=0.6)


def predicted_against_measured(result: EvalResult) -> Figure | None:
    """Points where there are few values, else a log-scaled density; None if targets are classes (or nothing is kept).

    All tracks, and (of several) best, median and worst.
    """
    region = result.region
    if f"{region}/density_flat" not in result.curves or only_classes(result):
        return None
    pearson = result.per_track.get(f"pearson_{region}", [])
    title = "All tracks together" if len(result.tracks) > 1 else literal(result.tracks[0])
    panels: list[tuple[str, int | None]] = [(title, None)]
    if f"{region}/density" in result.curves and len(result.tracks) > 1:
        order = [k for k in np.argsort(pearson) if not np.isnan(pearson[k]) and density_of(result, k) is not None]
        picks = {"Best": order[-1:], "Median": order[len(order) // 2 : len(order) // 2 + 1], "Worst": order[:1]}
        for word, track in ((word, pick[0]) for word, pick in picks.items() if pick):
            if len(result.tracks) > 2 or word != "Median":
                panels.append((f"{word}: {title_of(result, track, 24)}", track))
    few = few_values(result)
    width = 3.4 if few or len(panels) == 1 else 2.75
    figure = Figure(figsize=(0.7 + width * len(panels), 0.45 + width), layout="constrained")
    for ax, (name, track) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_predicted(ax, result, track, few)
        unit = f", {result.unit}" if result.unit else ""
        tidy(ax, f"measured{unit}", f"predicted{unit}" if ax is figure.axes[0] else "", name)
        _write_values(ax, result, track, len(panels) == 1)
    return figure


def few_values(result: EvalResult) -> bool:
    """Whether all values are in the sample, and few enough to be drawn one by one."""
    return result.samples.complete and result.curves[f"{result.region}/density_flat"].sum() <= FEW_VALUES


def _write_values(ax: Axes, result: EvalResult, track: int | None, alone: bool) -> None:
    """How well a track (None: all together) is predicted, in a corner of its scatter plot."""
    words = ["pearson", *(["spearman"] if alone else []), *(["r2"] if alone or result.bin_width else [])]
    if track is None and not alone:
        values = [result.summary.get(f"{word}_{result.region}_flat", np.nan) for word in words]
    else:
        values = [result.per_track.get(f"{word}_{result.region}", [np.nan])[track or 0] for word in words]
    pairs = zip(words, values, strict=True)
    lines = [f"{'r' if word == 'pearson' else word} = {value:.3f}" for word, value in pairs if not np.isnan(value)]
    ax.text(0.03, 0.97, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=9, color=INK,
            bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2})  # fmt: skip


def density_of(result: EvalResult, track: int | None) -> tuple[np.ndarray, float, float, float] | None:
    """Counts (bins, bins) of a track, None: of all, with the ends of the axes and their floor; None if none is kept."""
    name = f"{result.region}/density"
    if track is None:
        place, ending = 0, "_flat"
    else:
        kept = result.curves.get(f"{name}_track", np.arange(len(result.tracks)))
        found = np.flatnonzero(kept == track) if name in result.curves else []
        if not len(found):
            return None
        place, ending = int(found[0]), ""
    limits = result.curves[f"{name}_range{ending}"]
    low, high, *floor = limits[place] if limits.ndim == 2 else limits
    return result.curves[f"{name}{ending}"][place], float(low), float(high), float(floor[0]) if floor else 0.0


def draw_predicted(ax: Axes, result: EvalResult, track: int | None, few: bool, bar: bool = True) -> None:
    """Predicted against measured values of a track, None: of all, as points or as their density, perhaps with a bar."""
    counts, low, high, floor = density_of(result, track) or density_of(result, None)
    if few:
        draw_points(ax, *(to_axis(values, floor) for values in _sampled(result, track)))
        equal_limits(ax)
    else:
        draw_density(ax, counts, low, high, words_of(result).plural if track is None else "", bar)
    if floor:
        log_ticks(ax, floor)


def log_ticks(ax: Axes, floor: float) -> None:
    """Labels of both axes that `to_axis` made, the same: 0, and powers of ten from the floor on."""
    low, high = ax.get_xlim()
    powers = 10.0 ** np.arange(np.ceil(np.log10(floor)), np.log10(floor) + max(abs(low), abs(high)) + 1)
    values = np.concatenate([-powers[::-1], [0.0], powers])
    places = to_axis(values, floor)
    shown = (places >= low) & (places <= high)
    shown &= (values == 0) | (np.abs(places) > 0.12 * (high - low))  # none over that of 0
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(places[shown], [f"{value:g}" for value in values[shown]])
    ax.set_xlim(low, high), ax.set_ylim(low, high)


def draw_points(ax: Axes, predicted: np.ndarray, measured: np.ndarray, color: str = BLUE, label: str = "") -> None:
    """Each value (N,) as a point, with the line of equality under the first points of these axes."""
    if not ax.lines:
        ax.axline((0, 0), slope=1, color=VERMILION, lw=0.9, ls=(0, (5, 4)))
    size = 22 if len(predicted) < 300 else 10
    ax.scatter(measured, predicted, s=size, color=color, alpha=0.6, lw=0, label=label or None)
    ax.grid(color=LIGHT, lw=0.6)


def equal_limits(ax: Axes) -> None:
    """The same range on both axes, so that equality is the diagonal."""
    limits = np.array([ax.get_xlim(), ax.get_ylim()])
    low, high = limits[:, 0].min(), limits[:, 1].max()
    ax.set_xlim(low, high), ax.set_ylim(low, high)
    ax.set_aspect("equal")


def _sampled(result: EvalResult, track: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured values (N,) of the sample: of a track, or of all."""
    columns = slice(None) if track is None else [track]
    predicted, measured = result.samples.prediction[:, columns], result.samples.target[:, columns]
    known = ~np.isnan(measured)
    return predicted[known], measured[known]


def only_classes(result: EvalResult) -> bool:
    """Whether every measured value is 0 or 1, as far as the density tells."""
    low, high = result.curves[f"{result.region}/density_range_flat"][:2]
    measured = result.curves[f"{result.region}/density_flat"][0].sum(axis=0)
    return (low, high) == (0, 1) and measured.any() and not measured[1:-1].any()


def draw_density(ax: Axes, counts: np.ndarray, low: float, high: float, title: str = "", bar: bool = True) -> None:
    """How many values fall into each cell (bins, bins) of predicted and measured in [low, high], perhaps with a bar."""
    image = ax.imshow(
        np.ma.masked_equal(counts, 0), origin="lower", extent=(low, high, low, high), cmap="cividis",
        norm=LogNorm(1, max(2, counts.max())), interpolation="nearest",
    )  # fmt: skip
    ax.plot([low, high], [low, high], color=VERMILION, lw=0.9, ls=(0, (5, 4)))
    used = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    if (low, high) != (0, 1) and used.size:  # values without natural bounds: the part that is used
        step = (high - low) / len(counts)
        limits = low + used[0] * step, low + (used[-1] + 1) * step
        ax.set_xlim(*limits), ax.set_ylim(*limits)
    if bar:
        colors = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        colors.ax.tick_params(labelsize=7)
        colors.outline.set_visible(False)
        colors.ax.set_title(title, fontsize=7, color=INK)


def class_histograms(result: EvalResult) -> Figure | None:
    """The predictions of values measured as 0 and as 1, all tracks together; None unless there are only these two."""
    if f"{result.region}/density_flat" not in result.curves or not only_classes(result):
        return None
    counts = result.curves[f"{result.region}/density_flat"][0]
    words = words_of(result)
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    ax = figure.subplots()
    bins = len(counts) if counts.sum() > FEW_VALUES else 16
    edges = np.linspace(0, 1, bins + 1)
    for column, color, name in ((0, BLUE, words.classes[0]), (-1, VERMILION, words.classes[1])):
        own = counts[:, column].reshape(bins, -1).sum(axis=1)
        if own.sum():
            ax.stairs(own / own.sum(), edges, color=color, fill=True, alpha=0.25)
            ax.stairs(own / own.sum(), edges, color=color, lw=1.4, label=f"{name} ({int(own.sum()):,})")
    tidy(ax, "predicted", "share of the class")
    ax.set_xlim(0, 1)
    ax.grid(axis="y", color=LIGHT, lw=0.6)
    ax.legend(fontsize=8, frameon=False)
    return figure


def reliability(result: EvalResult) -> Figure | None:
    """Mean measured against mean predicted value per bin of the prediction, with the counts below."""
    name = f"{result.region}/calibration"
    if f"{name}_count_flat" not in result.curves:
        return None
    figure = Figure(figsize=(4.4, 4.6), layout="constrained")
    curve, counts = figure.subplots(2, 1, height_ratios=[3.2, 1], sharex=True)
    curve.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=(0, (5, 4)), label="perfect")
    if f"{name}_count" in result.curves and 1 < len(result.tracks) <= MAX_THIN_LINES:
        lines = zip(result.curves[f"{name}_prediction"], result.curves[f"{name}_target"], strict=True)
        for number, (predicted, measured) in enumerate(lines):
            curve.plot(predicted, measured, color=SKY, lw=0.6, alpha=0.6, label=None if number else "single tracks")
    means = (result.curves[f"{name}_prediction_flat"][0], result.curves[f"{name}_target_flat"][0])
    count, predicted, measured = _fewer_bins(result.curves[f"{name}_count_flat"][0], *means)
    label = "all tracks" if len(result.tracks) > 1 else literal(result.tracks[0])
    curve.plot(predicted, measured, color=BLUE, lw=1.6, marker="o", ms=3.5, label=label)
    words = words_of(result)
    tidy(curve, "", words.reliability)
    curve.set_xlim(0, 1), curve.set_ylim(-0.02, 1.02)
    curve.legend(fontsize=8, frameon=False, loc="upper left")
    edges = np.linspace(0, 1, len(count) + 1)
    counts.bar(edges[:-1], count, width=np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.4)
    tidy(counts, "predicted", words.plural)
    counts.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    counts.yaxis.get_offset_text().set_fontsize(7)
    return figure


def _fewer_bins(count: np.ndarray, *means: np.ndarray) -> tuple[np.ndarray, ...]:
    """Counts and means of bins (bins,), of which two or four are made one where there are few values for so many."""
    wanted = [factor for factor in (1, 2, 4) if len(count) % factor == 0]
    factor = next((f for f in wanted if count.sum() >= 20 * len(count) // f**2), wanted[-1])
    merged = count.reshape(-1, factor).sum(axis=1)
    sums = [(np.nan_to_num(mean) * count).reshape(-1, factor).sum(axis=1) for mean in means]
    return merged, *(np.divide(total, merged, out=np.full(len(merged), np.nan), where=merged > 0) for total in sums)


def roc_and_pr(result: EvalResult) -> Figure | None:
    """ROC and precision-recall curves of all tracks together, single tracks as thin lines."""
    region, curves = result.region, result.curves
    if f"{region}/fpr_flat" not in curves or np.isnan(curves[f"{region}/fpr_flat"]).all():
        return None
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    panels = [("fpr", "tpr", "false positive rate", "true positive rate", "auc", "AUC"),
              ("tpr", "precision", "recall", "precision", "average_precision", "average precision")]  # fmt: skip
    for ax, (x, y, xlabel, ylabel, value, word) in zip(figure.subplots(1, 2), panels, strict=True):
        few = len(result.tracks) <= MAX_NAMED_LINES
        if f"{region}/{x}" in curves and 1 < len(result.tracks) <= MAX_THIN_LINES:
            lines = zip(curves[f"{region}/{x}"], curves[f"{region}/{y}"], result.tracks, strict=True)
            known = [line for line in lines if not np.isnan(line[1]).all()]
            for number, (one_x, one_y, track) in enumerate(known):
                look = {"color": SKY, "lw": 0.6, "alpha": 0.6}
                if few:
                    look = {"color": SERIES[1 + number], "lw": 1.0, "label": literal(track, 24)}
                ax.plot(one_x, one_y, **look)
            if few and x == "fpr":
                ax.legend(fontsize=7, frameon=False, loc="center right")
        flat_x, flat_y = curves[f"{region}/{x}_flat"][0], curves[f"{region}/{y}_flat"][0]
        ax.plot(flat_x, flat_y, color=INK if few and len(result.tracks) > 1 else BLUE, lw=1.8)
        chance = [0, 1] if x == "fpr" else [flat_y[-1]] * 2
        ax.plot([0, 1], chance, color=GREY, lw=0.9, ls=(0, (5, 4)))
        tidy(ax, xlabel, ylabel)
        ax.set_xlim(0, 1), ax.set_ylim(0, 1.01)
        ax.set_aspect("equal")
        number = result.summary.get(f"{value}_{region}_flat", np.nan)
        text = f"{word} {number:.3f}" + (" (all tracks together)" if len(result.tracks) > 1 else "")
        ax.text(0.97, 0.04, text, transform=ax.transAxes, ha="right", fontsize=8.5, color=INK)
    return figure
