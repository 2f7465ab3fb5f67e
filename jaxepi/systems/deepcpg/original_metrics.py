"""Metrics, reports and curves of DeepCpG as its original evaluates, and the corrected reductions beside them.

Everything takes NumPy arrays of one split. A label of -1 (or a class row of zeros) is missing and left out first.
Where the original averages values of chunks of the data, `chunk_mean_report` does so; `whole_report` takes all sites at
once. Where it gives curves of all sites under the name of an annotation, `annotated_curves` has a switch.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxepi.metrics import exact

LARGEST_KENDALL = 100_000  # more sites are sampled: the original's limit
SMALLEST_ANNOTATION = 100  # sites; smaller annotations are skipped

Values = Mapping[str, np.ndarray]  # output -> (sites,) or (sites, 3)
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a report."""

    metric: str
    output: str
    value: float


def observed(label: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and prediction of the sites that have a label, float64."""
    label, prediction = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    prediction = prediction.reshape(label.shape)
    keep = label.sum(axis=1) > 0 if label.ndim == 2 else label != -1
    return label[keep], prediction[keep]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts after rounding half to even: 0.5 is negative."""

    tp: int
    tn: int
    fp: int
    fn: int

    @classmethod
    def of(cls, label: np.ndarray, prediction: np.ndarray) -> "Confusion":
        """From labels and predictions (N,) in [0, 1]."""
        positive, called = np.round(label) == 1, np.round(prediction) == 1
        counts = ((positive & called), (~positive & ~called), (~positive & called), (positive & ~called))
        return cls(*(int(count.sum()) for count in counts))

    def accuracy(self) -> float:
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    def true_positive_rate(self) -> float:
        """0 without a positive label, as the original."""
        return _ratio(self.tp, self.tp + self.fn, 0.0)

    def true_negative_rate(self) -> float:
        """NaN without a negative label; 1 if labels and predictions are all of one same class (the original)."""
        if not self.fp and not self.fn and (not self.tp or not self.tn):
            return 1.0
        return _ratio(self.tn, self.tn + self.fp)

    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp, 0.0)

    def f1(self) -> float:
        """0 where it is undefined."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, 0.0)

    def mcc(self) -> float:
        """Matthews correlation, 0 if a marginal is empty."""
        margins = [self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn]
        product = np.prod([float(margin) for margin in margins])
        return float((self.tp * self.tn - self.fp * self.fn) / np.sqrt(product)) if product else 0.0


def _ratio(part: float, whole: float, undefined: float = float("nan")) -> float:
    return part / whole if whole else undefined


def area_under_curve(label: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve with rounded labels; NaN if there is one class only."""
    return exact.auc(prediction, np.round(label) == 1)


def kendall(label: np.ndarray, prediction: np.ndarray) -> float:
    """Kendall's tau-b; of more than 100,000 sites a seeded sample of as many."""
    if len(label) > LARGEST_KENDALL:
        chosen = np.random.default_rng(0).choice(len(label), LARGEST_KENDALL, replace=False)
        label, prediction = label[chosen], prediction[chosen]
    return exact.kendall(prediction, label)


def mse(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean squared error."""
    return float(np.mean((label - prediction) ** 2))


def mad(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute deviation."""
    return float(np.mean(np.abs(label - prediction)))


def rmse(label: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(label, prediction)))


def category_accuracy(label: np.ndarray, prediction: np.ndarray) -> float:
    """Share of sites (N, 3) whose likeliest class is the measured one."""
    return float(np.mean(label.argmax(axis=1) == prediction.argmax(axis=1)))


def _by_class(number: int) -> Metric:
    return lambda label, prediction: area_under_curve(label[:, number], prediction[:, number])


_OF_CLASSES: dict[str, Metric] = {
    "auc": area_under_curve,
    "acc": lambda y, z: Confusion.of(y, z).accuracy(),
    "tpr": lambda y, z: Confusion.of(y, z).true_positive_rate(),
    "tnr": lambda y, z: Confusion.of(y, z).true_negative_rate(),
    "f1": lambda y, z: Confusion.of(y, z).f1(),
    "mcc": lambda y, z: Confusion.of(y, z).mcc(),
}
_OF_VALUES: dict[str, Metric] = {"mse": mse, "mad": mad, "cor": exact.pearson}
_OF_CATEGORIES: dict[str, Metric] = {"cat_acc": category_accuracy, **{f"auc_{i}": _by_class(i) for i in range(3)}}


