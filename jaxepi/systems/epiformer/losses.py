"""What is minimised, place by place. Arrays are (B, T, K)."""

import jax
import jax.numpy as jnp

POISSON_EPSILON = 1e-8
PROBABILITY_EPSILON = 1e-7


def poisson(value: jax.Array, target: jax.Array) -> jax.Array:
    """Negative log likelihood of counts without the term of the target alone, so that it may be negative."""
    return value - target * jnp.log(value + POISSON_EPSILON)


def cross_entropy(value: jax.Array, target: jax.Array) -> jax.Array:
    """Binary cross-entropy of probabilities, which are clipped as the original does."""
    p = jnp.clip(value, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON)
    return -target * jnp.log(p) - (1.0 - target) * jnp.log(1.0 - p)
