"""A small synthetic split that every evaluation test shares."""

import dataclasses

import numpy as np
import pytest

from jaxepi.evaluate.evaluator import evaluate
from jaxepi.metrics import standard as metrics


class StandardTask:
    """A task that only summarises, as the evaluator needs."""

    def summarize(self, sums):
        return metrics.summarize(sums)


@dataclasses.dataclass
class SyntheticSplit:
    """Windows with predictions that follow smooth measured tracks; values are made per record, not per batch."""

    tracks: int
    records: int = 13
    sites: int = 60
    length: int = 10_000

    def record(self, number):
        rng = np.random.default_rng(number)
        offset = np.sort(rng.choice(self.length, self.sites, replace=False))
        island = np.exp(-(((offset - rng.integers(2000, 8000)) / 900.0) ** 2))
        level = 0.85 - 0.75 * island[:, None] * rng.uniform(0.5, 1.1, self.tracks)
        target = np.clip(level + rng.normal(0, 0.1, level.shape), 0, 1)
        prediction = np.clip(
            level + rng.normal(0, 0.08 + 0.1 * np.arange(self.tracks) / self.tracks, level.shape), 0, 1
        )
        mask = rng.random(level.shape) < 0.9
        mask[self.sites - number % 7 :] = False
        return {"offset": offset, "prediction": prediction, "target": target, "mask": mask}

    def batches(self, size):
        for first in range(0, self.records, size):
            rows = [self.record(number) for number in range(first, min(first + size, self.records))]
            batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            padding = size - len(rows)
            batch = {n: np.concatenate([a, np.zeros((padding, *a.shape[1:]), a.dtype)]) for n, a in batch.items()}
            batch["row_mask"] = np.array([1.0] * len(rows) + [0.0] * padding, np.float32)
            yield {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in batch.items()}

    @property
    def names(self):
        return [f"Track-{number}" for number in range(self.tracks)]


def predict_step(batch):
    predictions = {name: batch[name] for name in ("prediction", "target", "mask", "offset")}
    return metrics.standard_metrics(*(batch[name] for name in ("prediction", "target", "mask"))), predictions


@pytest.fixture
def split():
    return SyntheticSplit(3)


@pytest.fixture
def run():
    """(split, batch size, **evaluate's arguments) -> EvalResult."""

    def evaluate_synthetic(split, batch_size=4, step=predict_step, names=None, **more):
        quiet = {"progress": lambda text: None, "locate": lambda record: ("chr20", 10_000 * record)}
        return evaluate(step, split.batches(batch_size), StandardTask(), names or split.names, "test", **(quiet | more))

    return evaluate_synthetic
