"""The correlation that the linear probe was reported with: running sums in float32, over all bins of an epoch (parity).

The sums are divided by their count only at the end, so that with millions of bins they lose digits; for a correct value
use `jaxepi.metrics.sums.PearsonSums`, which evaluation does.
"""

from collections.abc import Iterable

import numpy as np

LEAST_VARIANCE = 1e-12  # of a prediction; at or below it the correlation counts as 0


def running_pearson(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Correlation of each track (K,) float32; its mean over tracks is the reported number.

    Args:
      batches: measured and predicted values, (B, T, K) each.
    """
    single = np.float32
    names = ("count", "true", "true_square", "predicted", "predicted_square", "product")
    sums: dict[str, np.ndarray] = {}
    for measured, predicted in batches:
        true, guess = np.asarray(measured, single), np.asarray(predicted, single)
        terms = (np.ones_like(true), true, true * true, guess, guess * guess, true * guess)
        for name, term in zip(names, terms, strict=True):
            sums[name] = sums.get(name, single(0)) + term.sum(axis=(0, 1), dtype=single)
    count, true, true_square, predicted, predicted_square, product = (sums[name] for name in names)
    mean_true, mean_predicted = true / count, predicted / count
    covariance = product - mean_true * predicted - mean_predicted * true + count * mean_true * mean_predicted
    spread = predicted_square - count * mean_predicted * mean_predicted
    spread = np.where(spread > LEAST_VARIANCE, spread, single(np.inf))
    return covariance / (np.sqrt(true_square - count * mean_true * mean_true) * np.sqrt(spread))
