"""The losses of CS282A: Poisson for bins, squared error for windows.

Everything is float32 and masked. Shapes: prediction and target (B, P, K); `known` is not 0 where a target is a number,
`counts` where an example is no padding. A target may be NaN where it is not known.
"""

import jax
import jax.numpy as jnp

POISSON_EPSILON = 1e-8


def elements(name: str, prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The loss of every value (B, P, K).

    `poisson` is the negative log-likelihood p - y log(p + 1e-8), without the term that no prediction changes; `mse` the
    squared error.
    """
    if name == "poisson":
        return prediction - target * jnp.log(prediction + POISSON_EPSILON)
    return (prediction - target) ** 2


def mean_loss(name: str, prediction: jax.Array, target: jax.Array, known: jax.Array, counts: jax.Array) -> jax.Array:
    """Mean over the values that count (`counts`), of which those that are not known are 0."""
    known, counts = (known != 0) & (counts != 0), jnp.broadcast_to(counts != 0, target.shape)
    each = jnp.where(known, elements(name, prediction, jnp.where(known, target, 0.0)), 0.0)
    return each.sum() / jnp.maximum(counts.sum(), 1)


@jax.custom_vjp
def with_unknown_gradient(prediction: jax.Array, known: jax.Array) -> jax.Array:
    """The prediction (B, P, K); the gradient that comes back is NaN where `known` is False.

    This is what a target of NaN does to the gradient of a plain mean, while the loss itself stays a number.
    """
    del known
    return prediction


def _forward(prediction: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    return prediction, known


def _backward(known: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None]:
    return jnp.where(known, gradient, jnp.nan), None


with_unknown_gradient.defvjp(_forward, _backward)
