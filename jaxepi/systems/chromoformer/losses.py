"""The losses of Chromoformer: cross-entropy of low and high expression, squared error of log2(RPKM + 1).

Everything is float32 and masked: `counts` (B,) is not 0 where a gene counts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def cross_entropy(logits: jax.Array, label: jax.Array, counts: jax.Array) -> jax.Array:
    """Mean cross-entropy of logits (B, 2) for labels (B,), 0 or 1; 0 if no gene counts."""
    return _mean(cross_entropies(logits, label), counts)


def cross_entropies(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Cross-entropy of each gene (B,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, (label > 0).astype(jnp.int32))


def squared_error(value: jax.Array, target: jax.Array, counts: jax.Array) -> jax.Array:
    """Mean squared error of values (B,); 0 if no gene counts. Targets that do not count may be NaN."""
    return _mean(jnp.where(counts > 0, value - jnp.where(counts > 0, target, 0.0), 0.0) ** 2, counts)


def _mean(values: jax.Array, counts: jax.Array) -> jax.Array:
    counts = (counts > 0).astype(values.dtype)
    return (values * counts).sum() / jnp.maximum(counts.sum(), 1)


def all_pairs_error(pearson: Any) -> np.ndarray:
    """Mean of (p - t)^2 over every pair of a prediction and a target, per track (K,), from a `PearsonSums`.

    This is what the original reports as the validation loss of the regressor: its predictions (N, 1) meet the labels
    (N,) by broadcasting, so each prediction is compared with all genes.
    """
    host = pearson.to_host()
    spread = (host.prediction_square + host.target_square) / np.where(host.count > 0, host.count, np.nan)
    return spread + (host.prediction_mean - host.target_mean) ** 2
