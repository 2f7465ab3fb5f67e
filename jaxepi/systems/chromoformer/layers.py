"""The layers of Chromoformer: post-norm attention with many queries or, without building keys and values, with one.

Letters besides those of the house: M features of a key, n keys, q queries, E width, D width of a head.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.layers.torch_like import Kept, layer_norm, linear

MASKED_SCORE = -1e9  # takes the place of a masked score


class Stream(NamedTuple):
    """Keys of an attention, x = features kernel + positions (..., n, E), of which x itself need not be built."""

    features: jax.Array  # (..., n, M), or x itself where there is no kernel
    kernel: jax.Array | None = None  # (M, E)
    positions: jax.Array | None = None  # (n, E)

    def dense(self) -> jax.Array:
        """x (..., n, E)."""
        x = self.features if self.kernel is None else self.features @ self.kernel
        return x if self.positions is None else x + leading(self.positions, x.ndim)

    def scores(self, query: jax.Array) -> jax.Array:
        """Products of queries (..., H, E) with every x: (..., H, n)."""
        narrow = query if self.kernel is None else query @ self.kernel.T
        scores = jnp.einsum("...hm,...nm->...hn", narrow, self.features)
        return scores if self.positions is None else scores + query @ self.positions.T

    def mixture(self, weights: jax.Array) -> jax.Array:
        """Weighted sums of x: weights (..., H, n) -> (..., H, E)."""
        mixed = jnp.einsum("...hn,...nm->...hm", weights, self.features)
        mixed = mixed if self.kernel is None else mixed @ self.kernel
        return mixed if self.positions is None else mixed + weights @ self.positions


def leading(x: jax.Array, ndim: int) -> jax.Array:
    """x with axes of one before it up to `ndim`: broadcasting is said, not left to rank promotion."""
    return x.reshape((1,) * (ndim - x.ndim) + x.shape)


def masked_softmax(scores: jax.Array, mask: jax.Array, empty_rows: str) -> jax.Array:
    """Softmax over the last axis, at least float32, without the places where `mask` (broadcastable) is True."""
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    weights = jax.nn.softmax(jnp.where(mask, MASKED_SCORE, scores), axis=-1)
    return jnp.where(mask.all(axis=-1, keepdims=True), 0.0, weights) if empty_rows == "zero" else weights


class FeedForward(nnx.Module):
    """Two linear layers with a ReLU between, added to the input and normalised."""

    def __init__(self, width: int, hidden: int, *, dtype: Any, rngs: nnx.Rngs) -> None:
        self.expand = linear(width, hidden, dtype=dtype, rngs=rngs)
        self.contract = linear(hidden, width, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., E) -> (..., E)."""
        return self.norm(x + self.contract(nnx.relu(self.expand(x))))


class AttentionLayer(nnx.Module):
    """Queries (and gates) of one stream, keys and values of another; residual, norm and a feed-forward block.

    Args of the constructor: `inner`, width of all heads together; `parts`, what each of the projections gives, of
    "query", "key", "value" and "gate"; `weighted`, whether a bias of the scores has a learned weight for each head.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        hidden: int,
        parts: Sequence[Sequence[str]],
        *,
        empty_rows: str,
        weighted: bool = False,
        dtype: Any,
        rngs: nnx.Rngs,
    ) -> None:
        self.heads, self.size, self.empty_rows, self.dtype = heads, inner // heads, empty_rows, dtype
        size = heads * self.size
        self.place = {part: (p, i * size) for p, names in enumerate(parts) for i, part in enumerate(names)}
        self.projections = nnx.List(
            [linear(width, len(names) * size, bias=False, dtype=dtype, rngs=rngs) for names in parts]
        )
        self.out = linear(size, width, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, dtype=dtype, rngs=rngs)
        self.feed_forward = FeedForward(width, hidden, dtype=dtype, rngs=rngs)
        # The original has this weight in every layer, but reads it only where there is a bias.
        self.bias_weight = (nnx.Param if weighted else Kept)(jnp.ones(heads, jnp.float32))

    def _kernel(self, part: str) -> jax.Array:
        """(E, H * D) in the compute dtype."""
        projection, first = self.place[part]
        kernel = self.projections[projection].kernel[...]
        return kernel[:, first : first + self.heads * self.size].astype(self.dtype)

    def _split(self, part: str, x: jax.Array) -> jax.Array:
        """(..., E) -> (..., H, D)."""
        return (x @ self._kernel(part)).reshape(*x.shape[:-1], self.heads, self.size)

    def one_query(self, x: jax.Array, keys: Stream, mask: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """One query a row: x (..., E), keys (..., n, E), mask (..., n) -> (..., E) and the traces.

        The keys' leading axes are those of x. Nothing of size n x H x D is built.
        """
        scale = self.size**-0.5
        key, value = (self._kernel(part).reshape(-1, self.heads, self.size) for part in ("key", "value"))
        query = jnp.einsum("...hd,ehd->...he", self._split("query", x) * scale, key)
        weights = masked_softmax(keys.scores(query), mask[..., None, :], self.empty_rows)
        mixed = jnp.einsum("...he,ehd->...hd", keys.mixture(weights.astype(self.dtype)), value)
        return self._finish(x, mixed, weights)

    def __call__(
        self, x: jax.Array, keys: jax.Array, mask: jax.Array, bias: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """x (..., q, E), keys (..., n, E), mask and bias broadcastable to (..., q, n) -> (..., q, E) and the traces."""
        query, key, value = self._split("query", x), self._split("key", keys), self._split("value", keys)
        scores = jnp.einsum("...qhd,...nhd->...hqn", query * self.size**-0.5, key)
        if bias is not None:
            weight = leading(self.bias_weight[...][:, None, None], scores.ndim)
            scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32)) + weight * bias[..., None, :, :]
        weights = masked_softmax(scores, mask[..., None, :, :], self.empty_rows)
        mixed = jnp.einsum("...hqn,...nhd->...qhd", weights.astype(self.dtype), value)
        return self._finish(x, mixed, weights)

    def _finish(self, x: jax.Array, mixed: jax.Array, weights: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """x (..., E) and what the heads read (..., H, D) -> the layer's output and its traces."""
        if "gate" in self.place:
            mixed = mixed * jax.nn.sigmoid(self._split("gate", x))
        attended = self.norm(x + self.out(mixed.reshape(*x.shape[:-1], self.heads * self.size)))
        return self.feed_forward(attended), {"attended": attended, "attention": weights}
