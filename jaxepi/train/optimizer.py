"""Optimizers and learning-rate schedules by name (optax)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxepi.errors import JaxepiError, did_you_mean


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Section `config.optimizer`. Steps are optimizer updates."""

    name: str = "adam"  # adam | adamw | sgd
    learning_rate: float = 1e-3  # peak learning rate
    schedule: str = "constant"  # constant | cosine (linear warm-up, then cosine) | exponential | step (warm-up, decay)
    warmup_steps: int = 0  # updates of linear warm-up from 0
    decay_steps: int | None = None  # cosine: length with warm-up, None = config.steps; exponential, step: per decay
    final_scale: float = 0.0  # cosine: end value / peak; exponential, step: never below this times peak
    decay_rate: float = 0.95  # exponential, step: factor per decay_steps; step applies it at once, not bit by bit
    b1: float = 0.9  # decay of the first moment (sgd: momentum)
    b2: float = 0.999  # decay of the second moment
    epsilon: float = 1e-8  # added to the root of the second moment
    # adam: add epsilon to the root of the second moment before its bias correction, as Keras does (parity)
    epsilon_uncorrected: bool = False
    weight_decay: float = 0.0  # adamw only, decoupled
    clip_norm: float | None = None  # largest global norm of the gradient; None = no clipping
    accumulate: int = 1  # micro-batches per update; the gradient is the mean over them
    ema_decay: float | None = None  # moving average of the parameters, used by evaluation; None = none


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate as a function of the update.

    Raises:
      JaxepiError: unknown name, or a length that does not fit.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "constant":
        after: optax.Schedule = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        length = (config.decay_steps or steps) - warmup
        if length <= 0:
            raise JaxepiError(
                f"config.optimizer.warmup_steps is {warmup}, but must be below the {config.decay_steps or steps} "
                "steps of the cosine schedule."
            )
        after = optax.cosine_decay_schedule(peak, length, alpha=config.final_scale)
    elif config.schedule in ("exponential", "step"):
        if not config.decay_steps:
            raise JaxepiError(f"config.optimizer.decay_steps must be set for the {config.schedule} schedule.")
        after = optax.exponential_decay(
            peak,
            config.decay_steps,
            config.decay_rate,
            staircase=config.schedule == "step",
            end_value=config.final_scale * peak,
        )
    else:
        raise _unknown("schedule", config.schedule, ("constant", "cosine", "exponential", "step"))
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The chain clip → optimizer with its schedule.

    Raises:
      JaxepiError: unknown name.
    """
    rate = make_schedule(config, steps)
    if config.name == "adam":
        core = optax.adam(rate, config.b1, config.b2, config.epsilon)
        if config.epsilon_uncorrected:
            scale = scale_by_keras_adam(config.b1, config.b2, config.epsilon)
            core = optax.chain(scale, optax.scale_by_learning_rate(rate))
    elif config.name == "adamw":
        core = optax.adamw(rate, config.b1, config.b2, config.epsilon, weight_decay=config.weight_decay)
    elif config.name == "sgd":
        core = optax.sgd(rate, momentum=config.b1 or None)
    else:
        raise _unknown("name", config.name, ("adam", "adamw", "sgd"))
    return core if config.clip_norm is None else optax.chain(optax.clip_by_global_norm(config.clip_norm), core)


def scale_by_keras_adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam in Keras's form: sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon), m and v without bias correction.

    The same as optax's Adam with an epsilon that is divided by sqrt(1 - b2^t).
    """
    plain = optax.scale_by_adam(b1, b2)

    def update(gradient: Any, state: optax.ScaleByAdamState, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        _, state = plain.update(gradient, state, params)
        correction = jnp.sqrt(1 - b2**state.count) / (1 - b1**state.count)
        return jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + epsilon), state.mu, state.nu), state

    return optax.GradientTransformation(plain.init, update)


def _unknown(field: str, value: str, known: tuple[str, ...]) -> JaxepiError:
    return JaxepiError(f"config.optimizer.{field} is {value!r}{did_you_mean(value, known)}; known are {known}.")
