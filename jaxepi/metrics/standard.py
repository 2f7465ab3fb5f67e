"""The metrics that tasks use: the standard set for one region, and its summary with names that say the reduction.

Names are `<value>_<region>_<reduction>`: `per_track_mean` is the mean over tracks of the value of each track (tracks
where it is undefined are left out; `n_tracks` tells how many counted), `flat` takes all values of all tracks as one.
"""

from collections.abc import Mapping

import numpy as np

from jaxepi.metrics.base import Array, Metric, merge_across_hosts, merge_metrics
from jaxepi.metrics.histograms import AUC_BINS, Calibration, Density, Histogram
from jaxepi.metrics.sums import ClassificationSums, ErrorSums, MeanSums, PearsonSums

__all__ = [
    "AUC_BINS",
    "Calibration",
    "ClassificationSums",
    "Density",
    "ErrorSums",
    "Histogram",
    "MeanSums",
    "Metric",
    "PearsonSums",
    "merge_across_hosts",
    "merge_metrics",
    "regression_metrics",
    "standard_metrics",
    "summarize",
]


def standard_metrics(
    prediction: Array,
    target: Array,
    mask: Array | None = None,
    region: str = "cpg",
    label_inclusive: bool = False,
    bins: int = AUC_BINS,
) -> dict[str, Metric]:
    """All metrics of values in [0, 1] over one region (such as the CpG letters), as `<region>/<kind>`.

    Args:
        prediction: (..., K) probabilities.
        target: (..., K) measured fractions; NaN allowed where masked out.
        mask: broadcastable to (..., K), not 0 where the value counts.
        region: what the mask selects, the middle of every name in `summarize`.
        label_inclusive: a target of exactly 0.5 is positive (the published convention: negative).
        bins: of the AUC histogram; fewer for thousands of tracks (the error is below one part in `bins`).
    """
    values = (prediction, target, mask)
    return {
        f"{region}/pearson": PearsonSums.from_values(*values),
        f"{region}/error": ErrorSums.from_values(*values),
        f"{region}/classes": ClassificationSums.from_values(*values, label_inclusive=label_inclusive),
        f"{region}/histogram": Histogram.from_values(*values, bins=bins, label_inclusive=label_inclusive),
        f"{region}/calibration": Calibration.from_values(*values),
        f"{region}/density": Density.from_values(*values),
    }


def regression_metrics(
    prediction: Array, target: Array, mask: Array | None = None, region: str = "bin"
) -> dict[str, Metric]:
    """All metrics of values without bounds and without classes, such as coverage, as `<region>/<kind>`.

    Pearson, the errors with R2 = 1 - SS_residual / SS_total, and the two means. Only a handful of numbers a track, so
    that thousands of tracks cost little; the evaluator draws their density from its sample, whose scale is then known.

    Args:
        prediction: (..., K), of any range.
        target: (..., K) measured values; NaN allowed where masked out.
        mask: broadcastable to (..., K), not 0 where the value counts.
        region: what the mask selects, the middle of every name in `summarize`.
    """
    return {
        f"{region}/pearson": PearsonSums.from_values(prediction, target, mask),
        f"{region}/error": ErrorSums.from_values(prediction, target, mask),
        f"{region}/prediction": MeanSums.from_values(prediction, mask, "mean_prediction"),
        f"{region}/target": MeanSums.from_values(target, mask, "mean_target"),
    }


def per_track_mean(name: str, values: np.ndarray) -> dict[str, float]:
    """`<name>_per_track_mean`, `_per_track_sd` (over tracks, n - 1) and `_n_tracks` of values (K,), NaN left out."""
    defined = np.asarray(values, np.float64)
    defined = defined[~np.isnan(defined)]
    return {
        f"{name}_per_track_mean": float(defined.mean()) if defined.size else float("nan"),
        f"{name}_per_track_sd": float(defined.std(ddof=1)) if defined.size > 1 else float("nan"),
        f"{name}_n_tracks": int(defined.size),
    }


def summarize(metrics: Mapping[str, Metric]) -> dict[str, float | dict]:
    """Finalises metrics named `<region>/<kind>` into one flat dictionary of named numbers.

    Besides the numbers it holds `per_track`: {`<value>_<region>`: [K values]} and `undefined`: {`<value>_<region>`:
    {track number: reason}}. A `flat` value of one track equals its per-track value.
    """
    summary: dict[str, float | dict] = {}
    per_track: dict[str, list[float]] = {}
    undefined: dict[str, dict[int, str]] = {}
    for key, metric in metrics.items():
        region = key.partition("/")[0]
        host = metric.to_host()
        pooled = host.pooled().finalize()
        reasons = host.reasons()
        for value, values in host.finalize().items():
            name = f"{value}_{region}"
            summary |= per_track_mean(name, values)
            summary[f"{name}_flat"] = float(pooled[value][0])
            per_track[name] = [float(v) for v in values]
            if any(reasons[value]):
                undefined[name] = {track: text for track, text in enumerate(reasons[value]) if text}
        if isinstance(metric, PearsonSums):
            summary[f"n_values_{region}_total"] = int(host.count.sum())
            per_track[f"n_values_{region}"] = [int(n) for n in host.count]
    return summary | {"per_track": per_track, "undefined": undefined}
