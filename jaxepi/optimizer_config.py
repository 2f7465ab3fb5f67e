"""The section `optimizer` of a config, described here alone: configs/base.py makes its fields from this class."""

import dataclasses
from collections.abc import Mapping
from typing import Any


def _number(default: float | None, **limits: float) -> Any:
    """A field with limits, as `jaxepi.config.check_number` takes them."""
    return dataclasses.field(default=default, metadata=limits)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Section `config.optimizer`. Steps are optimizer updates, or epochs where `config.unit` says so.

    Limits of a number stand in the metadata of its field: see `jaxepi.config.from_section`.
    """

    # adam | adamw | sgd, which read the fields below, or another of optax by name (nadam, lion, muon, ...), which reads
    # `arguments` alone; jaxepi.train.optimizer.OPTIMIZERS lists them
    name: str = "adam"
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # more arguments of the optax optimizer
    learning_rate: float = 1e-3  # peak learning rate
    # constant | cosine (linear warm-up, then cosine) | exponential | step (warm-up, decay) | triangle (linearly up over
    # warmup_steps, down again over as many, then final_scale) | cosine_restarts (warm-up, then `cycles` cosines) |
    # warmed_cosine, warmed_linear (down over the whole length, times the warm-up while that lasts), or a schedule of
    # optax by name (warmup_cosine_decay_schedule, polynomial_schedule, ...)
    schedule: str = "constant"
    # of a schedule of optax, in updates whatever `config.unit` says; what is left out comes from the fields of the same
    # name here, its peak from learning_rate, and transition_steps from decay_steps
    schedule_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warmup_steps: int = _number(0, least=0)  # updates of linear warm-up from 0; triangle: from initial_scale
    initial_scale: float = 0.0  # triangle: start value / peak, also where it comes down to
    # cosine and those with cosine or warmed in their name: length with warm-up, None = config.steps; exponential, step:
    # per decay
    decay_steps: int | None = None
    cycles: int = 1  # cosine_restarts: cosines behind the warm-up, each from the peak to 0
    # updates for which the learning rate holds its value of the first of them, with any schedule; None = it changes
    # with each. With unit "epoch", 1 = once an epoch; a warm-up from 0 then leaves the weights of epoch 0 as they are
    hold_steps: int | None = None
    final_scale: float = 0.0  # cosine, triangle: end value / peak; exponential, step: never below this times peak
    decay_rate: float = 0.95  # exponential, step: factor per decay_steps; step applies it at once, not bit by bit
    b1: float = _number(0.9, least=0, below=1)  # decay of the first moment (sgd: momentum)
    b2: float = _number(0.999, least=0, below=1)  # decay of the second moment
    nesterov: bool = False  # adam, adamw, sgd: look ahead along the first moment (sgd: along the momentum)
    epsilon: float = 1e-8  # added to the root of the second moment
    # adam, adamw: add epsilon to the root of the second moment before its bias correction, as Keras does (parity)
    epsilon_uncorrected: bool = False
    # sgd: the momentum gathers gradients times the learning rate of their update, as Keras does; they are multiplied
    # with the present one otherwise. The same while the learning rate is constant (parity)
    rate_in_momentum: bool = False
    weight_decay: float = 0.0  # adamw only, decoupled
    # adamw: weights shrink by weight_decay itself and not by the learning rate times it, as TensorFlow Addons does
    weight_decay_without_rate: bool = False
    # Clipping of the gradient; where several are set they follow one another in this order.
    clip_value: float | None = _number(None, above=0)  # largest absolute value of an element; None = no clipping
    # largest norm of each variable by itself (Keras' clipnorm); None = none
    clip_variable_norm: float | None = _number(None, above=0)
    clip_norm: float | None = _number(None, above=0)  # largest global norm of the gradient; None = no clipping
    # largest norm relative to that of the weights, unit by unit (AGC); None = none
    clip_adaptive: float | None = _number(None, above=0)
    accumulate: int = 1  # micro-batches per update; the gradient is the mean over them
    # moving average of the parameters, used by evaluation; None = none
    ema_decay: float | None = _number(None, least=0, below=1)
