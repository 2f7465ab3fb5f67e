"""Statistics of methylation over cells: how a site, or the window around it, differs between them.

Values are (S, N): S sites, N cells, NaN = not observed. Statistics are (S,) float32, NaN = too few cells.
"""

from collections.abc import Sequence

import numpy as np

STATISTICS = ("mean", "mode", "var", "cat_var", "cat2_var", "entropy", "diff", "cov")
CLASSES = {"mode": 2, "cat_var": 3, "cat2_var": 2, "diff": 2}  # the others are continuous
MAXIMUM_MODES = ("exact", "truncated")
_EPSILON = 1e-7
_LARGEST_VARIANCE = 0.25
_VARIANCE_EDGES = np.linspace(-_EPSILON, _LARGEST_VARIANCE, 4)[1:-1]  # between the three classes


def over_cells(values: np.ndarray, names: Sequence[str], least: int = 1, maximum: str = "exact") -> np.ndarray:
    """Statistics (S, Q) float32 of values (S, N).

    Args:
        values: methylation, 0 to 1; NaN = not observed.
        names: Q of STATISTICS.
        least: sites with fewer observed cells get NaN; with 0 those without any, see `maximum`.
        maximum: `truncated` cuts the largest value to a whole number before `diff` compares it with the smallest one,
            as the original does; with `least` 0, `diff` is 1 where no cell was observed, as in the original's windows.
    """
    values = values.astype(np.float64)
    seen = ~np.isnan(values)
    count = seen.sum(axis=1)
    divisor = np.maximum(count, 1)
    known = np.where(seen, values, 0.0)
    mean = known.sum(axis=1) / divisor
    variance = (np.where(seen, values - mean[:, None], 0.0) ** 2).sum(axis=1) / divisor
    made = np.empty((len(values), len(names)), np.float32)
    for i, name in enumerate(names):
        made[:, i] = _statistic(name, values, seen, count, mean, variance, maximum)
    for i, name in enumerate(names):
        kept_empty = name == "diff" and maximum == "truncated" and least == 0
        made[count < (0 if kept_empty else max(least, 1)), i] = np.nan
    return made


def _statistic(
    name: str,
    values: np.ndarray,
    seen: np.ndarray,
    count: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    maximum: str,
) -> np.ndarray:
    if name == "mean":
        return mean
    if name == "mode":
        return np.rint(mean)  # half to even
    if name == "var":
        return variance
    if name == "cat_var":
        return np.digitize(variance, _VARIANCE_EDGES, right=True)
    if name == "cat2_var":
        return variance > _VARIANCE_EDGES[0]
    if name == "entropy":
        p = np.clip(mean, _EPSILON, 1 - _EPSILON)
        return -(p * np.log(p) + (1 - p) * np.log(1 - p))
    if name == "diff":
        most = np.where(seen, values, -np.inf).max(axis=1, initial=-np.inf)
        least = np.where(seen, values, np.inf).min(axis=1, initial=np.inf)
        return least != (np.trunc(most) if maximum == "truncated" else most)
    return count


def window_means(positions: np.ndarray, sums: np.ndarray, sites: np.ndarray, window: int) -> np.ndarray:
    """Mean methylation (S,) of a cell in windows centred on sites (S,), over all sites it was observed at.

    Args:
        positions: its sites (M,), ascending.
        sums: its values summed up, (M + 1,), beginning with 0.
        sites: centres.
        window: bp; sites up to window // 2 away count.
    """
    low = np.searchsorted(positions, sites - window // 2, "left")
    high = np.searchsorted(positions, sites + window // 2, "right")
    count = high - low
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)


def neighbour_means(state: np.ndarray, distance: np.ndarray, window: int) -> np.ndarray:
    """Mean (...,) over the neighbours (..., W) that are at most window // 2 away; NaN = no neighbour there."""
    with np.errstate(invalid="ignore"):
        near = ~np.isnan(state) & (distance <= window // 2)
    count = near.sum(axis=-1)
    return np.where(count > 0, np.where(near, state, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """How often each class occurs, (3,) int64, in labels (S,) with NaN = none; two classes leave the third at 0."""
    whole = np.rint(labels[~np.isnan(labels)]).astype(np.int64)
    return np.bincount(np.clip(whole, 0, classes - 1), minlength=3)
