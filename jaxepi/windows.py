"""Windows of sequence in the forms that people have them: strings, base codes, one-hot arrays. L is base pairs."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import sequence
from jaxepi.errors import JaxepiError


def as_windows(given: Any, length: int) -> np.ndarray:
    """Windows of exactly `length` bp as base codes (B, L) uint8 or one-hot (B, L, 4) float32.

    Args:
      given: one sequence or any iterable of them (`str`, `bytes`, `Bio.Seq`, slices of a pyfaidx file, a NumPy array of
        strings), base codes (L,) or (B, L) integer, or one-hot (L, 4) or (B, L, 4) of a float, integer or bool type.

    Raises:
      JaxepiError: a window of another length, a letter that stands for no base, or an array of another kind.
    """
    given = _listed(given)
    if isinstance(given, list):
        for i, letters in enumerate(given):
            if len(letters) != length:
                raise JaxepiError(
                    f'Sequence {i} has {len(letters)} bp, but this model takes {length} bp (predict(..., pad="N") '
                    "takes the centre of longer ones and puts N around shorter ones)."
                )
        codes = [sequence.encode(letters) for letters in given]
        return np.stack(codes) if codes else np.empty((0, length), np.uint8)
    x = given
    if x.shape == (length, 4) or x.ndim == 1:  # one window
        x = x[None]
    integer, floating = x.dtype.kind in "iu", jnp.issubdtype(x.dtype, jnp.floating)
    is_codes = integer and x.ndim == 2
    is_hot = (floating or integer or x.dtype.kind == "b") and x.ndim == 3 and x.shape[-1] == 4
    if x.ndim == 3 and x.shape[1:] == (4, length) and length != 4:
        raise JaxepiError(
            f"An array of shape {x.shape} has its channels before its bases, as PyTorch takes them: one-hot "
            f"(B, {length}, 4) was expected, which x.transpose(0, 2, 1) or np.swapaxes(x, 1, 2) gives."
        )
    if not (is_codes or is_hot) or x.shape[1] != length:
        raise JaxepiError(
            f"An array of shape {x.shape} and type {x.dtype} is no batch of windows: expected strings, codes "
            f"(B, {length}) of an integer type, or one-hot (B, {length}, 4) of a float, integer or bool type."
        )
    if is_hot and integer and x.size and not 0 <= x.min() <= x.max() <= 1:
        raise JaxepiError(f"A one-hot array of {x.dtype} holds values from {x.min()} to {x.max()}, but 0 and 1 only.")
    if is_hot and floating and not np.isfinite(x).all():
        raise JaxepiError(f"A one-hot array {x.shape} holds NaN or infinity, but finite numbers were expected.")
    if is_codes and x.size and not 0 <= x.min() <= x.max() <= sequence.N:
        raise JaxepiError(f"Base codes reach from {x.min()} to {x.max()}, but A C G T N are 0 to {sequence.N}.")
    return x.astype(np.uint8 if is_codes else np.float32, copy=False)


def centred(given: Any, length: int) -> np.ndarray:
    """Codes (B, L) uint8 of sequences of any length: the centre of longer ones, N around shorter ones.

    This is what the command line makes of the records of a FASTA file.

    Args:
      given: sequences as `as_windows` takes them, or base codes (L,) or (B, L).
      length: L in bp.

    Raises:
      JaxepiError: it is neither.
    """
    given = _listed(given)
    rows = given if isinstance(given, list) else np.atleast_2d(given)
    windows = np.full((len(rows), length), sequence.N, np.uint8)
    for window, row in zip(windows, rows, strict=True):
        codes = sequence.encode(row) if isinstance(row, str) else as_windows(row, row.shape[0])[0]
        if codes.ndim != 1:
            raise JaxepiError('One-hot arrays have one length: leave out pad="N", which is for sequences and codes.')
        if codes.size >= length:
            start = (codes.size - length) // 2
            window[:] = codes[start : start + length]
        else:
            start = (length - codes.size) // 2
            window[start : start + codes.size] = codes
    return windows


def _listed(given: Any) -> list[str] | np.ndarray:
    """Sequences as a list of strings, anything else as an array.

    Raises:
      JaxepiError: a list of some sequences and something else, or of arrays of several lengths.
    """
    letters = _letters(given)
    if letters is not None:
        return [letters]
    if not hasattr(given, "ndim"):
        given = list(given) if isinstance(given, Iterable) else given
    elif np.asarray(given).dtype.kind in "USO":
        given = np.asarray(given).ravel().tolist()
    if isinstance(given, list):
        texts = [_letters(item) for item in given]
        found = [text for text in texts if text is not None]
        if len(found) == len(texts):
            return found
        if found:
            place = texts.index(None)
            raise JaxepiError(f"Item {place} is a {type(given[place]).__name__} among sequences: give one kind only.")
    try:
        return np.asarray(given)
    except ValueError as problem:
        raise JaxepiError(f"The windows make no array ({problem}): all must have the model's length.") from problem


def _letters(given: Any) -> str | None:
    """The text of one sequence; None if it is none."""
    if isinstance(given, bytes | bytearray):
        return given.decode("ascii", "replace")
    if isinstance(given, str):
        return str(given)
    own = getattr(given, "seq", None)  # a slice of pyfaidx, a record of Biopython
    if own is not None:
        return str(own)
    return str(given) if hasattr(given, "reverse_complement") and hasattr(given, "__bytes__") else None  # Bio.Seq


def hot(windows: jax.Array, **options: Any) -> jax.Array:
    """What `as_windows` gave as one-hot (B, L, 4) float32, on the device; options are those of `sequence.one_hot`."""
    return sequence.one_hot(windows, jnp.float32, **options) if windows.ndim == 2 else windows.astype(jnp.float32)


def moved(values: jax.Array, by: jax.Array, most: int, fill: Any) -> jax.Array:
    """Values (B, L) moved to the right by `by` (B,) bases, at most `most` either way; `fill` comes in."""
    padded = jnp.pad(values, [(0, 0), (most, most)], constant_values=fill)

    def one(row: jax.Array, by: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(row, (most - by,), (values.shape[1],))

    return jax.vmap(one)(padded, by)
