"""A Chromoformer ready to predict the expression of genes: what `jaxepi.load` gives for its runs and released files.

    predictor = jaxepi.load("runs/clf")  # or a released file
    predictor.predict(open_dataset("data/chromoformer").split("fold1"))  # (B,)

A record holds read depth at the resolution of its dataset, so the task that makes the model's inputs of records is made
for each dataset, by the names of its marks.
"""

import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.parallel.placed import PlacedModel
from jaxepi.systems.chromoformer.model import Chromoformer, check_inputs
from jaxepi.systems.chromoformer.task import ChromoformerObjective, ChromoformerTask, gene_values
from jaxepi.systems.chromoformer.weights import MARKS
from jaxepi.systems.registry import make_task

if TYPE_CHECKING:  # it brings orbax, which a released file does without
    from jaxepi.trained import RestoredModel

Record = Mapping[str, Any]
# (model, task, collated batch) -> any tree of arrays with B rows; traceable
Read = Callable[[Chromoformer, ChromoformerTask, dict[str, jax.Array]], Any]


class Genes(Protocol):
    """Records of genes with the manifest that describes them, such as a split of a dataset."""

    manifest: Mapping[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Record: ...


class GenePredictor(PlacedModel):
    """Jitted, batched prediction of genes.

    Attributes beyond those of `PlacedModel`:
      objective: how records become inputs and logits a prediction; its `marks` are names in the order of the model's
        features, or () for all marks of a dataset.
      config: of the run that the model comes from, None for a released file.
    """

    model: Chromoformer

    def __init__(
        self,
        model: Chromoformer,
        objective: ChromoformerObjective,
        *,
        source: str,
        config: Any = None,
        precision: str | None = None,
    ):
        """Args beyond the attributes: `precision` as in `jaxepi.load`.

        Raises:
          JaxepiError: the model has another number of outputs than the objective's target needs.
        """
        wanted = 2 if objective.target == "label" else 1
        if model.config.outputs != wanted:
            raise JaxepiError(
                f"{source} has {model.config.outputs} output(s), but config.task.target={objective.target} needs "
                f"{wanted}: use configs/chromoformer_{'reg' if wanted == 2 else 'clf'}.py."
            )
        super().__init__(model, source=source, precision=precision)
        self.objective, self.config = objective, config
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._of_inputs = self.compiled(lambda model, inputs: gene_values(model(inputs), objective))

    @classmethod
    def of_run(cls, run: "RestoredModel", source: str, precision: str | None = None) -> "GenePredictor":
        """The model of a run with the run's own objective and marks."""
        objective = dataclasses.replace(run.task.objective, marks=tuple(run.task.marks))
        return cls(run.model, objective, source=source, config=run.config, precision=precision)

    @classmethod
    def of_released(
        cls, model: Chromoformer, source: str, section: Mapping[str, Any] | None = None, precision: str | None = None
    ) -> "GenePredictor":
        """A released model, which reads records as the original does unless `section` (config.task) says otherwise.

        Raises:
          JaxepiError: an unknown field, or a target that the model does not have.
        """
        if section is None:
            target = "label" if model.config.outputs == 2 else "expression"
            section = {"target": target, "centre_tss": False, "orient_pcres": False}
        objective = from_section(ChromoformerObjective, section, "config.task")
        if not objective.marks and model.config.marks == len(MARKS):
            objective = dataclasses.replace(objective, marks=MARKS)
        return cls(model, objective, source=source, precision=precision)

    def task(self, manifest: Mapping[str, Any]) -> ChromoformerTask:
        """What makes inputs of the records of a dataset.

        Raises:
          JaxepiError: the dataset lacks a mark, has another number of them, or its resolution does not fit the model.
        """
        sections = {"model": dataclasses.asdict(self.model.config), "task": dataclasses.asdict(self.objective)}
        task = make_task(types.SimpleNamespace(system="chromoformer", **sections), manifest)
        if len(task.marks) != self.model.config.marks:
            raise JaxepiError(
                f"{self.source} reads {self.model.config.marks} marks, but the dataset has {', '.join(task.marks)}: "
                "name those to use, in the model's order, with config.task.marks."
            )
        return task

    def predict(self, genes: Genes | Mapping[str, Any], batch_size: int = 64) -> np.ndarray:
        """Predictions (B,) float32: probability of high expression, or log2(RPKM + 1).

        Args:
          genes: a split of a dataset, or the inputs of `jaxepi.systems.chromoformer.model.Chromoformer` for B genes.
          batch_size: genes that go through the model at once.

        Raises:
          JaxepiError: a dataset or inputs that do not fit the model.
        """
        if isinstance(genes, Mapping):
            return self._predict_inputs(genes, batch_size)
        records = (genes[number] for number in range(len(genes)))
        parts = self.over(records, self.task(genes.manifest), predicted, batch_size)
        return np.concatenate([np.zeros(0, np.float32), *(np.asarray(part, np.float32) for _, part in parts)])

    def over(
        self, records: Iterable[Record], task: ChromoformerTask, read: Read, batch_size: int
    ) -> Iterator[tuple[list[Record], Any]]:
        """Batches of records with what `read` makes of each gene, as NumPy arrays.

        Records are read by one thread, and the device works on one batch while the last one is used.
        """
        of_dataset = (read, task.resolution, task.stored_width, tuple(task.marks))
        if of_dataset not in self._programs:
            self._programs[of_dataset] = self.compiled(lambda model, batch: read(model, task, batch))
        run = self._programs[of_dataset]
        rows, size = iter(records), self.rows(batch_size)

        def take() -> tuple[list[Record], dict[str, np.ndarray]] | None:
            batch = list(islice(rows, size))
            padding = [None] * (size - len(batch))  # one shape, one compilation
            return (batch, task.collate([*batch, *padding])) if batch else None

        with ThreadPoolExecutor(1) as reader:
            waiting, ahead = None, reader.submit(take)
            while taken := ahead.result():
                ahead = reader.submit(take)
                result = run(taken[1])
                if waiting:
                    yield _on_host(*waiting)
                waiting = (taken[0], result)
            if waiting:
                yield _on_host(*waiting)

    def _predict_inputs(self, inputs: Mapping[str, Any], batch_size: int) -> np.ndarray:
        check_inputs(inputs, self.model.config)
        arrays = jax.tree.map(np.asarray, dict(inputs))
        count = len(arrays["interaction_freq"])
        size = self.rows(min(batch_size, max(1, count)))
        parts = [np.zeros(0, np.float32)]
        for low in range(0, count, size):
            rows = np.minimum(np.arange(low, low + size), count - 1)  # the last row again where there is none
            values = self._of_inputs(jax.tree.map(lambda array, rows=rows: array[rows], arrays))
            parts.append(np.asarray(values, np.float32)[: count - low])
        return np.concatenate(parts)


def predicted(model: Chromoformer, task: ChromoformerTask, batch: dict[str, jax.Array]) -> jax.Array:
    """Predictions (B,) of a collated batch."""
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    return gene_values(task.apply(model, inputs), task.objective)


def _on_host(records: Sequence[Record], result: Any) -> tuple[list[Record], Any]:
    """The rows of `result` that are genes, on the host."""
    return list(records), jax.tree.map(lambda array: np.asarray(array)[: len(records)], result)
