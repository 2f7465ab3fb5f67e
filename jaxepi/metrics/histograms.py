"""Binned counts per track: AUC, ROC and precision-recall curves, reliability, and the density of a scatter plot."""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.metrics.base import (
    Array,
    Metric,
    divide,
    first_reason,
    namespace,
    over_tracks,
    prepare_values,
    static,
    sum_tracks,
)

AUC_BINS = 20_480  # of the Melody paper's evaluation


def _count_cells(cells: Array, keep: Array, size: int) -> Array:
    """Counts per track how often each cell number in `cells` (..., K) occurs where `keep`: (K, size)."""
    tracks = cells.shape[-1]
    first = over_tracks(size * namespace(cells).arange(tracks, dtype=np.int32), cells.ndim)
    # Values that do not count get a cell behind the last one, which is cut off (NumPy) or dropped (jax).
    if isinstance(cells, np.ndarray):
        flat = np.where(keep, cells + first, size * tracks)
        return np.bincount(flat.ravel(), minlength=size * tracks)[: size * tracks].reshape(tracks, size)
    flat = jnp.where(keep, cells + first, size * tracks)
    return jnp.zeros(size * tracks, jnp.int32).at[flat.ravel()].add(1, mode="drop").reshape(tracks, size)


def _bin_number(values: Array, scale: int, bins: int) -> Array:
    """floor(values * scale) as int32 in [0, bins); in float32 on the host too, so that both fill the same bins."""
    xp = namespace(values)
    return xp.floor(values.astype(xp.float32) * scale).clip(0, bins - 1).astype(xp.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Histogram(Metric):
    """Counts of predictions in [0, 1] by bin and label: AUC, average precision and curves without keeping the values.

    bin = floor(p * (bins - 1)) with 20 480 bins and half credit for ties inside a bin, as the Melody paper evaluates;
    predictions outside [0, 1] count in the outermost bins. Any score can be used after mapping it into [0, 1].
    """

    counts: Array  # (K, 2, bins): label 0 or 1
    not_finite: Array  # (K,) predictions or targets that are NaN or infinite
    label_threshold: float = static(0.5)
    label_inclusive: bool = static(False)

    @classmethod
    def zero(cls, tracks: int, bins: int = AUC_BINS, **options: float | bool) -> Self:
        """The metric of no values; `options` are the static fields."""
        return cls(np.zeros((tracks, 2, bins), np.int64), np.zeros(tracks, np.int64), **options)

    @classmethod
    def from_values(
        cls,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        bins: int = AUC_BINS,
        label_threshold: float = 0.5,
        label_inclusive: bool = False,
    ) -> Self:
        """From prediction, target, mask (..., K); the label is target > label_threshold (>= if inclusive)."""
        xp, prediction, target, keep = prepare_values(prediction, target, mask)
        finite = xp.isfinite(prediction) & xp.isfinite(target)
        label = (target >= label_threshold if label_inclusive else target > label_threshold).astype(xp.int32)
        bin_number = _bin_number(xp.where(finite, prediction, 0.0).clip(0.0, 1.0), bins - 1, bins)
        counts = _count_cells(bin_number + bins * label, keep & finite, 2 * bins)
        return cls(
            counts=counts.reshape(-1, 2, bins),
            not_finite=sum_tracks(keep & ~finite),
            label_threshold=label_threshold,
            label_inclusive=label_inclusive,
        )

    def finalize(self) -> dict[str, np.ndarray]:
        """`auc` and `average_precision` (step-wise, one threshold a bin), each (K,)."""
        host = self.to_host()
        negative, positive = host.counts[:, 0].astype(np.float64), host.counts[:, 1].astype(np.float64)
        below = np.cumsum(negative, axis=-1) - negative
        wins = (positive * (below + 0.5 * negative)).sum(axis=-1)
        auc = divide(wins, positive.sum(axis=-1) * negative.sum(axis=-1))
        true = np.cumsum(positive[:, ::-1], axis=-1)
        called = true + np.cumsum(negative[:, ::-1], axis=-1)
        # An empty bin adds no recall, so its undefined precision (nothing called yet) does not count.
        precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        average = divide((precision * positive[:, ::-1]).sum(axis=-1), positive.sum(axis=-1))
        bad = host.not_finite > 0
        return {"auc": np.where(bad, np.nan, auc), "average_precision": np.where(bad, np.nan, average)}

    def reasons(self) -> dict[str, list[str]]:
        """Why a value is NaN."""
        host = self.to_host()
        by_label = host.counts.sum(axis=-1)
        first = [(host.not_finite > 0, "a value is not finite"), (by_label.sum(axis=-1) == 0, "no value")]
        no_positive = (by_label[:, 1] == 0, "only one class: no positive label")
        no_negative = (by_label[:, 0] == 0, "only one class: no negative label")
        return {
            "auc": first_reason([*first, no_positive, no_negative]),
            "average_precision": first_reason([*first, no_positive]),
        }

    def curves(self, points: int = 512) -> dict[str, np.ndarray]:
        """ROC and precision-recall curves: `fpr`, `tpr`, `precision`, each (K, points), NaN where undefined.

        The points are evenly spaced in the number of predictions called positive, from none to all; recall is `tpr`.
        """
        host = self.to_host()
        curves = {name: np.full((len(host.counts), points), np.nan) for name in ("fpr", "tpr", "precision")}
        for track, (negative, positive) in enumerate(host.counts):
            true = np.concatenate([[0], np.cumsum(positive[::-1])])
            false = np.concatenate([[0], np.cumsum(negative[::-1])])
            called = true + false
            at = np.searchsorted(called, np.linspace(0, called[-1], points))
            if positive.any():
                curves["tpr"][track] = true[at] / true[-1]
                # With nothing called, precision takes its value at the first threshold that calls something.
                first = np.maximum(at, np.searchsorted(called, 1))
                curves["precision"][track] = true[first] / called[first]
            if negative.any():
                curves["fpr"][track] = false[at] / false[-1]
        return curves


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Calibration(Metric):
    """Reliability: mean prediction and mean target in equal-width bins of the prediction in [0, 1]."""

    count: Array  # (K, bins)
    prediction_sum: Array  # (K, bins)
    target_sum: Array  # (K, bins)

    @classmethod
    def zero(cls, tracks: int, bins: int = 20) -> Self:
        """The metric of no values."""
        return cls(np.zeros((tracks, bins), np.int64), np.zeros((tracks, bins)), np.zeros((tracks, bins)))

    @classmethod
    def from_values(cls, prediction: Array, target: Array, mask: Array | None = None, bins: int = 20) -> Self:
        """From prediction, target, mask (..., K); values that are not finite are left out."""
        xp, prediction, target, keep = prepare_values(prediction, target, mask)
        keep = keep & xp.isfinite(prediction) & xp.isfinite(target)
        prediction, target = xp.where(keep, prediction, 0.0), xp.where(keep, target, 0.0)
        cells = _bin_number(prediction, bins, bins)
        count = _count_cells(cells, keep, bins)
        if xp is np:
            flat = (cells + bins * np.arange(cells.shape[-1])).ravel()
            sums = [
                np.bincount(flat, v.ravel(), minlength=count.size).reshape(count.shape) for v in (prediction, target)
            ]
            return cls(count, *sums)
        return cls(count, *_sum_cells(cells, jnp.stack([prediction, target]), bins))

    def finalize(self) -> dict[str, np.ndarray]:
        """`ece` (K,): expected calibration error, the count-weighted mean of |mean prediction - mean target|."""
        host = self.to_host()
        gap = np.abs(host.prediction_sum - host.target_sum).sum(axis=-1)
        return {"ece": divide(gap, host.count.sum(axis=-1))}

    def reasons(self) -> dict[str, list[str]]:
        """Why a value is NaN."""
        return {"ece": first_reason([(self.to_host().count.sum(axis=-1) == 0, "no finite value")])}

    def curves(self) -> dict[str, np.ndarray]:
        """`count`, `prediction` and `target` (means, NaN in empty bins), each (K, bins)."""
        host = self.to_host()
        return {
            "count": host.count,
            "prediction": divide(host.prediction_sum, host.count),
            "target": divide(host.target_sum, host.count),
        }


def _sum_cells(cells: Array, values: Array, size: int) -> Array:
    """Adds values (V, ..., K) into the cells (..., K) of each track: (V, K, size), float32 on the device.

    Each row of the batch (three axes or more) has cells of its own, which are then added: shorter sums are more exact.
    On a GPU the order of a scatter's additions, and so the last bit, may differ between runs.
    """
    tracks, rows = cells.shape[-1], cells.shape[0] if cells.ndim > 2 else 1
    first = tracks * jnp.arange(rows, dtype=jnp.int32)[:, None, None] + jnp.arange(tracks, dtype=jnp.int32)[None, None]
    flat = cells.reshape(rows, -1, tracks) + size * first
    sums = jnp.zeros((rows * tracks * size, len(values)), jnp.float32)
    sums = sums.at[flat.ravel()].add(values.reshape(len(values), -1).T)
    return sums.reshape(rows, tracks, size, -1).sum(axis=0).transpose(2, 0, 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Density(Metric):
    """Counts over a grid of predicted (axis 1) and measured (axis 2) values in [low, high]: a scatter plot."""

    counts: Array  # (K, bins, bins)
    low: float = static(0.0)
    high: float = static(1.0)

    @classmethod
    def zero(cls, tracks: int, bins: int = 64, low: float = 0.0, high: float = 1.0) -> Self:
        """The metric of no values."""
        return cls(np.zeros((tracks, bins, bins), np.int64), low, high)

    @classmethod
    def from_values(
        cls,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        bins: int = 64,
        low: float = 0.0,
        high: float = 1.0,
    ) -> Self:
        """From prediction, target, mask (..., K); values outside [low, high] count at the edge, not finite ones not."""
        xp, prediction, target, keep = prepare_values(prediction, target, mask)
        finite = xp.isfinite(prediction) & xp.isfinite(target)

        def cell(values: Array) -> Array:
            return _bin_number((xp.where(finite, values, low) - low) / (high - low), bins, bins)

        counts = _count_cells(cell(prediction) * bins + cell(target), keep & finite, bins * bins)
        return cls(counts.reshape(-1, bins, bins), low, high)

    def finalize(self) -> dict[str, np.ndarray]:
        """No number per track: the grid itself is drawn."""
        return {}

    def reasons(self) -> dict[str, list[str]]:
        """Nothing can be undefined."""
        return {}
