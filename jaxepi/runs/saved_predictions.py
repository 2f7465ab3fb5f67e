"""Predictions and targets of an evaluation as files, on the way: those that predict --split writes."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jaxepi.analysis.bins.values import LARGEST, notes_of
from jaxepi.analysis.predict_split import PREDICTIONS, TARGETS, saved_arrays
from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import replacing
from jaxepi.storage.row_store import RowFile
from jaxepi.task import Task


class SavedPredictions:
    """A keeper of `jaxepi.evaluate.evaluator.evaluate` that writes every record of a split."""

    def __init__(self, preds: RowFile, targets: RowFile):
        self._preds, self._targets, self._beyond = preds, targets, 0

    def add(
        self, record: np.ndarray, offset: np.ndarray, prediction: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> None:
        """Record numbers (R,), one after the other, and prediction, target, mask (R, T, K); padding is left out."""
        del offset
        rows = int((record < self._preds.array.shape[0]).sum())
        if not rows:
            return
        shown = np.where(mask[:rows], target[:rows], np.nan)
        for file, values in ((self._preds, prediction[:rows]), (self._targets, shown)):
            self._beyond += int((np.abs(values) > LARGEST).sum())
            file.write(int(record[0]), np.clip(values, -LARGEST, LARGEST).astype(np.float16))

    def notes(self) -> list[str]:
        """Sentences on what did not fit."""
        return notes_of({"beyond": self._beyond})


@contextlib.contextmanager
def saving(folder: Path, task: Task, records: int) -> Iterator[SavedPredictions]:
    """A keeper whose files are in `folder` when the block ends well, and not before.

    Raises:
      JaxepiError: values of a split do not lie in bins, several processes evaluate it, or a file cannot be written.
    """
    if task.grid.at != "bin":
        raise JaxepiError("--save writes the bins of a split, but this run predicts none: leave it out.")
    if jax.process_count() > 1:
        raise JaxepiError("--save writes the files of one process: evaluate on one host, or leave it out.")
    arrays = saved_arrays(records, task, task.tracks)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            paths = {name: stack.enter_context(replacing(folder / name)) for name in arrays}
            files = {name: RowFile(paths[name], array, new=True) for name, array in arrays.items()}
            keeper = SavedPredictions(files[PREDICTIONS], files[TARGETS])
            try:
                yield keeper
            finally:
                for file in files.values():
                    file.close()
    except OSError as problem:
        raise JaxepiError(f"Cannot write into {folder} ({problem.strerror or problem}): make room.") from problem
    for note in keeper.notes():
        print(f"note: {note}", file=sys.stderr)
