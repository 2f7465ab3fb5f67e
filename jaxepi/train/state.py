"""The training state and the jitted steps: pure functions of (state, batch)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from jaxepi.evaluate.step import EvaluateStep, make_evaluate_step
from jaxepi.parallel.mesh import batch_sharding, gathered, on_rows, placed, replicated, state_shardings
from jaxepi.task import UPDATE, Task, split_part
from jaxepi.train.optimizer import OptimizerConfig, make_optimizer, make_schedule
from jaxepi.train.transfer import check_frozen, chosen, keep_statistics, trainable

Batch = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes."""

    step: jax.Array  # () int32, updates done
    params: Any  # nnx.State of parameters, float32
    rest: Any  # nnx.State of everything else in the model (normalisation statistics, ...)
    optimizer: Any  # optax state
    ema: Any  # moving average of params, or None
    rng: jax.Array  # key data of the run; a step folds its number in

    @property
    def best_params(self) -> Any:
        """The parameters to predict with: the moving average if there is one."""
        return self.params if self.ema is None else self.ema


@dataclasses.dataclass(frozen=True)
class Steps:
    """A task compiled for a mesh.

    Attributes:
      initial: () -> TrainState, sharded; a function of the seed alone. It is not compiled: a program that draws every
        weight takes longer to compile than all of them to draw.
      train: (state, batch) -> (state, scalars); the old state's memory is reused.
      evaluate: (params, rest, batch) -> (metric sums, predictions).
      shapes: of the state, and dtypes.
      shardings: of the state.
    """

    initial: Callable[[], TrainState]
    train: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    evaluate: EvaluateStep
    shapes: TrainState
    shardings: TrainState

    def abstract(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, for restoring a checkpoint into."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            self.shapes,
            self.shardings,
        )


