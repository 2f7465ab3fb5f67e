"""What is minimised, float32. Shapes: prediction and target (B, T, K), rows (B,)."""

import jax
import jax.numpy as jnp

EPSILON = 1e-7  # of Keras


def poisson(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Of each place the mean over tracks of p - t log(p + ε) (B, T), as Keras has it: without the term log t!."""
    return (prediction - target * jnp.log(prediction + EPSILON)).mean(axis=-1)


def mean_of_rows(per_place: jax.Array, row_mask: jax.Array) -> jax.Array:
    """Mean of (B, T) over the rows that count and all places."""
    total = (per_place * row_mask[:, None]).sum()
    return total / jnp.maximum(row_mask.sum() * per_place.shape[1], 1)
