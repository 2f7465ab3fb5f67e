"""Correlation, error and classification sums per track."""

import dataclasses
from types import ModuleType
from typing import Self

import jax
import numpy as np

from jaxepi.metrics.base import (
    Array,
    Metric,
    Moments,
    divide,
    first_reason,
    over_tracks,
    prepare_values,
    static,
    sum_tracks,
)

# A standard deviation below this share of the mean is no spread: float32 cannot tell it from a constant.
CONSTANT = 5e-7


def _pool_moments(xp: ModuleType, count: Array, mean: Array) -> tuple[Array, Array]:
    """Pools `count` and `mean` (P, ...) over P: the pooled mean (...) and each part's distance from it (P, ...)."""
    total = count.sum(axis=0)
    pooled = (count * mean).sum(axis=0) / xp.maximum(total, 1)
    return pooled, xp.where(count > 0, mean - pooled[None], 0.0)


def _is_constant(count: np.ndarray, mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    return square <= count * (CONSTANT * np.abs(mean)) ** 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PearsonSums(Moments):
    """Pearson correlation over all unmasked values of a track.

    Holds means and centred second moments (pooled by the parallel variance formula), not raw sums of squares, so that
    float32 on the device loses nothing to cancellation. Leaves are therefore not additive: use `merge`.
    """

    count: Array  # (K,) unmasked values
    prediction_mean: Array  # (K,)
    target_mean: Array  # (K,)
    prediction_square: Array  # (K,) sum of (p - mean p)^2
    target_square: Array  # (K,) sum of (t - mean t)^2
    product: Array  # (K,) sum of (p - mean p)(t - mean t)

    @classmethod
    def zero(cls, tracks: int) -> Self:
        """The metric of no values."""
        return cls(np.zeros(tracks, np.int64), *(np.zeros(tracks) for _ in range(5)))

    @classmethod
    def from_values(cls, prediction: Array, target: Array, mask: Array | None = None) -> Self:
        """From prediction, target, mask (..., K)."""
        xp, prediction, target, keep = prepare_values(prediction, target, mask)
        count = sum_tracks(keep)
        divisor = xp.maximum(count, 1)
        prediction_mean, target_mean = sum_tracks(prediction) / divisor, sum_tracks(target) / divisor
        from_mean_p = xp.where(keep, prediction - over_tracks(prediction_mean, keep.ndim), 0.0)
        from_mean_t = xp.where(keep, target - over_tracks(target_mean, keep.ndim), 0.0)
        return cls(
            count=count,
            prediction_mean=prediction_mean,
            target_mean=target_mean,
            prediction_square=sum_tracks(from_mean_p**2),
            target_square=sum_tracks(from_mean_t**2),
            product=sum_tracks(from_mean_p * from_mean_t),
        )

    def _combine(self, xp: ModuleType) -> Self:
        prediction_mean, apart_p = _pool_moments(xp, self.count, self.prediction_mean)
        target_mean, apart_t = _pool_moments(xp, self.count, self.target_mean)
        return PearsonSums(
            count=self.count.sum(axis=0),
            prediction_mean=prediction_mean,
            target_mean=target_mean,
            prediction_square=(self.prediction_square + self.count * apart_p**2).sum(axis=0),
            target_square=(self.target_square + self.count * apart_t**2).sum(axis=0),
            product=(self.product + self.count * apart_p * apart_t).sum(axis=0),
        )

    def finalize(self) -> dict[str, np.ndarray]:
        """`pearson` (K,): NaN below two values or where prediction or target does not vary."""
        host = self.to_host()
        with np.errstate(invalid="ignore"):
            scale = np.sqrt(host.prediction_square) * np.sqrt(host.target_square)
        undefined = np.array([bool(reason) for reason in host.reasons()["pearson"]], bool)
        return {"pearson": np.where(undefined, np.nan, np.clip(divide(host.product, scale), -1.0, 1.0))}

    def reasons(self) -> dict[str, list[str]]:
        """Why `pearson` is NaN."""
        host = self.to_host()
        finite = np.isfinite(host.prediction_square + host.target_square + host.product)
        constant_p = _is_constant(host.count, host.prediction_mean, host.prediction_square)
        constant_t = _is_constant(host.count, host.target_mean, host.target_square)
        conditions = [
            (host.count < 2, "fewer than two values"),
            (~finite, "a value is not finite"),
            (constant_t, "the target is constant"),
            (constant_p, "the prediction is constant"),
        ]
        return {"pearson": first_reason(conditions)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ErrorSums(Moments):
    """Mean absolute and squared error, bias and explained variance R2 over all unmasked values of a track."""

    count: Array  # (K,)
    absolute: Array  # (K,) sum of |p - t|
    squared: Array  # (K,) sum of (p - t)^2
    difference: Array  # (K,) sum of p - t
    target_mean: Array  # (K,)
    target_square: Array  # (K,) sum of (t - mean t)^2

    @classmethod
    def zero(cls, tracks: int) -> Self:
        """The metric of no values."""
        return cls(np.zeros(tracks, np.int64), *(np.zeros(tracks) for _ in range(5)))

    @classmethod
    def from_values(cls, prediction: Array, target: Array, mask: Array | None = None) -> Self:
        """From prediction, target, mask (..., K)."""
        xp, prediction, target, keep = prepare_values(prediction, target, mask)
        count, difference = sum_tracks(keep), prediction - target
        target_mean = sum_tracks(target) / xp.maximum(count, 1)
        return cls(
            count=count,
            absolute=sum_tracks(xp.abs(difference)),
            squared=sum_tracks(difference**2),
            difference=sum_tracks(difference),
            target_mean=target_mean,
            target_square=sum_tracks(xp.where(keep, target - over_tracks(target_mean, keep.ndim), 0.0) ** 2),
        )

    def _combine(self, xp: ModuleType) -> Self:
        target_mean, apart = _pool_moments(xp, self.count, self.target_mean)
        return ErrorSums(
            count=self.count.sum(axis=0),
            absolute=self.absolute.sum(axis=0),
            squared=self.squared.sum(axis=0),
            difference=self.difference.sum(axis=0),
            target_mean=target_mean,
            target_square=(self.target_square + self.count * apart**2).sum(axis=0),
        )

    def finalize(self) -> dict[str, np.ndarray]:
        """`mae`, `mse`, `bias` (mean of p - t) and `r2` = 1 - SS_residual / SS_total, each (K,)."""
        host = self.to_host()
        constant = _is_constant(host.count, host.target_mean, host.target_square) | (host.count < 2)
        return {
            "mae": divide(host.absolute, host.count),
            "mse": divide(host.squared, host.count),
            "bias": divide(host.difference, host.count),
            "r2": np.where(constant, np.nan, 1.0 - divide(host.squared, host.target_square)),
        }

    def reasons(self) -> dict[str, list[str]]:
        """Why a value is NaN."""
        host = self.to_host()
        constant = _is_constant(host.count, host.target_mean, host.target_square)
        infinite = (~np.isfinite(host.squared), "a value is not finite")
        plain = first_reason([(host.count == 0, "no value"), infinite])
        r2 = [(host.count < 2, "fewer than two values"), infinite, (constant, "the target is constant")]
        return {"mae": plain, "mse": plain, "bias": plain, "r2": first_reason(r2)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClassificationSums(Metric):
    """Confusion counts of prediction > threshold against target > label_threshold, and the two means.

    With `label_inclusive` a target equal to `label_threshold` is positive (>=); the published convention is exclusive.
    """

    count: Array  # (K,)
    positive: Array  # (K,) values with a positive label
    called: Array  # (K,) values predicted positive
    both: Array  # (K,) positive and called
    prediction_sum: Array  # (K,)
    target_sum: Array  # (K,)
    threshold: float = static(0.5)
    label_threshold: float = static(0.5)
    label_inclusive: bool = static(False)

    @classmethod
    def zero(cls, tracks: int, **options: float | bool) -> Self:
        """The metric of no values; `options` are the static fields."""
        return cls(*(np.zeros(tracks, np.int64) for _ in range(4)), np.zeros(tracks), np.zeros(tracks), **options)

    @classmethod
    def from_values(
        cls,
        prediction: Array,
        target: Array,
        mask: Array | None = None,
        threshold: float = 0.5,
        label_threshold: float = 0.5,
        label_inclusive: bool = False,
    ) -> Self:
        """From prediction, target, mask (..., K)."""
        _, prediction, target, keep = prepare_values(prediction, target, mask)
        positive = (target >= label_threshold if label_inclusive else target > label_threshold) & keep
        called = (prediction > threshold) & keep
        return cls(
            count=sum_tracks(keep),
            positive=sum_tracks(positive),
            called=sum_tracks(called),
            both=sum_tracks(positive & called),
            prediction_sum=sum_tracks(prediction),
            target_sum=sum_tracks(target),
            threshold=threshold,
            label_threshold=label_threshold,
            label_inclusive=label_inclusive,
        )

    def finalize(self) -> dict[str, np.ndarray]:
        """`accuracy`, `tpr`, `tnr`, `precision`, `f1`, `mcc`, `mean_prediction`, `mean_target`, each (K,)."""
        host = self.to_host()
        n, positive, called, both = (x.astype(np.float64) for x in (host.count, host.positive, host.called, host.both))
        neither = n - positive - called + both
        spread = np.sqrt(positive) * np.sqrt(called) * np.sqrt(n - positive) * np.sqrt(n - called)
        values = {
            "accuracy": divide(both + neither, n),
            "tpr": divide(both, positive),
            "tnr": divide(neither, n - positive),
            "precision": divide(both, called),
            "f1": divide(2 * both, positive + called),
            "mcc": divide(both * neither - (positive - both) * (called - both), spread),
            "mean_prediction": divide(host.prediction_sum, n),
            "mean_target": divide(host.target_sum, n),
        }
        finite = np.isfinite(host.prediction_sum + host.target_sum)
        return {name: np.where(finite, value, np.nan) for name, value in values.items()}

    def reasons(self) -> dict[str, list[str]]:
        """Why a value is NaN."""
        host = self.to_host()
        no_positive, no_negative = host.positive == 0, host.positive == host.count
        no_call = host.called == 0
        conditions = {
            "accuracy": [],
            "tpr": [(no_positive, "no positive label")],
            "tnr": [(no_negative, "no negative label")],
            "precision": [(no_call, "nothing is predicted positive")],
            "f1": [(no_positive & no_call, "no positive label and nothing predicted positive")],
            "mcc": [
                (no_positive | no_negative, "only one class"),
                (no_call | (host.called == host.count), "only one class predicted"),
            ],
            "mean_prediction": [],
            "mean_target": [],
        }
        infinite = ~np.isfinite(host.prediction_sum + host.target_sum)
        first = [(host.count == 0, "no value"), (infinite, "a value is not finite")]
        return {name: first_reason(first + own) for name, own in conditions.items()}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MeanSums(Metric):
    """Mean of any value, such as a loss, over all unmasked places of a track."""

    count: Array  # (K,)
    total: Array  # (K,)
    name: str = static("mean")

    @classmethod
    def zero(cls, tracks: int, name: str = "mean") -> Self:
        """The metric of no values."""
        return cls(np.zeros(tracks, np.int64), np.zeros(tracks), name)

    @classmethod
    def from_values(cls, values: Array, mask: Array | None = None, name: str = "mean") -> Self:
        """From values and mask (..., K); `name` is what `finalize` calls the mean."""
        _, values, _, keep = prepare_values(values, values, mask)
        return cls(sum_tracks(keep), sum_tracks(values), name)

    def finalize(self) -> dict[str, np.ndarray]:
        """The mean (K,), NaN where there is no value."""
        host = self.to_host()
        return {self.name: divide(host.total, host.count)}

    def reasons(self) -> dict[str, list[str]]:
        """Why the mean is NaN."""
        host = self.to_host()
        return {
            self.name: first_reason(
                [(host.count == 0, "no value"), (~np.isfinite(host.total), "a value is not finite")]
            )
        }
