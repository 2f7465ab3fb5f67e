"""A bounded, repeatable choice of positions and windows out of a stream of predictions.

What is chosen depends only on the number of the record in its split and the offset in the window (through a hash), not
on batch size, order or number of hosts. Letters: R rows of a batch, S positions of a window, K tracks.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def position_hash(record: np.ndarray, offset: np.ndarray, seed: int = 0) -> np.ndarray:
    """A well-mixed uint64 for each (record, offset), broadcast together (the splitmix64 finaliser)."""
    with np.errstate(over="ignore"):
        key = (np.asarray(record, np.uint64) << np.uint64(32)) ^ np.asarray(offset, np.uint64)
        key = (key + np.uint64(seed + 1)) * _GOLDEN_RATIO
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return key ^ (key >> np.uint64(31))


@dataclasses.dataclass(frozen=True)
class Sample:
    """Chosen positions, in the order of their hash: any first n of them are a random choice too."""

    prediction: np.ndarray  # (N, K) float32
    target: np.ndarray  # (N, K) float32, NaN where masked out
    seen: int  # positions (with a value in at least one track) that the choice was made from

    @property
    def complete(self) -> bool:
        """Every position was taken, so that values computed from the sample are exact."""
        return self.seen == len(self.prediction)


class PositionSample:
    """Keeps the `size` positions with the smallest hash; memory is bounded by twice that."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size, self.seed, self.seen = size, seed, 0
        self._limit: np.uint64 | None = None  # hashes above it can no longer be among the smallest
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(
        self, record: np.ndarray, offset: np.ndarray, prediction: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> None:
        """Offers record (R,), offset (R, S) and prediction, target, mask (R, S, K)."""
        valid = mask.any(axis=-1)
        self.seen += int(valid.sum())
        key = position_hash(record[:, None], offset, self.seed)
        at = valid if self._limit is None else valid & (key <= self._limit)
        if not at.any():
            return
        shown = np.where(mask[at], target[at], np.nan)
        self._parts.append((key[at], prediction[at].astype(np.float32), shown.astype(np.float32)))
        if sum(len(part[0]) for part in self._parts) > 2 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        key, *values = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        order = np.argsort(key, kind="stable")[: self.size]
        self._parts = [(key[order], *(value[order] for value in values))]
        if len(order) == self.size:
            self._limit = key[order[-1]]

    def result(self, tracks: int) -> Sample:
        """The sample of all hosts (each calls this), the same on each."""
        if not self._parts:
            empty = np.zeros((0, tracks), np.float32)
            self._parts = [(np.zeros(0, np.uint64), empty, empty)]
        self._shrink()
        self._parts = [tuple(parts) for parts in zip(*map(gather_rows, self._parts[0]), strict=True)]
        self._shrink()
        seen = sum(int(part[0]) for part in gather_rows(np.array([self.seen])))
        _, prediction, target = self._parts[0]
        return Sample(prediction, target, seen)


@dataclasses.dataclass(frozen=True)
class Window:
    """All values of one record, for the browser view."""

    record: int  # number in the split
    offset: np.ndarray  # (S,) positions in the window, ascending
    prediction: np.ndarray  # (S, K) float32
    target: np.ndarray  # (S, K) float32, NaN where masked out
    choice: str  # why it was chosen: "varied" or "random"
    score: float  # standard deviation of the measured values along the window, mean over tracks


class WindowChoice:
    """Chooses `count` windows by their measured values and a hash, never by how well they are predicted.

    Half of them vary most along the window, half are a random choice; all have at least `minimum` positions.
    """

    def __init__(self, count: int = 4, minimum: int = 10, seed: int = 0) -> None:
        self.count, self.minimum, self.seed = count, minimum, seed
        self._kept: dict[int, tuple[Window, int]] = {}

    def add(
        self, record: np.ndarray, offset: np.ndarray, prediction: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> None:
        """Offers record (R,), offset (R, S) and prediction, target, mask (R, S, K)."""
        if not self.count:
            return
        known = mask.any(axis=-1)
        score = _spread(target, mask)
        key = position_hash(record, np.zeros_like(record), self.seed)
        for row in np.flatnonzero(known.sum(axis=-1) >= self.minimum):
            if not self._is_wanted(score[row], int(key[row])):
                continue
            at = np.flatnonzero(known[row])
            at = at[np.argsort(offset[row, at], kind="stable")]
            shown = np.where(mask[row, at], target[row, at], np.nan).astype(np.float32)
            values = (offset[row, at].copy(), prediction[row, at].astype(np.float32), shown)
            self._kept[int(record[row])] = (Window(int(record[row]), *values, "", float(score[row])), int(key[row]))
            self._shrink()

    def _ranked(self) -> tuple[list[int], list[int]]:
        varied = sorted(self._kept, key=lambda r: (-self._kept[r][0].score, self._kept[r][1]))
        return varied[: self.count], sorted(self._kept, key=lambda r: self._kept[r][1])[: self.count]

    def _is_wanted(self, score: float, key: int) -> bool:
        if len(self._kept) < self.count:
            return True
        varied, drawn = self._ranked()
        return score >= self._kept[varied[-1]][0].score or key <= self._kept[drawn[-1]][1]

    def _shrink(self) -> None:
        varied, drawn = self._ranked()
        self._kept = {record: self._kept[record] for record in {*varied, *drawn}}

    def result(self) -> list[Window]:
        """The windows of all hosts (each calls this), ordered by record."""
        if jax.process_count() > 1:
            self._gather()
        varied, drawn = self._ranked()
        varied = varied[: (self.count + 1) // 2]
        drawn = [record for record in drawn if record not in varied][: self.count - len(varied)]
        reason = dict.fromkeys(varied, "varied") | dict.fromkeys(drawn, "random")
        return [dataclasses.replace(self._kept[r][0], choice=reason[r]) for r in sorted(reason)]

    def _gather(self) -> None:
        windows = [self._kept[record][0] for record in sorted(self._kept)]
        tracks = max((w.prediction.shape[1] for w in windows), default=0)
        tracks = max(int(part[0]) for part in gather_rows(np.array([tracks])))
        record = np.concatenate([*(np.full(len(w.offset), w.record) for w in windows), np.zeros(0, np.int64)])
        score = np.concatenate([*(np.full(len(w.offset), w.score) for w in windows), np.zeros(0)])
        offset = np.concatenate([*(w.offset for w in windows), np.zeros(0, np.int64)]).astype(np.int64)
        empty = np.zeros((0, tracks), np.float32)
        prediction = np.concatenate([*(w.prediction for w in windows), empty])
        target = np.concatenate([*(w.target for w in windows), empty])
        arrays = (record, score, offset, prediction, target)
        record, score, offset, prediction, target = (np.concatenate(gather_rows(array)) for array in arrays)
        for number in np.unique(record):
            at = record == number
            window = Window(int(number), offset[at], prediction[at], target[at], "", float(score[at][0]))
            self._kept[int(number)] = (window, int(position_hash(number, 0, self.seed)))


def _spread(target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Standard deviation along S of target (R, S, K) where masked in, mean over tracks: (R,)."""
    count = np.maximum(mask.sum(axis=1), 1)
    value = np.where(mask, target, 0.0).astype(np.float64)
    mean = value.sum(axis=1) / count
    square = (np.where(mask, value - mean[:, None], 0.0) ** 2).sum(axis=1) / count
    return np.sqrt(square).mean(axis=-1)


def gather_rows(array: np.ndarray) -> Sequence[np.ndarray]:
    """The array (N, ...) of every process, N may differ; every process must call it. Alone: its own array."""
    if jax.process_count() == 1:
        return [array]
    from jax.experimental import multihost_utils

    # Sent as bytes, so that jax neither narrows 64-bit values nor needs equal lengths of the others' types.
    raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    lengths = np.asarray(multihost_utils.process_allgather(np.array([len(raw)], np.int32))).ravel()
    padded = np.zeros(max(int(lengths.max()), 1), np.uint8)
    padded[: len(raw)] = raw
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [
        np.frombuffer(row[:length].tobytes(), array.dtype).reshape(-1, *array.shape[1:])
        for row, length in zip(rows, lengths, strict=True)
    ]
