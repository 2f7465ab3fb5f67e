"""Metrics as the original programs compute them (parity): float32 sums, thresholds, peaks, and their edge cases.

The project's own, exact ones are `jaxepi.metrics`: `PearsonSums` holds centred moments, `ErrorSums` gives R2.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from jaxepi.metrics import exact

THRESHOLDS = 200  # of `SeqAUC`
PEAK_STEP = 8  # every so manieth bin is asked whether it is a peak
PEAK_Q = 0.01  # bins below this are
_CONSTANT = 1e-12  # a prediction's sum of squares up to this counts as none
_OUTSIDE = 1e-7  # by which the outermost thresholds lie outside of [0, 1]


class TrackSums:
    """Sums of truth x and prediction y per track, in float32 over all batches, as the original's metrics keep them.

    Raw sums lose digits to cancellation on large data. Constant truth gives infinite or undefined values, which poison
    the mean over tracks, and a constant prediction a correlation of 0.
    """

    def __init__(self, tracks: int):
        zero = np.zeros(tracks, np.float32)
        self.count, self.xy, self.x, self.xx, self.y, self.yy = (zero.copy() for _ in range(6))

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Adds a batch, (B, P, K) or (B, K) each."""
        x, y = (np.asarray(value, np.float32) for value in (truth, prediction))
        axes = tuple(range(x.ndim - 1))
        self.count += np.float32(x[..., 0].size)
        for total, values in ((self.xy, x * y), (self.x, x), (self.xx, x * x), (self.y, y), (self.yy, y * y)):
            total += values.sum(axis=axes, dtype=np.float32)

    def pearson(self) -> np.ndarray:
        """Correlation over all places of all batches (K,) float32."""
        with np.errstate(all="ignore"):
            mean_x, mean_y = self.x / self.count, self.y / self.count
            covariance = self.xy - mean_x * self.y - mean_y * self.x + self.count * mean_x * mean_y
            square_x = self.xx - self.count * mean_x**2
            square_y = self.yy - self.count * mean_y**2
            square_y = np.where(square_y > _CONSTANT, square_y, np.float32(np.inf))
            return covariance / (np.sqrt(square_x) * np.sqrt(square_y))

    def r2(self) -> np.ndarray:
        """1 - residual sum of squares / that of the truth about its mean (K,) float32."""
        with np.errstate(all="ignore"):
            residual = self.yy - 2 * self.xy + self.xx
            return 1 - residual / (self.xx - self.count * (self.x / self.count) ** 2)


class ThresholdCounts:
    """Counts above 200 thresholds per track: AUC of the ROC and precision-recall curves as Keras has them."""

    def __init__(self, tracks: int):
        inner = np.arange(1, THRESHOLDS - 1) / (THRESHOLDS - 1)
        self._thresholds = np.array([-_OUTSIDE, *inner, 1 + _OUTSIDE], np.float32)
        self._true, self._false = (np.zeros((THRESHOLDS, tracks)) for _ in range(2))
        self._positive, self._negative = np.zeros(tracks), np.zeros(tracks)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Adds a batch (B, P, K); a truth other than 0 is positive."""
        tracks = truth.shape[-1]
        label, score = truth.reshape(-1, tracks) != 0, np.asarray(prediction, np.float32).reshape(-1, tracks)
        self._positive += label.sum(axis=0)
        self._negative += (~label).sum(axis=0)
        for number, threshold in enumerate(self._thresholds):
            above = score > threshold
            self._true[number] += (above & label).sum(axis=0)
            self._false[number] += (above & ~label).sum(axis=0)

    def roc(self) -> np.ndarray:
        """Area under the ROC curve (K,): trapezoids on the grid of thresholds; 0 where a class is missing."""
        recall, fall_out = _ratio(self._true, self._positive), _ratio(self._false, self._negative)
        return ((fall_out[:-1] - fall_out[1:]) * (recall[:-1] + recall[1:]) / 2).sum(axis=0)

    def precision_recall(self) -> np.ndarray:
        """Area under the precision-recall curve (K,), true positives interpolated linearly between thresholds."""
        called = self._true + self._false
        more_true, more_called = self._true[:-1] - self._true[1:], called[:-1] - called[1:]
        slope = _ratio(more_true, more_called)
        intercept = self._true[1:] - slope * called[1:]
        both = (called[:-1] > 0) & (called[1:] > 0)
        growth = np.where(both, _ratio(called[:-1], called[1:]), 1.0)
        return _ratio(slope * (more_true + intercept * np.log(growth)), self._positive).sum(axis=0)


def peak_scores(
    truth: np.ndarray, prediction: np.ndarray, adjustment: str = "original"
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and AUPRC (K,) of finding the peaks of every eighth bin; 0.5 and 0 for tracks without one.

    Args:
      truth: (N, P, K), all records of a split.
      prediction: the same.
      adjustment: of the p-values, see `q_values`.
    """
    areas = []
    for track in range(truth.shape[-1]):
        measured = truth[:, ::PEAK_STEP, track].ravel().astype(np.float64)
        score = prediction[:, ::PEAK_STEP, track].ravel()
        chance = 1 - stats.poisson.cdf(np.round(measured) - 1, mu=measured.mean())
        peak = q_values(chance, adjustment) < PEAK_Q
        areas.append((exact.auc(score, peak), exact.average_precision(score, peak)) if peak.any() else (0.5, 0.0))
    auroc, auprc = np.array(areas).T
    return auroc, auprc


def q_values(p: Sequence[float] | np.ndarray, adjustment: str = "original") -> np.ndarray:
    """Benjamini and Hochberg's q-values of p-values (N,).

    Args:
      p: any order.
      adjustment: "original": p * N // rank, an integer division, so that q < 0.01 means p * N / rank < 1 (parity);
        "exact": p * N / rank, never above that of a larger p.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, len(p) + 1)
    if adjustment == "original":
        ordered = p[order] * len(p) // rank
    elif adjustment == "exact":
        ordered = np.minimum.accumulate((p[order] * len(p) / rank)[::-1])[::-1]
    else:
        raise ValueError(f"adjustment={adjustment!r}, expected 'original' or 'exact'")
    found = np.empty_like(p)
    found[order] = ordered
    return found


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, 0 where the denominator is."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
