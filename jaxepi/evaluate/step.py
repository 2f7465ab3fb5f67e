"""The jitted evaluation step."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from jaxepi.parallel.mesh import batch_sharding, gathered, on_rows, replicated
from jaxepi.task import Batch, Task, split_part

EvaluateStep = Callable[[Any, Any, Batch], tuple[Any, dict[str, jax.Array]]]


def make_evaluate_step(task: Task, graphdef: Any, mesh: Mesh, training: bool = False) -> EvaluateStep:
    """(params, rest, batch) -> (metric sums over the whole batch, predictions of each row), compiled for the mesh.

    Args:
      training: as `Task.validates_as_trained` says; every batch has the same random numbers, and padding rows take part
        in the statistics of theirs.
    """

    def evaluate(params: Any, rest: Any, batch: Batch) -> tuple[Any, dict[str, jax.Array]]:
        own, batch = split_part(task, batch)
        model = nnx.merge(graphdef, *gathered(mesh, (params, rest)))
        model.train() if training else model.eval()
        rows = len(jax.tree.leaves(batch)[0])
        inputs, targets = on_rows(mesh, own.prepare(batch, jax.random.key(0), train=training), rows)
        outputs = own.apply(model, inputs)
        return own.metrics(outputs, targets), own.predictions(outputs, targets)

    rows, whole = batch_sharding(mesh), replicated(mesh)
    return jax.jit(evaluate, in_shardings=(None, None, rows), out_shardings=(whole, rows))
