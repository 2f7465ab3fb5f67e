"""Metrics as the original programs compute them (parity), on the host.

The project's own are `jaxepi.metrics`, whose sums merge over batches and hosts without loss of digits.
"""

from collections.abc import Iterable

import numpy as np

from jaxepi.metrics import exact


def flattened(values: np.ndarray) -> np.ndarray:
    """log2(1 + y) of values (B, T, K) as one row for each track: (K, B*T)."""
    return np.log2(1 + values).transpose(2, 0, 1).reshape(values.shape[2], -1)


def pearson_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation of each row of x and y (K, N): (K,); NaN for a constant row."""
    x, y = (value - value.mean(axis=1, keepdims=True) for value in (x, y))
    with np.errstate(all="ignore"):
        count = x.shape[1] - 1
        return (x * y).sum(axis=1) / count / (x.std(axis=1, ddof=1) * y.std(axis=1, ddof=1))


def pearson_of_epoch(predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray]) -> float:
    """The reported correlation: of each track over all bins of all batches (B, T, K), then the mean over tracks.

    A track that is constant makes it NaN.
    """
    p, t = (
        np.concatenate([flattened(np.asarray(batch)) for batch in batches], 1) for batches in (predictions, targets)
    )
    return float(pearson_rows(t, p).mean())


def pearson_of_batches(
    predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray], of: str = "tracks", undefined: str = "out"
) -> float:
    """The mean over batches (B, T, K) of each one's mean correlation, as scripts of its backup folder have it.

    Args:
      predictions: a batch each.
      targets: the same.
      of: "tracks": one for each track over all bins of the batch; "windows": one for each track of each window.
      undefined: a batch with a correlation that is NaN is left "out", or each such correlation counts as "zero".
    """
    found = []
    for prediction, target in zip(predictions, targets, strict=True):
        x, y = flattened(np.asarray(target)), flattened(np.asarray(prediction))
        if of == "windows":
            x, y = (value.reshape(-1, prediction.shape[1]) for value in (x, y))
        each = pearson_rows(x, y)
        found.append((np.nan_to_num(each) if undefined == "zero" else each).mean())
    kept = np.array(found)[~np.isnan(found)]
    return float(kept.mean()) if kept.size else float("nan")


def areas(score: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Areas under the ROC and the precision-recall curve of scores (N,), both by trapezoids.

    The trapezoid of a precision-recall curve is not the average precision; it begins at recall 0 with precision 1.
    """
    score, label = np.ravel(score), np.ravel(label) > 0
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(label[order])[last]
    precision, recall = np.append(1.0, true / (last + 1)), np.append(0.0, true / max(label.sum(), 1))
    return exact.auc(score, label), float(np.trapezoid(precision, recall)) if label.any() else float("nan")
