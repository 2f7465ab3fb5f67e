"""Learning-rate schedules by name: eight of our own spelling, and every schedule of optax with its arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.optimizer_config import OptimizerConfig

SCHEDULES = (
    "constant", "cosine", "exponential", "step", "triangle", "cosine_restarts", "warmed_cosine", "warmed_linear",
)  # fmt: skip
OPTAX_SCHEDULES = tuple(name for name in dir(optax.schedules) if name.endswith(("_schedule", "_decay")))
_PEAK = ("peak_value", "value", "init_value")  # the argument of optax that config.learning_rate is: the first there is


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate as a function of the update.

    Raises:
      JaxepiError: unknown name, a length that does not fit, or arguments that the schedule does not take.
    """
    schedule, hold = _schedule(config, steps), config.hold_steps
    return schedule if hold is None else lambda step: schedule(step // hold * hold)


def _schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The schedule before `hold_steps`."""
    if config.schedule in OPTAX_SCHEDULES:
        return _optax_schedule(config, steps)
    if config.schedule_arguments:
        raise JaxepiError(
            f"config.optimizer.schedule_arguments are those of a schedule of optax, but config.optimizer.schedule is "
            f"{config.schedule!r}; known are {OPTAX_SCHEDULES}."
        )
    if config.schedule in ("cosine_restarts", "warmed_cosine", "warmed_linear"):
        return _over_whole_length(config, steps)
    if config.schedule == "constant":
        after: optax.Schedule = optax.constant_schedule(config.learning_rate)
    elif config.schedule == "cosine":
        length = _length(config, steps) - config.warmup_steps
        after = optax.cosine_decay_schedule(config.learning_rate, length, alpha=config.final_scale)
    elif config.schedule in ("exponential", "step"):
        if not config.decay_steps:
            raise JaxepiError(f"config.optimizer.decay_steps must be set for the {config.schedule} schedule.")
        after = optax.exponential_decay(
            config.learning_rate,
            config.decay_steps,
            config.decay_rate,
            staircase=config.schedule == "step",
            end_value=config.final_scale * config.learning_rate,
        )
    elif config.schedule == "triangle":
        return _triangle(config)
    else:
        near = did_you_mean(config.schedule, (*SCHEDULES, *OPTAX_SCHEDULES))
        raise JaxepiError(
            f"config.optimizer.schedule is {config.schedule!r}{near}; known are {SCHEDULES}, and of optax "
            f"{OPTAX_SCHEDULES}."
        )
    return _warmed_up(after, config)


def _length(config: OptimizerConfig, steps: int) -> int:
    """Updates of the whole schedule, warm-up included.

    Raises:
      JaxepiError: the warm-up is as long.
    """
    length = config.decay_steps or steps
    if config.warmup_steps >= length:
        raise JaxepiError(
            f"config.optimizer.warmup_steps is {config.warmup_steps}, but must be below the {length} steps of the "
            f"{config.schedule} schedule."
        )
    return length


def _over_whole_length(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """From the peak to 0 over the whole length or in cycles behind the warm-up, and 0 from its end on.

    A warmed schedule is the plain one times the warm-up, so that its highest value lies below the peak of a cosine.
    """
    length, warmup, peak = _length(config, steps), config.warmup_steps, config.learning_rate

    def factor(step: Any) -> jax.Array:
        # whole numbers: where a cycle begins, a rounded quotient could belong to the one before
        place = jnp.asarray(config.cycles * (step - warmup) % (length - warmup), jnp.result_type(float))
        step = jnp.asarray(step, jnp.result_type(float))
        rising = jnp.minimum(step / warmup, 1.0) if warmup else jnp.ones_like(step)
        if config.schedule == "warmed_cosine":
            return rising * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / length, 1.0)))
        progress = (step - warmup) / (length - warmup)
        if config.schedule == "warmed_linear":
            return rising * jnp.maximum(1 - progress, 0.0)
        falling = 0.5 * (1 + jnp.cos(jnp.pi * place / (length - warmup)))
        return jnp.where(step < warmup, rising, jnp.where(progress < 1, falling, 0.0))

    return lambda step: peak * factor(step)


def _triangle(config: OptimizerConfig) -> optax.Schedule:
    """From initial_scale up to the peak and down again, warmup_steps each; final_scale from there on."""
    peak, length = config.learning_rate, config.warmup_steps
    if not length:
        raise JaxepiError("config.optimizer.warmup_steps must be set for the triangle schedule: it goes up over these.")
    low = config.initial_scale * peak
    pieces = [optax.linear_schedule(low, peak, length), optax.linear_schedule(peak, low, length)]
    return optax.join_schedules([*pieces, optax.constant_schedule(config.final_scale * peak)], [length, 2 * length])


def _warmed_up(after: optax.Schedule, config: OptimizerConfig) -> optax.Schedule:
    """The schedule behind config.warmup_steps updates of linear warm-up."""
    if not config.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def _optax_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """A schedule of optax; arguments that are not given are those fields of the config that mean the same."""
    make = getattr(optax.schedules, config.schedule)
    taken = list(inspect.signature(make).parameters)
    length = config.decay_steps or steps
    fields = {
        "warmup_steps": config.warmup_steps, "decay_steps": length, "transition_steps": length,
        "decay_rate": config.decay_rate,
    }  # fmt: skip
    peak = [name for name in _PEAK if name in taken][:1]
    filled = {name: value for name, value in fields.items() if name in taken} | dict.fromkeys(
        peak, config.learning_rate
    )
    schedule = call(
        make, f"optax.{config.schedule}", "schedule_arguments", filled, config.schedule_arguments,
        probe=lambda made: jax.eval_shape(made, 0),
    )  # fmt: skip
    return schedule if "warmup_steps" in taken else _warmed_up(schedule, config)


def call(
    make: Callable[..., Any],
    name: str,
    field: str,
    filled: Mapping[str, Any],
    given: Mapping[str, Any],
    probe: Callable[[Any], Any] = id,
) -> Any:
    """Calls a function of optax with what the config's fields fill and what `config.optimizer.<field>` gives.

    Args:
      probe: is called with the result, to see what the function itself does not look at.

    Raises:
      JaxepiError: an argument that the function does not have, with the nearest name, one that is missing, or values
        that it refuses.
    """
    parameters = inspect.signature(make).parameters
    arguments = {**filled, **{str(key): _plain(value) for key, value in given.items()}}
    for key in arguments:
        if key not in parameters:
            raise JaxepiError(
                f"config.optimizer.{field} has {key!r}{did_you_mean(key, parameters)}, but {name} takes "
                f"{', '.join(parameters)}."
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise JaxepiError(
                f"{name} needs {key}: give it as --config.optimizer.{field}=\"{{'{key}': ...}}\"; it takes "
                f"{', '.join(parameters)}."
            )
    try:
        made = make(**arguments)
        probe(made)
        return made
    except (TypeError, ValueError, AttributeError, KeyError) as problem:
        reason = str(problem).splitlines()[0]
        raise JaxepiError(f"{name} does not take config.optimizer.{field} = {dict(given)} ({reason}).") from None


def _plain(value: Any) -> Any:
    """Sections of a config to dictionaries; JSON made text of keys that are numbers (steps of piecewise schedules)."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if hasattr(value, "items"):
        return {int(key) if str(key).isdigit() else key: _plain(item) for key, item in value.items()}
    return value
