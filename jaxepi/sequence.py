"""DNA as base codes and one-hot arrays: the same functions for NumPy and jax arrays.

A sequence is stored as one byte a base: A C G T = 0..3 and N (any other letter) = 4. Everything that a model eats is
derived from these codes, on the device. Letters in shapes: `...` any leading axes, L base pairs.
"""

from types import ModuleType
from typing import Any

import numpy as np

BASES = "ACGT"
A, C, G, T, N = range(5)
NOTHING = 5  # in memory only: a base that is not there at all, whose one-hot row is zero

Array = Any  # a NumPy or a jax array

_CODE_OF_BYTE = np.full(256, N, np.uint8)
for _code, _base in enumerate(BASES):
    _CODE_OF_BYTE[[ord(_base), ord(_base.lower())]] = _code
_BYTE_OF_CODE = np.frombuffer(b"ACGTN", np.uint8)
_COMPLEMENT = np.array([T, G, C, A, N, NOTHING], np.uint8)


def _namespace(array: Array) -> ModuleType:
    """NumPy for NumPy arrays, jax.numpy for everything that jax made."""
    if isinstance(array, np.ndarray | np.generic | list | tuple | int | float):
        return np
    import jax.numpy as jnp

    return jnp


def encode(sequence: str | bytes) -> np.ndarray:
    """Letters to codes: (L,) uint8. Lower case equals upper case; every letter but A, C, G, T becomes N."""
    raw = sequence.encode("ascii", "replace") if isinstance(sequence, str) else bytes(sequence)
    return _CODE_OF_BYTE[np.frombuffer(raw, np.uint8)]


def decode(codes: np.ndarray) -> str:
    """Codes (L,) to upper-case letters."""
    return _BYTE_OF_CODE[np.asarray(codes)].tobytes().decode("ascii")


def one_hot(codes: Array, dtype: Any = np.float32, n_value: float = 0.25) -> Array:
    """Codes (..., L) to one-hot (..., L, 4), channels A C G T; an N row holds `n_value` four times."""
    xp = _namespace(codes)
    rows = np.concatenate([np.eye(4), np.full((1, 4), n_value), np.zeros((1, 4))])
    if xp is np:
        return rows.astype(dtype)[codes]
    codes = codes[..., None]
    hot = xp.where(codes == xp.arange(4, dtype=codes.dtype), 1.0, 0.0)
    return xp.where(codes == N, n_value, hot).astype(dtype)


def reverse_complement(codes: Array) -> Array:
    """Reverse complement of codes (..., L)."""
    xp = _namespace(codes)
    return xp.asarray(_COMPLEMENT)[codes[..., ::-1].astype(np.int32)].astype(codes.dtype)


def reverse_complement_one_hot(hot: Array) -> Array:
    """Reverse complement of a one-hot array (..., L, 4)."""
    return hot[..., ::-1, ::-1]


def shift(codes: Array, by: int) -> Array:
    """Moves codes (..., L) to the right by `by` bases (left if negative); the bases that come in are N."""
    xp = _namespace(codes)
    if by == 0:
        return codes
    kept = codes[..., :-by] if by > 0 else codes[..., -by:]
    filler = xp.full((*codes.shape[:-1], min(abs(by), codes.shape[-1])), N, codes.dtype)
    return xp.concatenate([filler, kept] if by > 0 else [kept, filler], axis=-1)


def is_cpg(codes: Array) -> Array:
    """Marks both letters of every CG in codes (..., L): bool (..., L). N never counts."""
    xp = _namespace(codes)
    dyad = (codes[..., :-1] == C) & (codes[..., 1:] == G)
    none = xp.zeros((*codes.shape[:-1], 1), bool)
    return xp.concatenate([dyad, none], axis=-1) | xp.concatenate([none, dyad], axis=-1)


def kmer_counts(codes: Array, length: int) -> Array:
    """How often each word of `length` bases occurs in codes (..., L): (..., 4**length) int32.

    Words are in alphabetical order (AA, AC, AG, AT, CA, ...) and may overlap; those with an N count for nothing.
    """
    xp = _namespace(codes)
    places = codes.shape[-1] - length + 1
    words = 4**length
    index = xp.zeros((*codes.shape[:-1], max(places, 0)), np.int32)
    known = xp.ones(index.shape, bool)
    for offset in range(length):
        letters = codes[..., offset : offset + index.shape[-1]].astype(np.int32)
        index, known = 4 * index + letters, known & (letters < N)
    # A row of the batch counts in its own stretch of one long vector; a word with an N counts in the place behind.
    rows = int(np.prod(codes.shape[:-1], dtype=np.int64))
    place = xp.where(known, index, words).reshape(rows, -1) + (words + 1) * xp.arange(rows)[:, None]
    counts = xp.bincount(place.ravel(), **{"minlength" if xp is np else "length": rows * (words + 1)})
    return counts.reshape(*codes.shape[:-1], words + 1)[..., :words].astype(np.int32)


def channels_of(alphabet: str) -> list[int]:
    """Where A, C, G and T stand in another order of the same letters.

    `x[..., channels_of("ATGC")]` brings an array (..., 4) whose channels are A T G C to the order A C G T.
    """
    return [alphabet.index(base) for base in BASES]
