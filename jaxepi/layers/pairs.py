"""Pairs of bins: maps from L bins to L x L pixels, and the upper triangle of such a map as a vector.

Arrays are (B, L, C) for bins, (B, L, L, C) for pixels and (B, P, C) for the P pixels (i, j) with j - i >= `diagonal`,
row by row. Formulas are those of Akita (Fudenberg et al., Nature Methods 2020).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

OPERATIONS = ("mean", "max", "concat", "multiply1", "multiply")


def one_to_two(x: jax.Array, operation: str = "mean") -> jax.Array:
    """(B, L, C) -> (B, L, L, C), or 2C channels for "concat": pixel (i, j) of a = x[j] and b = x[i]."""
    a, b = jnp.broadcast_arrays(x[:, None, :, :], x[:, :, None, :])
    if operation == "concat":
        return jnp.concatenate([a, b], axis=-1)
    if operation == "mean":
        return (a + b) / 2
    if operation == "max":
        return jnp.maximum(a, b)
    return (a + 1) * (b + 1) - 1 if operation == "multiply1" else a * b


def concat_distance(x: jax.Array) -> jax.Array:
    """Appends a channel |i - j|, in bins: (B, L, L, C) -> (B, L, L, C + 1)."""
    place = jnp.arange(x.shape[1])
    distance = jnp.abs(place[:, None] - place[None, :]).astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(distance[None, :, :, None], (*x.shape[:3], 1))], axis=-1)


def symmetrize(x: jax.Array) -> jax.Array:
    """Mean of a map (B, L, L, C) and its transpose."""
    return (x + x.swapaxes(1, 2)) / 2


def triangle(bins: int, diagonal: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (P,) of the pixels with j - i >= `diagonal`."""
    return np.triu_indices(bins, diagonal)


def triangle_bins(count: int, diagonal: int) -> int:
    """How many bins a triangle of `count` pixels has."""
    return (math.isqrt(8 * count + 1) - 1) // 2 + diagonal


def upper_triangle(x: jax.Array, diagonal: int) -> jax.Array:
    """(B, L, L, C) -> (B, P, C); of a map that is not symmetric the original takes the pixel (j, i)."""
    rows, columns = triangle(x.shape[1], diagonal)
    return x[:, columns, rows]


def reversed_triangle(bins: int, diagonal: int) -> np.ndarray:
    """Places (P,): entry p of the triangle of the reversed bins is entry `places[p]` of the triangle."""
    rows, columns = triangle(bins, diagonal)
    number = np.zeros((bins, bins), np.int64)
    number[rows, columns] = np.arange(len(rows))
    return number[bins - 1 - columns, bins - 1 - rows]
