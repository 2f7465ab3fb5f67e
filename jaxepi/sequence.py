"""DNA as base codes and one-hot arrays: the same functions for NumPy and jax arrays.

A sequence is stored as one byte a base: A C G T = 0..3 and N (any ambiguous base) = 4. Everything that a model eats is
derived from these codes, on the device. Letters in shapes: `...` any leading axes, L base pairs.
"""

import warnings
from types import ModuleType
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError

BASES = "ACGT"
A, C, G, T, N = range(5)
NOTHING = 5  # in memory only: a base that is not there at all, whose one-hot row is zero

Array = Any  # a NumPy or a jax array

AMBIGUITY_CODES = "RYSWKMBDHV"  # of IUPAC, beside N
MANY_AMBIGUOUS = 0.05  # share of them above which the user is told
_FOREIGN = 255
_CODE_OF_BYTE = np.full(256, _FOREIGN, np.uint8)
for _letters, _code in [*zip(BASES, range(4), strict=True), ("U", T), ("N" + AMBIGUITY_CODES, N)]:
    _CODE_OF_BYTE[list((_letters + _letters.lower()).encode())] = _code
_BYTE_OF_CODE = np.frombuffer(b"ACGTN", np.uint8)
_COMPLEMENT = np.array([T, G, C, A, N, NOTHING], np.uint8)


def _namespace(array: Array) -> ModuleType:
    """NumPy for NumPy arrays, jax.numpy for everything that jax made."""
    if isinstance(array, np.ndarray | np.generic | list | tuple | int | float):
        return np
    import jax.numpy as jnp

    return jnp


class ForeignLetter(JaxepiError):
    """A letter that stands for no base; `letter` and its `place`, counted from 0."""

    def __init__(self, letter: str, place: int):
        super().__init__(
            f"letter {place + 1} of the sequence is {letter!r}: A, C, G, T (or U), N and the ambiguity codes "
            f"{AMBIGUITY_CODES} were expected"
        )
        self.letter, self.place = letter, place

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.letter, self.place)


def encode(sequence: str | bytes) -> np.ndarray:
    """Letters to codes: (L,) uint8. Lower case equals upper case, U equals T; IUPAC's ambiguity codes become N.

    Warns if more than 5 % of the letters are ambiguity codes other than N.

    Raises:
      ForeignLetter: a letter outside IUPAC's, such as a gap, a digit, a blank or an amino acid.
    """
    codes, ambiguous = encode_counted(sequence)
    if ambiguous > MANY_AMBIGUOUS * codes.size:
        text = f"{ambiguous} of {codes.size} letters of a sequence are ambiguity codes ({AMBIGUITY_CODES}), read as N"
        warnings.warn(text, stacklevel=2)
    return codes


def encode_counted(sequence: str | bytes) -> tuple[np.ndarray, int]:
    """Codes (L,) uint8 as `encode` gives them, without its warning, and how many ambiguity codes other than N."""
    raw = sequence.encode("ascii", "replace") if isinstance(sequence, str) else bytes(sequence)
    codes = _CODE_OF_BYTE[np.frombuffer(raw, np.uint8)]
    if codes.max(initial=0) == _FOREIGN:
        place = int(codes.argmax())
        letter = sequence[place] if isinstance(sequence, str) else chr(raw[place])
        raise ForeignLetter(letter, place)
    unknown = int(np.count_nonzero(codes == N))
    return codes, unknown and unknown - raw.count(b"N") - raw.count(b"n")


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
    hot = xp.where(codes == xp.arange(4, dtype=codes.dtype).reshape((1,) * (codes.ndim - 1) + (4,)), 1.0, 0.0)
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
