"""Keep-best and early stopping by one named validation metric."""

import math
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints


class Best:
    """The best evaluation so far and its checkpoint.

    A tie keeps the earlier step. A value that is not a number is never the best.
    """

    def __init__(self, directory: Path, metric: str, mode: str, patience: int | None = None):
        """`mode` is "max" or "min"; `patience` evaluations in a row without a new best end the run, None for never."""
        if mode not in ("max", "min"):
            raise JaxepiError(f"The sense of the monitored metric is {mode!r}, but must be 'max' or 'min'.")
        self.metric, self._sign, self._patience = metric, 1 if mode == "max" else -1, patience
        self.value: float | None = None
        self.step: int | None = None
        self._since = 0
        self._checkpoints = Checkpoints(directory, keep=1)

    def update(self, step: int, value: float) -> bool:
        """Takes the value of an evaluation; True if it is the best so far."""
        better = math.isfinite(value) and (self.value is None or self._sign * value > self._sign * self.value)
        if better:
            self.value, self.step, self._since = value, step, 0
        else:
            self._since += 1
        return better

    def out_of_patience(self) -> bool:
        """True once `patience` evaluations in a row brought no new best."""
        return self._patience is not None and self._since >= self._patience

    def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
        """Saves the state of the best step; the former best goes once it is complete."""
        self._checkpoints.remove_after(step)
        self._checkpoints.save(step, state, meta)

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "value": self.value, "step": self.step, "since": self._since}

    def from_json(self, saved: dict[str, Any]) -> None:
        """Goes on from what a checkpoint knew; a best that was saved after it will be met again by the same steps."""
        if saved["metric"] == self.metric:
            self.value, self.step, self._since = saved["value"], saved["step"], saved["since"]

    def close(self) -> None:
        self._checkpoints.close()
