"""Optimizers by name (optax), and what is done to the gradient before them."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.train.schedules import call, make_schedule

# optimizer -> optax's arguments and the fields of the config that they are; one without takes config.arguments alone
OPTIMIZERS: dict[str, dict[str, str]] = {
    "adam": {"b1": "b1", "b2": "b2", "eps": "epsilon", "nesterov": "nesterov"},
    "adamw": {"b1": "b1", "b2": "b2", "eps": "epsilon", "nesterov": "nesterov", "weight_decay": "weight_decay"},
    "sgd": {"momentum": "b1", "nesterov": "nesterov"},
    **{name: {} for name in ("nadam", "nadamw", "lion", "adagrad", "rmsprop", "lamb", "adabelief", "muon")},
}
# optimizer -> fields by which it takes the form that it has in Keras
_PARITY = (
    ("sgd", "rate_in_momentum"), ("adam", "epsilon_uncorrected"), ("adamw", "epsilon_uncorrected"),
    ("adamw", "weight_decay_without_rate"),
)  # fmt: skip
_MOMENTS = (
    "b1", "b2", "nesterov", "epsilon", "epsilon_uncorrected", "rate_in_momentum", "weight_decay",
    "weight_decay_without_rate",
)  # fmt: skip


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The chain clip → optimizer with its schedule.

    Raises:
      JaxepiError: unknown name, or arguments that the optimizer does not take.
    """
    if config.name not in OPTIMIZERS:
        raise JaxepiError(
            f"config.optimizer.name is {config.name!r}{did_you_mean(config.name, OPTIMIZERS)}; known are "
            f"{tuple(OPTIMIZERS)}."
        )
    clips, core = _clips(config), _core(config, make_schedule(config, steps))
    return optax.chain(*clips, core) if clips else core


def _core(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer behind its name.

    Raises:
      JaxepiError: fields that it does not read, or arguments that it does not take.
    """
    parity = next((field for name, field in _PARITY if name == config.name and getattr(config, field)), None)
    if parity is not None:
        if config.nesterov or config.arguments:
            raise JaxepiError(
                f"config.optimizer.{parity} is Keras's plain {config.name}, which has neither nesterov nor arguments; "
                f"leave them out, or set {parity} to False."
            )
        return _keras_form(config, rate)
    fields = OPTIMIZERS[config.name]
    if not fields:
        default = OptimizerConfig()
        for field in _MOMENTS:
            if getattr(config, field) != getattr(default, field):
                raise JaxepiError(
                    f"config.optimizer.{field} is {getattr(config, field)!r}, which {config.name} does not read; its "
                    "arguments are those of optax, in config.optimizer.arguments."
                )
    for argument, field in {"learning_rate": "learning_rate", **fields}.items():
        if argument in config.arguments:
            raise JaxepiError(
                f"config.optimizer.arguments has {argument!r}, which for {config.name} is config.optimizer.{field}; "
                "set it there."
            )
    filled = {"learning_rate": rate, **{argument: getattr(config, field) for argument, field in fields.items()}}
    if config.name == "sgd":
        filled["momentum"] = config.b1 or None  # without momentum there is no buffer for it
    make = getattr(optax, config.name, None) or getattr(optax.contrib, config.name)
    return call(make, f"optax's {config.name}", "arguments", filled, config.arguments)


def _keras_form(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """sgd, adam or adamw as Keras and TensorFlow Addons compute them, as far as the fields ask for it."""
    scaled = optax.scale_by_learning_rate(rate)
    if config.name == "sgd":
        return optax.chain(scaled, optax.trace(config.b1)) if config.b1 else scaled
    uncorrected = config.epsilon_uncorrected
    adam = (scale_by_keras_adam if uncorrected else optax.scale_by_adam)(config.b1, config.b2, config.epsilon)
    if config.name == "adam":
        return optax.chain(adam, scaled)
    if config.weight_decay_without_rate:
        return optax.chain(adam, scaled, optax.add_decayed_weights(-config.weight_decay))
    return optax.chain(adam, optax.add_decayed_weights(config.weight_decay), scaled)


def _clips(config: OptimizerConfig) -> list[optax.GradientTransformation]:
    """What config.clip_* asks for, in the order of the fields."""
    clips = {
        optax.clip: config.clip_value,
        clip_by_variable_norm: config.clip_variable_norm,
        optax.clip_by_global_norm: config.clip_norm,
        optax.adaptive_grad_clip: config.clip_adaptive,
    }
    return [clip(limit) for clip, limit in clips.items() if limit is not None]


def clip_by_variable_norm(max_norm: float) -> optax.GradientTransformation:
    """Clips each variable's gradient g by itself, as Keras's `clipnorm`: g * max_norm / max(|g|, max_norm)."""

    def clip(gradient: jax.Array, _: Any) -> jax.Array:
        return gradient * (max_norm / jnp.maximum(jnp.linalg.norm(gradient.ravel()), max_norm))

    return optax.stateless_with_tree_map(clip)


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