def metrics_of(output: str) -> dict[str, Metric]:
    """The metrics of an output by its name. `entropy`, for which the original fails, has those of `var`."""
    words = output.split("/")
    if words[-1] == "cat_var":
        return _OF_CATEGORIES
    if words[-1] in ("var", "entropy"):
        return {**_OF_VALUES, "kendall": kendall}
    if words[-1] == "mean":
        return {**_OF_VALUES, **_OF_CLASSES, "kendall": kendall}
    return {**_OF_VALUES, **_OF_CLASSES} if words[0] == "bulk" else _OF_CLASSES


def training_metrics(output: str, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """What the original logs for a batch of an output while it trains."""
    y, z = observed(label, prediction)
    words = output.split("/")
    if words[-1] == "cat_var":
        return {"cat_acc": category_accuracy(y, z) if len(y) else float("nan")}
    errors = {"mse": mse, "mae": mad}
    accuracy = {"acc": _OF_CLASSES["acc"]}
    if words[-1] in ("var", "entropy"):
        chosen = errors
    else:
        chosen = {**errors, **accuracy} if words[0] == "bulk" or words[-1] == "mean" else accuracy
    return {name: metric(y, z) if len(y) else float("nan") for name, metric in chosen.items()}


def evaluate(output: str, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Every metric of one output over all its sites, and `n`, the number of labels; NaN without any label."""
    y, z = observed(label, prediction)
    values = {name: metric(y, z) if len(y) else float("nan") for name, metric in metrics_of(output).items()}
    return {**values, "n": float(len(y))}


def whole_report(labels: Values, predictions: Values) -> list[Row]:
    """Metrics over all sites at once, sorted by metric and value."""
    return _sorted(
        Row(metric, output, value)
        for output in labels
        for metric, value in evaluate(output, labels[output], predictions[output]).items()
    )


def chunk_mean_report(labels: Values, predictions: Values, sizes: Sequence[int]) -> list[Row]:
    """Parity: metrics of chunks of `sizes` consecutive sites, averaged without weights; `n` too. NaN is left out."""
    ends = np.cumsum(sizes)
    gathered: dict[tuple[str, str], list[float]] = {}
    for start, end in zip(ends - np.asarray(sizes), ends, strict=True):
        part = [{name: values[start:end] for name, values in side.items()} for side in (labels, predictions)]
        for row in whole_report(*part):
            gathered.setdefault((row.metric, row.output), []).append(row.value)
    order = {output: i for i, output in enumerate(labels)}
    means = [Row(metric, output, _mean(values)) for (metric, output), values in gathered.items()]
    return _sorted(sorted(means, key=lambda row: order[row.output]))


def chunk_sizes(batches: Iterable[int], eval_size: int) -> list[int]:
    """Parity: batches (rows of each, in order) are collected until there are `eval_size` sites or more; 0 takes all."""
    sizes, held = [], 0
    for rows in batches:
        held += rows
        if eval_size and held >= eval_size:
            sizes.append(held)
            held = 0
    return [*sizes, held] if held else sizes


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _sorted(rows: Iterable[Row]) -> list[Row]:
    """By metric and value; equal ones stay in their order, NaN last."""
    return sorted(rows, key=lambda row: (row.metric, np.isnan(row.value), 0.0 if np.isnan(row.value) else row.value))


COLUMNS = ("cat_acc", "auc", "acc", "tpr", "tnr", "f1", "mcc", "mse", "mad", "cor")


def wide_report(rows: Sequence[Row]) -> tuple[list[str], list[dict[str, float | str]]]:
    """The printed table: columns ("output" first) and a line per output.

    Sorted by auc downwards, without one by mse upwards, else by acc downwards; undefined last.
    """
    metrics = sorted({row.metric for row in rows})
    first = [metric for column in COLUMNS for metric in metrics if metric.split("_")[0] == column or metric == column]
    columns = [*first, *(metric for metric in metrics if metric not in first)]
    lines: dict[str, dict[str, float | str]] = {}
    for row in rows:
        lines.setdefault(row.output, {"output": row.output})[row.metric] = row.value
    key = next((name for name in ("auc", "mse", "acc") if name in metrics), None)
    table = [lines[output] for output in sorted(lines)]
    if key is not None:
        sign = 1.0 if key == "mse" else -1.0
        table.sort(key=lambda line: (np.isnan(float(line.get(key, np.nan))), sign * float(line.get(key, np.nan) or 0)))
    return ["output", *columns], table


def by_annotation(
    labels: Values, predictions: Values, annotations: Values, smallest: int = SMALLEST_ANNOTATION
) -> dict[str, list[Row]]:
    """Reports of all sites (`global`) and of those inside each annotation with at least `smallest` sites."""
    reports = {"global": whole_report(labels, predictions)}
    for name, inside in annotations.items():
        inside = np.asarray(inside, bool)
        if inside.sum() >= smallest:
            parts = [{key: values[inside] for key, values in side.items()} for side in (labels, predictions)]
            reports[name] = whole_report(*parts)
    return reports


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points of a curve: ROC has x = false and y = true positive rate, PR has x = precision and y = recall."""

    x: np.ndarray
    y: np.ndarray
    threshold: np.ndarray


def curve(kind: str, label: np.ndarray, prediction: np.ndarray, points: int | None = None) -> Curve | None:
    """The `roc` or `pr` curve of one output, thinned to at most `points` points; None with fewer than two classes."""
    y, z = observed(label, prediction)
    positive = np.round(y) == 1
    if not positive.any() or (kind == "roc" and positive.all()):
        return None
    x, y, threshold = (roc_points if kind == "roc" else pr_points)(positive, z)
    length = min(len(x), len(y), len(threshold))
    at = np.arange(length)
    if points is not None and length > points:
        at = np.linspace(0, length - 1, points).astype(int)
    return Curve(x[at], y[at], threshold[at])


def _counts(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positives at each distinct score, from the highest, and the scores."""
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    true = np.cumsum(positive)[last]
    return last + 1 - true, true, score[last]


def roc_points(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positive rate and threshold; points on a straight line are left out.

    The first threshold, at which nothing is called, is the largest score + 1.
    """
    false, true, threshold = _counts(positive, score)
    if len(false) > 2:
        bend = np.flatnonzero(np.r_[True, (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0), True])
        false, true, threshold = false[bend], true[bend], threshold[bend]
    false, true = np.r_[0, false], np.r_[0, true]
    return false / false[-1], true / true[-1], np.r_[threshold[0] + 1, threshold]


def pr_points(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and threshold from the lowest threshold with full recall upwards, then (1, 0) without one."""
    false, true, threshold = _counts(positive, score)
    stop = np.searchsorted(true, true[-1]) + 1
    false, true, threshold = false[:stop][::-1], true[:stop][::-1], threshold[:stop][::-1]
    return np.r_[true / (true + false), 1.0], np.r_[true / true[0], 0.0], threshold


def annotated_curves(
    kind: str,
    labels: Values,
    predictions: Values,
    annotations: Values,
    *,
    points: int = 1000,
    smallest: int = SMALLEST_ANNOTATION,
    all_sites: bool = False,
) -> dict[tuple[str, str], Curve]:
    """(annotation, output) -> curve over the sites inside; `global` over all.

    With `all_sites` every annotation gets the curve of all sites, as the original does by mistake (parity).
    """
    curves: dict[tuple[str, str], Curve | None] = {}
    everything = np.ones(len(next(iter(labels.values()))), bool)
    for name, inside in {"global": everything, **annotations}.items():
        inside = np.asarray(inside, bool)
        if name != "global" and inside.sum() < smallest:
            continue
        used = everything if all_sites else inside
        for output in labels:
            curves[name, output] = curve(kind, labels[output][used], predictions[output][used], points)
    return {key: value for key, value in curves.items() if value is not None}
