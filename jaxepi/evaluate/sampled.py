"""Values that need all predictions at once, from the sample of positions: ranks, and curves without bins."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from jaxepi.evaluate.sampling import Sample
from jaxepi.metrics import exact
from jaxepi.metrics.standard import per_track_mean

_NO_RANKS = "fewer than two values, a constant or a value that is not finite in the sample"
_ONE_CLASS = f"only one class, or {_NO_RANKS}"

Value = Callable[[np.ndarray, np.ndarray], float]


def sampled_values(
    sample: Sample,
    regions: Sequence[str],
    label_threshold: float | None = 0.5,
    kendall: Collection[int] = (),
    flat_ranks: bool = False,
) -> tuple[dict[str, float], dict[str, list[float]], dict[str, dict[int, str]]]:
    """Spearman, AUC and average precision of every track, and Kendall's tau-b of some.

    Args:
        sample: positions of K tracks.
        regions: of each track (K,), the middle of the names of its values.
        label_threshold: a target above it is positive; None: no AUC and no average precision.
        kendall: numbers of the tracks for which tau-b is given.
        flat_ranks: Spearman over all values of the tracks of a region as one set, too.

    Returns:
        Additions to summary, per_track and undefined of an EvalResult; a value has K entries, NaN for the tracks of
        other regions.
    """
    values: dict[str, tuple[Value, Collection[int], str]] = {
        "spearman": (exact.spearman, range(len(regions)), _NO_RANKS)
    }
    if label_threshold is not None:
        labelled = (("auc_sampled", exact.auc), ("average_precision_sampled", exact.average_precision))
        for name, function in labelled:
            values[name] = (_of_labels(function, label_threshold), range(len(regions)), _ONE_CLASS)
    values["kendall"] = (exact.kendall, kendall, _NO_RANKS)
    summary: dict[str, float] = {}
    per_track: dict[str, list[float]] = {}
    undefined: dict[str, dict[int, str]] = {}
    for region in dict.fromkeys(regions):
        summary[f"sample_positions_{region}"] = len(sample.prediction)
        summary[f"sample_complete_{region}"] = float(sample.complete)
        for value, (function, tracks, why) in values.items():
            chosen = [track for track in tracks if regions[track] == region]
            if not chosen:
                continue
            column, name = np.full(len(regions), np.nan), f"{value}_{region}"
            column[chosen] = [_of_track(function, sample, track) for track in chosen]
            summary |= per_track_mean(name, column)
            per_track[name] = column.tolist()
            if missing := [track for track in chosen if np.isnan(column[track])]:
                undefined[name] = dict.fromkeys(missing, why)
        if flat_ranks:
            columns = [track for track, own in enumerate(regions) if own == region]
            summary[f"spearman_{region}_flat"] = _of_values(
                exact.spearman, sample.prediction[:, columns].ravel(), sample.target[:, columns].ravel()
            )
    return summary, per_track, undefined


def _of_labels(function: Value, threshold: float) -> Value:
    return lambda prediction, target: function(prediction, target > threshold)


def _of_track(function: Value, sample: Sample, track: int) -> float:
    return _of_values(function, sample.prediction[:, track], sample.target[:, track])


def _of_values(function: Value, prediction: np.ndarray, target: np.ndarray) -> float:
    """Of the measured values (N,); NaN if a prediction is not finite."""
    keep = ~np.isnan(target)
    prediction, target = prediction[keep], target[keep]
    return function(prediction, target) if np.isfinite(prediction).all() else float("nan")
