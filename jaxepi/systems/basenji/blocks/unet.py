"""Blocks by which a network goes back to finer bins: towers that keep what they pooled, and what joins it again."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.layers.activations import activate
from jaxepi.layers.keras_like import max_pool
from jaxepi.systems.basenji.blocks.sequences import (
    Arguments,
    ConvNac,
    Dropout,
    Linear,
    Made,
    Scale,
    SeparableConv,
    SoftmaxPool,
    normalisation,
)
from jaxepi.systems.basenji.vocabulary import Shape, tower_filters


class ResidualStep(nnx.Module):
    """A step of res_tower before its pool: a conv_nac, and perhaps more of width 1 whose scaled output is added."""

    def __init__(self, shape: Shape, given: Arguments, filters: int, made: Made):
        inside = {**given, "filters": filters, "pool_size": 1, "dropout": 0.0}
        self.first = ConvNac(shape, inside, made)
        more = {**inside, "kernel_size": 1}
        self.more = nnx.List([ConvNac((filters,), more, made) for _ in range(given["num_convs"] - 1)])
        self.dropout = Dropout(given["dropout"], made)
        self.scale = Scale(filters) if self.more else None

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = y = self.first(x, rng)
        for conv in self.more:
            y = conv(y, rng)
        y = self.dropout(y, rng)
        return y if self.scale is None else x + self.scale(y)


class ResidualTower(nnx.Module):
    """res_tower: `ResidualStep`s whose filters grow, each followed by a pool with padding "same"."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        steps, pools, channels = [], [], shape[-1]
        self.size = given["pool_size"]
        for filters in tower_filters(given):
            steps.append(ResidualStep((channels,), given, filters, made))
            if self.size > 1 and given["pool_type"] == "softmax":
                pools.append(SoftmaxPool(filters, self.size, made))
            channels = filters
        self.steps, self.pools, self.remat = nnx.List(steps), nnx.List(pools), made.remat

    def unpooled(self, x: jax.Array, rng: jax.Array | None) -> tuple[jax.Array, list[jax.Array]]:
        """The output, and what each step makes before its pool."""
        seen = []
        for number, step in enumerate(self.steps):
            run = nnx.remat(type(step).__call__) if self.remat else type(step).__call__
            x = run(step, x, rng)
            seen.append(x)
            if self.size > 1:
                x = self.pools[number](x) if self.pools else max_pool(x, self.size, "same")
        return x, seen

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return self.unpooled(x, rng)[0]


class FpnUnet(nnx.Module):
    """fpn_unet: norm, activation and dense layer of the input and of a finer map; the input is repeated to its length,
    both are added and go through a separable convolution."""

    def __init__(self, shape: Shape, finer: Shape, given: Arguments, made: Made):
        channels, self.stride = shape[-1], given["stride"]
        self.norm, self.norm_finer = normalisation(channels, given, made), normalisation(finer[-1], given, made)
        self.dense = Linear(channels, channels, given, made, bias=True)
        self.dense_finer = Linear(finer[-1], channels, given, made, bias=True)
        self.conv = SeparableConv(channels, channels, given["kernel_size"], given, made, bias=True)
        self.dropout = Dropout(given["dropout"], made)
        self.activation, self.gelu = given["activation"], made.gelu

    def __call__(self, x: jax.Array, finer: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        """(B, L, C) and (B, stride · L, C') -> (B, stride · L, C)."""
        x, finer = (
            activate(y if norm is None else norm(y), self.activation, self.gelu)
            for y, norm in ((x, self.norm), (finer, self.norm_finer))
        )
        x = jnp.repeat(self.dense(x), self.stride, axis=1) + self.dense_finer(finer)
        return self.dropout(self.conv(x), rng)
