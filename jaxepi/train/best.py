"""Keep-best by one or several named validation metrics, and early stopping by the first or by all of them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxepi.metrics.sense import sense
from jaxepi.storage.checkpoint import Checkpoints


@dataclasses.dataclass
class _Record:
    """The best evaluation so far by one metric."""

    sign: int  # 1: higher is better, -1: lower is
    value: float | None = None
    step: int | None = None


class Best:
    """The best evaluation so far by each metric and its checkpoint: best/ of the first, best_<metric>/ of the others.

    A tie keeps the earlier step. A value that is not a number is never the best.
    """

    def __init__(
        self, workdir: Path, metrics: Sequence[str], patience: int | None = None, watch: str = "first", start: int = 0
    ):
        """Opens the folders.

        Args:
          workdir: of the run.
          metrics: names of validation metrics.
          patience: so many evaluations in a row without a new best end the run; None: never.
          watch: whose new best counts for that, that of the "first" metric or of "any".
          start: the step before which patience does not end the run.

        Raises:
          JaxepiError: a metric of which it is not known whether high or low values are better.
        """
        self.metrics, self._patience, self._since = tuple(metrics), patience, 0
        self._watch, self._start = watch, start
        self._records = {name: _Record(1 if sense(name) == "max" else -1) for name in metrics}
        folders = {name: workdir / (f"best_{name}" if number else "best") for number, name in enumerate(self.metrics)}
        self._checkpoints = {name: Checkpoints(folder, keep=1, owner=True) for name, folder in folders.items()}

    @property
    def metric(self) -> str:
        """The first metric."""
        return self.metrics[0]

    @property
    def step(self) -> int | None:
        """Where the first metric was best."""
        return self._records[self.metric].step

    def update(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Takes the values of an evaluation; the metrics by which it is the best so far."""
        better = []
        for name, record in self._records.items():
            value = values[name]
            if math.isfinite(value) and (record.value is None or record.sign * value > record.sign * record.value):
                record.value, record.step = value, step
                better.append(name)
        self._since = 0 if (better if self._watch == "any" else self.metric in better) else self._since + 1
        return better

    def out_of_patience(self, step: int) -> bool:
        """True once `patience` evaluations in a row brought no new best, and `step` is late enough."""
        return self._patience is not None and self._since >= self._patience and step >= self._start

    def save(self, metrics: Sequence[str], step: int, state: Any, meta: dict[str, Any]) -> None:
        """Saves the state of a step that is the best by `metrics`; the former best goes once it is complete."""
        for name in metrics:
            self._checkpoints[name].remove_after(step)
            self._checkpoints[name].save(step, state, meta)

    def wait(self) -> None:
        """Waits until what was saved is complete, so that a checkpoint may name it."""
        for checkpoints in self._checkpoints.values():
            checkpoints.wait()

    def to_json(self) -> dict[str, Any]:
        """Metric, value and step of the first, evaluations since then, and `others`: metric -> value and step."""
        found = {name: {"value": record.value, "step": record.step} for name, record in self._records.items()}
        first = found.pop(self.metric)
        return {"metric": self.metric, **first, "since": self._since, "others": found}

    def from_json(self, saved: Mapping[str, Any]) -> None:
        """Goes on from what a checkpoint knew; a best that was saved after it will be met again by the same steps."""
        known = {**saved.get("others", {}), saved["metric"]: saved}
        for name, record in self._records.items():
            if name in known:
                record.value, record.step = known[name]["value"], known[name]["step"]
        if saved["metric"] == self.metric:
            self._since = saved["since"]

    def close(self) -> None:
        """Waits until everything is on disk."""
        for checkpoints in self._checkpoints.values():
            checkpoints.close()
