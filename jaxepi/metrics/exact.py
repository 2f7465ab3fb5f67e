"""Exact metrics on the host, in float64: rank-based values that need all predictions at once.

All take one-dimensional arrays and return NaN where the value is undefined (too few values, one class, no spread).
"""

import numpy as np
from scipy import stats


def pearson(prediction: np.ndarray, target: np.ndarray) -> float:
    """Pearson correlation of two arrays (N,)."""
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    if len(prediction) < 2 or np.ptp(prediction) == 0 or np.ptp(target) == 0:
        return float("nan")
    prediction, target = prediction - prediction.mean(), target - target.mean()
    return float(prediction @ target / (np.sqrt(prediction @ prediction) * np.sqrt(target @ target)))


def spearman(prediction: np.ndarray, target: np.ndarray) -> float:
    """Spearman correlation of two arrays (N,): Pearson of the ranks, ties share their mean rank."""
    return pearson(stats.rankdata(prediction), stats.rankdata(target)) if len(prediction) else float("nan")


def kendall(prediction: np.ndarray, target: np.ndarray) -> float:
    """Kendall's tau-b of two arrays (N,): concordant minus discordant pairs, over the untied pairs of both."""
    return float(stats.kendalltau(prediction, target).statistic) if len(prediction) > 1 else float("nan")


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve of scores (N,) for boolean labels (N,), ties count half."""
    label = np.asarray(label, bool)
    positive = int(label.sum())
    negative = len(label) - positive
    if not positive or not negative:
        return float("nan")
    ranks = stats.rankdata(score)[label].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def roc_curve(score: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (points,) from (0, 0) to (1, 1), a point for each distinct score (N,).

    Points within a straight line are left out, so that the curve of millions of scores stays small where it can. NaN
    where there is one class only.
    """
    score, label = np.asarray(score), np.asarray(label, bool)
    positive, negative = int(label.sum()), int((~label).sum())
    if not positive or not negative:
        return np.full(2, np.nan), np.full(2, np.nan)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.append(0, np.cumsum(label[order])[last])
    false = np.append(0, last + 1) - true
    turns = np.diff(false[:-1]) * np.diff(true[1:]) != np.diff(true[:-1]) * np.diff(false[1:])
    kept = np.concatenate([[True], turns, [True]])
    return false[kept] / negative, true[kept] / positive


def average_precision(score: np.ndarray, label: np.ndarray) -> float:
    """Average precision (step-wise: sum of precision times gain in recall, one threshold per distinct score)."""
    score, label = np.asarray(score), np.asarray(label, bool)
    if not label.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(label[order])[last_of_tie]
    precision = true / (last_of_tie + 1)
    return float(np.sum(np.diff(true, prepend=0) * precision) / true[-1])
