"""What regression on the composition of bins reaches: ridge and gradient boosting, fitted on training records.

Features of a bin, at several scales around it: shares of CpG and of G and C with the ratio of CpGs seen to those
expected, and counts of words of three or four letters, which tell the strands apart.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SCALES = (1, 3, 9, 33, 129, 513)  # bins around the middle one, that one in, for composition
WORD_SCALES = (1, 9, 33)  # for words
RIDGE = (1e1, 1e2, 1e3, 1e4, 1e5)  # penalties, of which the validation records choose for each track
SEEN = 4  # records of `rows` at once


def composition(codes: np.ndarray, width: int) -> np.ndarray:
    """Counts in each bin of width bp (T, 3): CpG, C and G of codes (L,)."""
    c, g = codes == 1, codes == 2
    marks = np.stack([c & np.append(g[1:], False), c, g], axis=1)
    return marks.reshape(-1, width, 3).sum(axis=1, dtype=np.float32)


def words(codes: np.ndarray, width: int, length: int) -> np.ndarray:
    """Counts of words that start in each bin (T, 4^length); those with an N do not count."""
    number, known = np.zeros(len(codes), np.int64), np.ones(len(codes), bool)
    for place in range(length):
        letter = np.append(codes[place:], np.full(place, 4))
        number, known = 4 * number + np.minimum(letter, 3), known & (letter < 4)
    bins, kinds = len(codes) // width, 4**length
    cell = np.arange(len(codes)) // width * kinds + number
    return np.bincount(cell[known], minlength=bins * kinds).reshape(bins, kinds).astype(np.float32)


def around(counts: np.ndarray, scale: int) -> np.ndarray:
    """Mean of counts (T, F) over `scale` bins around each, as many as there are at the ends."""
    total = np.concatenate([np.zeros((1, counts.shape[1]), np.float64), np.cumsum(counts, axis=0, dtype=np.float64)])
    place, half = np.arange(len(counts)), scale // 2
    low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, len(counts))
    return ((total[high] - total[low]) / (high - low)[:, None]).astype(np.float32)


def features(record: Any, manifest: Any, length: int) -> np.ndarray:
    """Features of the bins of a record that have targets (T, F); the crop at both ends serves as context."""
    width, crop = manifest["bin_width"], manifest["crop"] // manifest["bin_width"]
    counts, columns = composition(record["sequence"], width), []
    for scale in SCALES:
        mean = around(counts, scale) / width
        cpg, c, g = mean.T
        ratio = cpg / np.maximum(c * g, 1e-3)
        columns.append(np.stack([cpg, np.sqrt(cpg), c, g, c + g, (c + g) ** 2, ratio], axis=1))
    counts = words(record["sequence"], width, length)
    columns += [around(counts, scale) for scale in WORD_SCALES]
    return np.concatenate(columns, axis=1)[crop : crop + manifest["bins"]]


def rows(split: Any, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features and targets of a few records at a time."""
    for first in range(0, len(split), SEEN):
        records = [split[number] for number in range(first, min(first + SEEN, len(split)))]
        made = [features(record, split.manifest, length) for record in records]
        yield np.concatenate(made), np.concatenate([record["target"] for record in records]).astype(np.float32)


def pearson(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Correlation of each track (K,) over all bins of (N, K), NaN where either is constant."""
    p, t = (value.astype(np.float64) - value.mean(axis=0, dtype=np.float64) for value in (prediction, target))
    scale = np.sqrt((p**2).sum(axis=0) * (t**2).sum(axis=0))
    return np.divide((p * t).sum(axis=0), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def targets_of(split: Any) -> np.ndarray:
    """Targets of all bins of a split (N, K)."""
    return np.concatenate([split[number]["target"] for number in range(len(split))]).astype(np.float32)


def ridge(dataset: Any) -> np.ndarray:
    """Pearson of each track on the test records, see `ridge_values`."""
    return pearson(ridge_values(dataset), targets_of(dataset.split("test")))


def ridge_values(dataset: Any) -> np.ndarray:
    """Predictions of the test records (N, K): words of four letters, penalties by the validation records."""
    square = product = mean_x = mean_y = 0.0
    count = 0
    for x, y in rows(dataset.split("train"), 4):
        count += len(x)
        square, product = square + x.T @ x.astype(np.float64), product + x.T @ y.astype(np.float64)
        mean_x, mean_y = mean_x + x.sum(axis=0, dtype=np.float64), mean_y + y.sum(axis=0, dtype=np.float64)
    mean_x, mean_y = mean_x / count, mean_y / count
    square = square - count * np.outer(mean_x, mean_x)
    product = product - count * np.outer(mean_x, mean_y)
    scale = np.sqrt(np.diag(square) / count) + 1e-9
    square, product = square / np.outer(scale, scale), product / scale[:, None]
    fits = [np.linalg.solve(square + penalty * np.eye(len(square)), product) / scale[:, None] for penalty in RIDGE]
    x, y = (np.concatenate(part) for part in zip(*rows(dataset.split("valid"), 4), strict=True))
    best = np.nan_to_num(np.stack([pearson(x @ fit, y) for fit in fits]), nan=-1.0).argmax(axis=0)
    fit = np.stack([fits[number][:, track] for track, number in enumerate(best)], axis=1)
    return np.concatenate([x @ fit for x, _ in rows(dataset.split("test"), 4)])


def boosting(dataset: Any, tracks: Sequence[int], trees: int, seed: int = 0) -> np.ndarray:
    """Pearson of these tracks on the test records, see `boosting_values`."""
    truth = targets_of(dataset.split("test"))[:, list(tracks)]
    return pearson(boosting_values(dataset, tracks, trees, seed), truth)


def boosting_values(dataset: Any, tracks: Sequence[int], trees: int, seed: int = 0) -> np.ndarray:
    """Predictions of these tracks of the test records (N, K): gradient boosting, words of three letters."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = (np.concatenate(part) for part in zip(*rows(dataset.split("train"), 3), strict=True))
    test_x = np.concatenate([x for x, _ in rows(dataset.split("test"), 3)])
    found = []
    for track in tracks:
        model = HistGradientBoostingRegressor(
            max_iter=trees, learning_rate=0.08, min_samples_leaf=100, l2_regularization=10.0, max_features=0.3,
            random_state=seed, early_stopping=False,
        )  # fmt: skip
        found.append(model.fit(x, y[:, track]).predict(test_x))
    return np.stack(found, axis=1)
