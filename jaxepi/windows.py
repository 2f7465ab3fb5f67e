"""Windows of sequence in the forms that people have them: strings, base codes, one-hot arrays. L is base pairs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import sequence
from jaxepi.errors import JaxepiError


def as_windows(given: str | Sequence[str] | np.ndarray | jax.Array, length: int) -> np.ndarray:
    """Windows of exactly `length` bp as base codes (B, L) uint8 or one-hot (B, L, 4) float32.

    Args:
      given: one string, strings, base codes (L,) or (B, L) integer, or one-hot (B, L, 4) float.

    Raises:
      JaxepiError: a window of another length, or an array of another kind.
    """
    if isinstance(given, str):
        given = [given]
    if not hasattr(given, "ndim") and all(isinstance(letters, str) for letters in given):
        for i, letters in enumerate(given):
            if len(letters) != length:
                raise JaxepiError(f"Sequence {i} has {len(letters)} bp, but this model takes {length} bp.")
        codes = [sequence.encode(letters) for letters in given]
        return np.stack(codes) if codes else np.empty((0, length), np.uint8)
    x = np.asarray(given)
    is_codes = np.issubdtype(x.dtype, np.integer) and x.ndim in (1, 2)
    x = x[None] if is_codes and x.ndim == 1 else x
    is_hot = np.issubdtype(x.dtype, np.floating) and x.ndim == 3 and x.shape[-1] == 4
    if not (is_codes or is_hot) or x.shape[1] != length:
        raise JaxepiError(
            f"An array of shape {x.shape} and type {x.dtype} is no batch of windows: expected strings, codes "
            f"(B, {length}) of an integer type, or one-hot (B, {length}, 4) of a float type."
        )
    if is_codes and x.size and not 0 <= x.min() <= x.max() <= sequence.N:
        raise JaxepiError(f"Base codes reach from {x.min()} to {x.max()}, but A C G T N are 0 to {sequence.N}.")
    return x.astype(np.uint8 if is_codes else np.float32, copy=False)


def hot(windows: jax.Array, **options: Any) -> jax.Array:
    """What `as_windows` gave as one-hot (B, L, 4) float32, on the device; options are those of `sequence.one_hot`."""
    return sequence.one_hot(windows, jnp.float32, **options) if windows.ndim == 2 else windows.astype(jnp.float32)
