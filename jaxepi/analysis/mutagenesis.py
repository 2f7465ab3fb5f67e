"""How a base change moves predictions: by the gradient, or exactly, by predicting every change.

The predictor is any function `predict(dna, *inputs) -> (B, K)` of one-hot windows (B, L, 4), channels A C G T, that jax
can trace; `inputs` are whatever else the model reads, such as the states and distances of neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.analysis.filter_motifs import middle_slice
from jaxepi.errors import JaxepiError
from jaxepi.sequence import one_hot

TARGETS = ("mean", "var")

Predict = Callable[..., jax.Array]
Effects = Callable[[np.ndarray, Sequence[Any]], np.ndarray]  # base codes (B, L) and further inputs to (B, W, 4)


def _target(target: str | int) -> Callable[[jax.Array], jax.Array]:
    """From outputs (B, K) to what is differentiated or compared, (B,)."""
    if target == "mean":
        return lambda outputs: outputs.mean(axis=1)
    if target == "var":
        return lambda outputs: outputs.var(axis=1)
    if isinstance(target, int):
        return lambda outputs: outputs[:, target]
    raise JaxepiError(f"target is {target!r}: 'mean', 'var' or the number of an output was expected.")


def gradient_function(predict: Predict, target: str | int = "mean", batch_size: int = 128) -> Effects:
    """`gradient_effects` of any codes and inputs, compiled once."""
    chosen = _target(target)

    @jax.jit
    def gradient(hot: jax.Array, *others: Any) -> jax.Array:
        # Sites do not mix, so the gradient of the sum holds each site's own.
        return jax.grad(lambda x: chosen(predict(x, *others)).sum())(hot)

    def effects(codes: np.ndarray, inputs: Sequence[Any] = ()) -> np.ndarray:
        made = [np.zeros((0, codes.shape[1], 4), np.float32)]
        for low in range(0, len(codes), batch_size):
            rows = _filled(codes[low : low + batch_size], batch_size)
            others = [_filled(np.asarray(x)[low : low + batch_size], batch_size) for x in inputs]
            part = gradient(one_hot(rows, np.float32, n_value=0.0), *others)
            made.append(np.asarray(part)[: len(codes) - low])
        return np.concatenate(made)

    return effects


def gradient_effects(
    predict: Predict, codes: np.ndarray, inputs: Sequence[Any] = (), target: str | int = "mean", batch_size: int = 128
) -> np.ndarray:
    """Gradient (B, L, 4) of a target by the one-hot sequence, as DeepCpG's `dcpg_snp`.

    Args:
      predict: see the module.
      codes: base codes (B, L); an N is a row of zeros.
      inputs: further inputs, first axis B.
      target: mean or var (over the K outputs), or the number of one output.
      batch_size: sites at a time.
    """
    return gradient_function(predict, target, batch_size)(codes, inputs)


def exact_function(
    predict: Predict, target: str | int = "mean", width: int | None = None, batch_size: int = 512
) -> Effects:
    """`exact_effects` of any codes and inputs, compiled once."""
    chosen, letters = _target(target), jnp.eye(4, dtype=jnp.float32)

    @jax.jit
    def scores(hot: jax.Array, place: jax.Array, base: jax.Array, *others: Any) -> jax.Array:
        rows = place.shape[0]
        changed = jnp.broadcast_to(hot[None], (rows, *hot.shape)).at[jnp.arange(rows), place].set(letters[base])
        repeated = [jnp.broadcast_to(x[None], (rows, *x.shape)) for x in others]
        return chosen(predict(changed, *repeated))

    @jax.jit
    def score(hot: jax.Array, *others: Any) -> jax.Array:
        return chosen(predict(hot[None], *(x[None] for x in others)))[0]

    def of_site(codes: np.ndarray, row: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
        hot, effects = one_hot(codes, np.float32, n_value=0.0), np.zeros((len(places), 4), np.float32)
        before = float(score(hot, *row))
        changes = [(i, base) for i, place in enumerate(places) for base in range(4) if codes[place] != base]
        for first in range(0, len(changes), batch_size):
            part = np.array(changes[first : first + batch_size])
            filled = _filled(part, batch_size)
            after = scores(hot, places[filled[:, 0]], filled[:, 1], *row)
            effects[part[:, 0], part[:, 1]] = np.asarray(after)[: len(part)] - before
        return effects

    def effects(codes: np.ndarray, inputs: Sequence[Any] = ()) -> np.ndarray:
        places = np.arange(codes.shape[1])[middle_slice(codes.shape[1], width)]
        rows = zip(np.asarray(codes), *map(np.asarray, inputs), strict=True)
        made = [of_site(own, others, places) for own, *others in rows]
        return np.stack(made) if made else np.zeros((0, len(places), 4), np.float32)

    return effects


def exact_effects(
    predict: Predict,
    codes: np.ndarray,
    inputs: Sequence[Any] = (),
    target: str | int = "mean",
    width: int | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Change (B, W, 4) of a target when a base is replaced by A, C, G or T; 0 for the base that is there.

    Args:
      predict, codes, inputs, target: see `gradient_effects`.
      width: bases in the middle that are mutated, the centre and width // 2 on both sides; None = all, W = L.
      batch_size: changed sequences at a time.

    An N is compared as it stands, a row of zeros.
    """
    return exact_function(predict, target, width, batch_size)(codes, inputs)


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows repeated to one size: one shape, one compilation."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]) if len(rows) < size else rows