def make_steps(
    task: Task,
    config: OptimizerConfig,
    steps: int,
    seed: int,
    mesh: Mesh,
    frozen: Sequence[str] = (),
    frozen_statistics: str = "running",
    epoch: int | None = None,
) -> Steps:
    """Builds the model's graph and compiles nothing yet; each step compiles at its first call.

    Args:
      frozen: weights that one of these patterns fits stay as they are and have no optimizer state; so do statistics.
      frozen_statistics: what frozen normalisation layers normalise with while training: "running", their statistics, or
        "batch", those of the batch.
      epoch: updates of an epoch, for tasks that count them within it; None: they are counted through.

    Raises:
      JaxepiError: a pattern that fits no parameter, or nothing left to train.
    """
    optimizer, schedule = make_optimizer(config, steps), make_schedule(config, steps)
    graphdef, abstract, rest = nnx.split(nnx.eval_shape(lambda: task.build_model(nnx.Rngs(0))), nnx.Param, ...)
    check_frozen(abstract, frozen, frozen_statistics)
    if frozen:
        optimizer = optax.masked(optimizer, trainable(abstract, frozen))

    def state_of(key: jax.Array, params: Any, rest: Any) -> TrainState:
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            rest=rest,
            optimizer=optimizer.init(params),
            ema=jax.tree.map(jnp.copy, params) if config.ema_decay is not None else None,
            rng=jax.random.key_data(jax.random.fold_in(key, 1)),
        )

    shapes = jax.eval_shape(state_of, jax.random.key(seed), abstract, rest)
    shardings = state_shardings(mesh, shapes)

    def initial() -> TrainState:
        with jax.default_device(_host()):
            key = jax.random.key(seed)
            _, params, rest = nnx.split(task.build_model(nnx.Rngs(jax.random.fold_in(key, 0))), nnx.Param, ...)
            return placed(state_of(key, params, rest), shardings)

    def train(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        own, batch = split_part(task, batch)  # static: a batch of another part is another program
        if own.counts_updates:
            update = state.step if epoch is None else state.step % epoch
            batch = batch | {UPDATE: jnp.full(len(jax.tree.leaves(batch)[0]), update)}
        objective = _objective(own, graphdef, mesh, frozen, frozen_statistics)
        rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        (loss, (terms, rest)), gradient = accumulated(objective, config.accumulate, state, batch, rng, shardings.params)
        gradient = own.mend_gradient(gradient)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        if own.idle:
            busy = trainable(state.params, own.idle)
            params = chosen(busy, params, state.params)
            optimizer_state = chosen(remembered(optimizer, state.optimizer, busy), optimizer_state, state.optimizer)
        ema = state.ema
        if config.ema_decay is not None:
            ema = optax.incremental_update(params, ema, 1.0 - config.ema_decay)
        scalars = {"loss": loss, **terms, "gradient_norm": optax.global_norm(gradient)}
        scalars["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        return TrainState(state.step + 1, params, rest, optimizer_state, ema, state.rng), scalars

    rows, whole = batch_sharding(mesh), replicated(mesh)
    return Steps(
        initial=initial,
        train=jax.jit(train, in_shardings=(shardings, rows), out_shardings=(shardings, whole), donate_argnums=0),
        evaluate=make_evaluate_step(task, graphdef, mesh, training=task.validates_as_trained),
        shapes=shapes,
        shardings=shardings,
    )


def remembered(optimizer: optax.GradientTransformation, state: Any, mask: Any) -> Any:
    """A tree like an optimizer's state: `mask`, a tree like the parameters, wherever it remembers something of each
    parameter, and True elsewhere, as for the number of updates."""
    return optax.tree_map_params(
        optimizer,
        lambda _, of_parameter: of_parameter,
        state,
        mask,
        transform_non_params=lambda _: True,
        is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
    )


def _host() -> jax.Device:
    """The CPU, which has room for a state that is to be split over devices; the first device where jax has no CPU."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _objective(
    task: Task, graphdef: Any, mesh: Mesh, frozen: Sequence[str], frozen_statistics: str
) -> Callable[..., tuple[jax.Array, tuple[dict[str, jax.Array], Any]]]:
    """(params, rest, batch, rng) -> (loss, (terms, new rest)); the gradient of frozen parameters is 0."""

    def objective(params: Any, rest: Any, batch: Batch, rng: jax.Array) -> tuple[jax.Array, tuple[Any, Any]]:
        before = rest
        if frozen:
            params = chosen(trainable(params, frozen), params, jax.lax.stop_gradient(params))
        # A copy: normalisation layers write their statistics, which may not reach out of the gradient's trace.
        model = nnx.merge(graphdef, *gathered(mesh, (params, rest)), copy=True)
        model.train()
        if frozen and frozen_statistics == "running":
            keep_statistics(model, frozen)
        rows = len(jax.tree.leaves(batch)[0])
        inputs, targets = on_rows(mesh, task.prepare(on_rows(mesh, batch, rows), rng, train=True), rows)
        loss, terms = task.loss(task.apply(model, inputs), targets)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        if frozen:
            rest = chosen(trainable(rest, frozen), rest, before)
        return loss, (terms, rest)

    return objective


def accumulated(
    objective: Callable[..., Any], count: int, state: TrainState, batch: Batch, rng: jax.Array, shardings: Any
) -> Any:
    """Loss and gradient of a batch as the mean over `count` micro-batches, computed one after the other.

    Micro-batch i takes every count-th row, so that no row leaves its device. The gradient has the parameters'
    `shardings`.
    """
    value_and_gradient = jax.value_and_grad(objective, has_aux=True)

    def gradient_of(*arguments: Any) -> Any:
        value, gradient = value_and_gradient(*arguments)
        return value, jax.lax.with_sharding_constraint(gradient, shardings)

    if count == 1:
        return gradient_of(state.params, state.rest, batch, rng)
    micro = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), batch)

    def one(carry: tuple[Any, Any], item: tuple[jax.Array, Batch]) -> tuple[tuple[Any, Any], None]:
        index, rows = item
        rest, total = carry
        (loss, (terms, rest)), gradient = gradient_of(state.params, rest, rows, jax.random.fold_in(rng, index))
        return (rest, jax.tree.map(jnp.add, total, (loss, terms, gradient))), None

    first = jax.tree.map(lambda x: x[0], micro)
    (loss, (terms, _)), gradient = jax.eval_shape(gradient_of, state.params, state.rest, first, rng)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (loss, terms, gradient))
    (rest, total), _ = jax.lax.scan(one, (state.rest, zero), (jnp.arange(count), micro))
    loss, terms, gradient = jax.tree.map(lambda x: x / count, total)
    return (loss, (terms, rest)), gradient
