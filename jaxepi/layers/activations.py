"""Activations by name: those of the Basenji programs, and those of Keras where they differ."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Activation = Callable[[jax.Array], jax.Array]

SOFTPLUS_LIMIT = 10_000.0  # the original clips what goes into a softplus between blocks


def gelu_sigmoid1702(x: jax.Array) -> jax.Array:
    """x · sigmoid(1.702 x), the GELU of the Basenji programs until April 2022, when the released models were made."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu_tanh(x: jax.Array) -> jax.Array:
    """The tanh form, the GELU of the Basenji programs since April 2022."""
    return jax.nn.gelu(x, approximate=True)


def gelu_erf(x: jax.Array) -> jax.Array:
    """The exact form, as PyTorch ports and a plain Keras layer have it."""
    return jax.nn.gelu(x, approximate=False)


def polyrelu(x: jax.Array) -> jax.Array:
    """relu((x - 2)³)."""
    return jax.nn.relu((x - 2.0) ** 3)


def clipped_softplus(x: jax.Array) -> jax.Array:
    """softplus of x clipped to ± `SOFTPLUS_LIMIT`."""
    return jax.nn.softplus(jnp.clip(x, -SOFTPLUS_LIMIT, SOFTPLUS_LIMIT))


def linear(x: jax.Array) -> jax.Array:
    """x itself."""
    return x


GELUS: dict[str, Activation] = {"sigmoid1702": gelu_sigmoid1702, "tanh": gelu_tanh, "erf": gelu_erf}

# between blocks; "gelu" is one of `GELUS`
BLOCK_ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "polyrelu": polyrelu,
    "softplus": clipped_softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "exp": jnp.exp,
    "linear": linear,
}

# inside a Keras layer
KERAS_ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "relu": jax.nn.relu,
    "gelu": gelu_erf,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "exponential": jnp.exp,
    "softmax": jax.nn.softmax,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "swish": jax.nn.swish,
}


def activate(x: jax.Array, name: str | None, gelu: str) -> jax.Array:
    """An activation between blocks; `gelu` says which of `GELUS` that name stands for, None is linear."""
    return GELUS[gelu](x) if name == "gelu" else BLOCK_ACTIVATIONS[name or "linear"](x)
