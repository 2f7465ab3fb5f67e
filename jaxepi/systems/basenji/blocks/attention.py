"""Transformer blocks of the Basenji programs and their successor: attention with relative positions (as in Enformer).

Letters in shapes: B batch, T positions, C channels, H heads, K channels of a key and V of a value of one head.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.layers.keras_like import NORM_EPSILON
from jaxepi.systems.basenji.blocks.sequences import Arguments, Dropout, Linear, Made, called, initializer
from jaxepi.systems.basenji.vocabulary import Shape


def position_features(length: int, count: int, reference: int | None = None) -> np.ndarray:
    """Features (2T - 1, count) float32 of the distances -(T - 1) to T - 1.

    The first half says for each of count / 2 widths, which grow exponentially up to T (or `reference`), whether the
    distance is below it; the second half is the same with the sign of the distance.
    """
    half = count // 2
    growth = np.exp(np.log((reference or length) + 1) / half).astype(np.float32)
    widths = np.power(growth, np.arange(1, half + 1, dtype=np.float32)) - 1
    distance = np.arange(-length + 1, length, dtype=np.float32)
    near = (widths[None, :] > np.abs(distance)[:, None]).astype(np.float32)
    return np.concatenate([near, np.sign(distance)[:, None] * near], axis=1)


def by_distance(x: jax.Array) -> jax.Array:
    """Entry (i, j) of (..., T, T) is the entry of x (..., T, 2T - 1) at (i, distance j - i)."""
    *rest, length, distances = x.shape
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 0)]).reshape(*rest, distances + 1, length)
    return padded[..., 1:, :].reshape(*rest, length, distances)[..., :length]


class Attention(nnx.Module):
    """Multi-head attention: logits q·k of contents, and q·r of distances, each q with a bias of its own."""

    def __init__(self, channels: int, given: Arguments, made: Made):
        self.heads, self.key = given["heads"], given["key_size"]
        keys = self.heads * self.key
        plain = {"kernel_initializer": given["mha_initializer"], "l2_scale": given["mha_l2_scale"]}
        self.features = given["num_position_features"] or channels // self.heads // 2 * 2
        self.reference, self.content_bias = given["seqlen_train"], given["content_position_bias"]
        init, shape = initializer(given["mha_initializer"]), (1, self.heads, 1, self.key)
        self.content_offset = nnx.Param(init(made.rngs.params(), shape, jnp.float32))
        self.distance_offset = nnx.Param(init(made.rngs.params(), shape, jnp.float32))
        self.query = Linear(channels, keys, plain, made, bias=False)
        self.keys = Linear(channels, keys, plain, made, bias=False)
        self.value = Linear(channels, channels, plain, made, bias=False)
        self.out = Linear(channels, channels, {**plain, "kernel_initializer": "zeros"}, made, bias=True)
        self.distance = Linear(self.features, keys, plain, made, bias=False)
        self.position_dropout = Dropout(given["position_dropout"], made)
        self.weight_dropout = Dropout(given["attention_dropout"], made)
        self.dtype = made.dtype

    def __call__(self, x: jax.Array, rng: jax.Array | None) -> jax.Array:
        """(B, T, C) -> the same shape."""

        def split(y: jax.Array) -> jax.Array:
            return y.reshape(*y.shape[:2], self.heads, -1).swapaxes(1, 2)  # (B, H, T, K)

        query, key, value = split(self.query(x)) * self.key**-0.5, split(self.keys(x)), split(self.value(x))
        features = jnp.asarray(position_features(x.shape[1], self.features, self.reference), x.dtype)[None]
        distance = split(self.distance(self.position_dropout(features, rng)))[0]  # (H, 2T - 1, K)
        content = query + self.content_offset[...].astype(x.dtype)
        offset = self.distance_offset[...].astype(x.dtype)
        where = query + offset if self.content_bias else jnp.broadcast_to(offset, query.shape)
        logits = jnp.einsum("bhik,bhjk->bhij", content, key)
        logits = logits + by_distance(jnp.einsum("bhik,hdk->bhid", where, distance))
        weights = jax.nn.softmax(logits.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=-1).astype(x.dtype)
        seen = jnp.einsum("bhij,bhjv->bihv", self.weight_dropout(weights, rng), value)
        return self.out(seen.reshape(x.shape))


class Transformer(nnx.Module):
    """transformer: norm, attention, dropout, added; norm, two dense layers with dropout, added."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        channels = shape[-1]
        norm = {"epsilon": NORM_EPSILON, "use_fast_variance": False, "dtype": made.dtype, "rngs": made.rngs}
        self.norm_attention = nnx.LayerNorm(channels, **norm)
        self.attention = Attention(channels, given, made)
        self.dropout_attention = Dropout(given["dropout"], made)
        wide = int(given["dense_expansion"] * channels)
        self.norm_dense = nnx.LayerNorm(channels, **norm) if wide else None
        self.expand = Linear(channels, wide, given, made, bias=True) if wide else None
        self.contract = Linear(wide, channels, given, made, bias=True) if wide else None
        self.dropout_expand, self.dropout_contract = (Dropout(given["dropout"], made) for _ in range(2))

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = x + self.dropout_attention(self.attention(self.norm_attention(x), rng), rng)
        if self.expand is None:
            return x
        y = nnx.relu(self.dropout_expand(self.expand(self.norm_dense(x)), rng))
        return x + self.dropout_contract(self.contract(y), rng)


class TransformerTower(nnx.Module):
    """transformer_tower: `repeat` transformers one after the other."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.steps = nnx.List([Transformer(shape, given, made) for _ in range(given["repeat"])])
        self.remat = made.remat

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        for step in self.steps:
            x = called(step, x, rng, self.remat)
        return x
