"""Predicted bins as files hold them: number types, tracks, and what is counted on the way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from google_crc32c import Checksum

from jaxepi.errors import JaxepiError

LARGEST = float(np.finfo(np.float16).max)


def as_kind(values: jax.Array, kind: type[np.generic]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values (B, ...) as float16 or float32, on the device.

    Returns: the values; whether all of a row are finite (B,); how many of a row are beyond float16 (B,), and are
    written as its largest.
    """
    further = tuple(range(1, values.ndim))
    finite = jnp.isfinite(values).all(axis=further)
    if kind == np.float32:
        return values.astype(jnp.float32), finite, jnp.zeros(len(values), jnp.int32)
    beyond = (jnp.abs(values) > LARGEST).sum(axis=further, dtype=jnp.int32)
    return jnp.clip(values, -LARGEST, LARGEST).astype(jnp.float16), finite, beyond


def check_finite(finite: np.ndarray, place: Callable[[int], str]) -> None:
    """Raises JaxepiError with the place of the first row (B,) that is not."""
    if not finite.all():
        raise JaxepiError(f"The model gives NaN or infinity at {place(int(np.argmin(finite)))}.")


def notes_of(state: Mapping[str, int]) -> list[str]:
    """Sentences on what a job counted."""
    beyond = state.get("beyond", 0)
    return [f"values beyond the range of float16, written as {LARGEST:.0f}: {beyond:,}"] * bool(beyond)


def short_list(names: Sequence[str], what: str = "tracks") -> Any:
    """Names for the arguments of a job: of many, how many and a checksum; `what` they name."""
    if len(names) <= 16:
        return list(names)
    return f"{len(names)} {what}, {Checksum(chr(10).join(names).encode()).hexdigest().decode()}"
