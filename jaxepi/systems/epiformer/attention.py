"""Self-attention with learned relative positions, and the encoder layer around it.

Letters besides those of the house: P positions, H heads, D width of a head, F width of the feed-forward block, Q
queries that are looked at together. A table of distances has 2 M - 1 rows, for query l and key r row l - r + M - 1.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.layers.keras_like import dropout
from jaxepi.layers.torch_like import layer_norm, linear

POSITIONS = ("relative_key", "relative_key_query", "none")


def skewed(products: jax.Array, places: int) -> jax.Array:
    """Row i of the result begins at column N - 1 - i of row i: (..., N, W) -> (..., N, places), W >= N - 1 + places.

    One column more and another row length move each row by one place against the row before it, so that nothing is
    gathered.
    """
    rows, width = products.shape[-2:]
    lead = products.shape[:-2]
    flat = jnp.pad(products, [(0, 0)] * (len(lead) + 1) + [(0, 1)]).reshape(*lead, rows * (width + 1))
    return flat[..., rows - 1 : rows - 1 + rows * width].reshape(*lead, rows, width)[..., :places]


class SelfAttention(nnx.Module):
    """Scores are products of queries and keys, and of them with the table's row of their distance, over sqrt(D).

    There is no projection of the heads' outputs.
    """

    def __init__(
        self, width: int, heads: int, positions: str, rate: float, queries: int, *, dtype: Any, rngs: nnx.Rngs
    ):
        """`queries`: at most so many rows of scores are held at a time, for all heads; `rate`: of the dropout."""
        self.heads, self.positions, self.rate, self.queries, self.dtype = heads, positions, rate, queries, dtype
        self.query, self.key, self.value = (linear(width, width, dtype=dtype, rngs=rngs) for _ in range(3))
        table = (2 * width - 1, width // heads)
        self.distance = None if positions == "none" else nnx.Param(jax.random.normal(rngs.params(), table))

    def __call__(
        self, x: jax.Array, rng: jax.Array | None = None, *, maps: bool = False
    ) -> tuple[jax.Array, jax.Array | None]:
        """x (B, P, C) -> (B, P, C), and with `maps` the softmax weights (B, H, P, P) before dropout, float32."""
        batch, places, width = x.shape
        split = (batch, places, self.heads, -1)
        query = (self.query(x) * (width // self.heads) ** -0.5).reshape(split).transpose(0, 2, 1, 3)
        key, value = (layer(x).reshape(split).transpose(0, 2, 1, 3) for layer in (self.key, self.value))
        table = None if self.distance is None else self._table(places)
        count = -(-places // self.queries)
        rows = -(-places // count)  # in each part, of which the last one is filled up
        parts = jnp.pad(query, [(0, 0), (0, 0), (0, count * rows - places), (0, 0)])
        parts = parts.reshape(batch, self.heads, count, rows, -1).transpose(2, 0, 1, 3, 4)
        attend = functools.partial(self._attend, key=key, value=value, table=table, rng=rng, maps=maps)
        if count == 1:
            mixed, weights = attend(jnp.zeros((), jnp.int32), parts[0])
            mixed, weights = mixed[None], None if weights is None else weights[None]
        else:
            # Each part's scores are computed again in the backward pass rather than kept.
            mixed, weights = jax.lax.map(lambda part: jax.checkpoint(attend)(*part), (jnp.arange(count), parts))
        mixed = mixed.transpose(1, 0, 3, 2, 4).reshape(batch, count * rows, width)[:, :places]
        if weights is not None:
            weights = weights.transpose(1, 2, 0, 3, 4).reshape(batch, self.heads, count * rows, places)[:, :, :places]
        return mixed, weights

    def _table(self, places: int) -> jax.Array:
        """The rows of distances P - 1 to 1 - P (2 P - 1, D), so that keys run forward."""
        table = self.distance[...]
        centre = (len(table) - 1) // 2
        return table[centre - places + 1 : centre + places][::-1].astype(self.dtype)

    def _attend(
        self,
        part: jax.Array,
        query: jax.Array,
        *,
        key: jax.Array,
        value: jax.Array,
        table: jax.Array | None,
        rng: jax.Array | None,
        maps: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Outputs (B, H, Q, D) of part number `part` of the queries (B, H, Q, D), and perhaps the weights."""
        wide = {"preferred_element_type": jnp.promote_types(self.dtype, jnp.float32)}
        scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, **wide)
        if table is not None:
            rows, places = query.shape[2], key.shape[2]
            # Query l meets key r at row P - 1 - l + r of the table: of this part these rows, filled up as the queries.
            beyond = -places % rows
            window = jnp.pad(table, [(beyond, 0), (0, 0)])
            first = places - rows + beyond - part * rows
            window = jax.lax.dynamic_slice_in_dim(window, first, places + rows - 1)
            scores = scores + skewed(jnp.einsum("bhqd,nd->bhqn", query, window, **wide), places)
            if self.positions == "relative_key_query":
                # Of key r and the queries of the part in turn: the same rows backward.
                products = jnp.einsum("bhkd,nd->bhkn", key * key.shape[-1] ** -0.5, window[::-1], **wide)
                scores = scores + skewed(products, rows).swapaxes(2, 3)
        weights = jax.nn.softmax(scores, axis=-1)
        key_of_part = None if rng is None else jax.random.fold_in(rng, part)
        mixed = jnp.einsum("bhqk,bhkd->bhqd", dropout(weights, self.rate, key_of_part).astype(self.dtype), value)
        return mixed, weights if maps else None


def gated(x: jax.Array) -> jax.Array:
    """silu(x) * x: what the original calls SwiGLU, with both factors from the same numbers."""
    return jax.nn.silu(x) * x


class EncoderLayer(nnx.Module):
    """Attention, then a feed-forward block; both are added to their input and normalised (post-norm)."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        positions: str,
        *,
        attention_rate: float,
        rate: float,
        queries: int,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.attention = SelfAttention(width, heads, positions, attention_rate, queries, dtype=dtype, rngs=rngs)
        self.expand = linear(width, hidden, dtype=dtype, rngs=rngs)
        self.contract = linear(hidden, width, dtype=dtype, rngs=rngs)
        self.norm_attention = layer_norm(width, dtype=dtype, rngs=rngs)
        self.norm_out = layer_norm(width, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: jax.Array, rng: jax.Array | None = None, *, maps: bool = False
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """x (B, P, C) -> (B, P, C), and with `maps` what `attention` gives as "context" and "attention"."""
        keys = [None] * 4 if rng is None else list(jax.random.split(rng, 4))
        context, weights = self.attention(x, keys[0], maps=maps)
        x = self.norm_attention(x + dropout(context, self.rate, keys[1]))
        hidden = gated(dropout(self.expand(x), self.rate, keys[2]))
        x = self.norm_out(x + dropout(self.contract(hidden), self.rate, keys[3]))
        return x, {} if weights is None else {"context": context, "attention": weights}
