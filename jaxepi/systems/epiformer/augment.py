"""Augmentation: which windows are turned and how far they are moved, and what becomes of sequence and conservation.

Shapes: codes (B, L) uint8, conservation (B, L) float, one value a base.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxepi.sequence import NOTHING, one_hot, reverse_complement
from jaxepi.windows import moved

SCHEMES = ("window", "alternate")


class Draws(NamedTuple):
    """What is done to each window."""

    flip: jax.Array  # (B,) bool, take the reverse complement
    by: jax.Array  # (B,) int32, then move it so many bp to the right


def of_windows(key: jax.Array, rows: int, reverse_complement: bool, shift: int) -> Draws:
    """Half of the windows are turned, and each is moved by one of -shift ... shift bp; both by themselves."""
    keys = jax.random.split(key)
    return Draws(
        jax.random.bernoulli(keys[0], 0.5 if reverse_complement else 0.0, (rows,)),
        jax.random.randint(keys[1], (rows,), -shift, shift + 1),
    )


def alternating(key: jax.Array, rows: int, update: jax.Array, reverse_complement: bool, shift: int) -> Draws:
    """The original's scheme: nothing in every other update of an epoch, else all windows alike.

    Those are turned, and moved to the left by one of -shift ... shift - 1 bp. The original counts micro-batches, of
    which `accumulate` in a row are plain and as many augmented: those of an update are all the one or all the other.

    Args:
      key: of this micro-batch, which has one draw.
      rows: B.
      update: () number of the update within its epoch, from 0.
      reverse_complement: whether to turn them.
      shift: bp.
    """
    augmented = update % 2 == 1
    left = jax.random.randint(key, (), -shift, max(shift, 1 - shift))
    return Draws(
        jnp.broadcast_to(augmented & reverse_complement, (rows,)),
        jnp.broadcast_to(jnp.where(augmented, -left, 0), (rows,)),
    )


def augmented(
    codes: jax.Array,
    conservation: jax.Array | None,
    draws: Draws,
    shift: int,
    pad: float = 0.0,
    with_conservation: bool = True,
) -> tuple[jax.Array, jax.Array | None]:
    """One-hot sequence (B, L, 4) and conservation (B, L) of windows that are turned and then moved.

    Args:
      codes: an N has a row of zeros.
      conservation: None for none.
      draws: what to do.
      shift: bp that `draws` moves at most; 0: nothing is moved.
      pad: what a row holds where nothing came in.
      with_conservation: move it along, 0 comes in; else it stays while the bases move under it (parity).
    """
    codes = jnp.where(draws.flip[:, None], reverse_complement(codes), codes)
    conservation = None if conservation is None else turned(conservation, draws.flip)
    if shift:
        codes = moved(codes, draws.by, shift, NOTHING)
        if conservation is not None and with_conservation:
            conservation = moved(conservation, draws.by, shift, 0.0)
    x = one_hot(codes, n_value=0.0)
    return jnp.where((codes == NOTHING)[..., None], pad, x), conservation


def turned(values: jax.Array, flip: jax.Array) -> jax.Array:
    """Values (B, P, ...) along the sequence, in the other direction where `flip` (B,)."""
    return jnp.where(flip.reshape(-1, *[1] * (values.ndim - 1)), values[:, ::-1], values)
