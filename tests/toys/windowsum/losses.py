"""What is minimised."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the bins and tracks that count; all (B, T, K), a target is a fraction."""
    return optax.sigmoid_binary_cross_entropy(logits, target).sum(where=mask) / jnp.maximum(mask.sum(), 1)
