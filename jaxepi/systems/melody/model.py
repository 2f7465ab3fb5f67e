"""Melody: a U-Net over 10 kb that gives a methylation logit at every base (Jin et al., Nature Communications 2026).

        one-hot (B, L, 4)
          | six encoder levels, strides 1 4 5 5 4 5: Conv17 + GroupNorm, then two residual ConvBlocks
          | five decoder levels, factors 5 4 5 5 4: Upsample, Conv17 + GroupNorm, two ConvBlocks, + encoder level
        trunk (B, L, C) -> signal head (every base), CpG-count and mean-methylation heads (every 100 bp)

Every GroupNorm takes its statistics over the whole window, so an output depends on all of it.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.layers.torch_like import GroupNorm, conv1d, max_pool, upsample_conv1d

STRIDES = (1, 4, 5, 5, 4, 5)
FACTORS = (5, 4, 5, 5, 4)
SEGMENT = 100  # bp of one bin of the two regional heads


@dataclasses.dataclass(frozen=True)
class MelodyConfig:
    """Sizes of Melody ST (tracks=1) and MT (tracks=39)."""

    width: int = 256  # channels of the trunk; the ConvBlocks are twice as wide inside
    tracks: int = 39  # methylation tracks, one output channel each
    count_classes: int = 7  # classes of the CpG-count head
    dtype: str = "float32"  # compute dtype: float32 or bfloat16 (parameters stay float32)
    remat: bool = False  # recompute levels in the backward pass: less memory on accelerators, a third more work


class MelodyOutputs(NamedTuple):
    """What Melody returns. T = L / 100 segments."""

    logits: jax.Array  # (B, L, K) float32; sigmoid gives methylation
    cg_count: jax.Array  # (B, T, count_classes) float32 class logits
    methy_avg: jax.Array  # (B, T, K) float32 mean methylation of the segment's CpGs, linear
    intermediates: dict[str, jax.Array] | None = None


class ConvBlock(nnx.Module):
    """Residual block: Conv9 (C -> 2C), GroupNorm, SiLU, Conv1 (2C -> C), GroupNorm, added to the input."""

    def __init__(self, channels: int, *, dtype: Any, rngs: nnx.Rngs):
        self.conv_in = conv1d(channels, 2 * channels, 9, bias=False, dtype=dtype, rngs=rngs)
        self.norm_in = GroupNorm(2 * channels, dtype=dtype)
        self.conv_out = conv1d(2 * channels, channels, 1, bias=False, dtype=dtype, rngs=rngs)
        self.norm_out = GroupNorm(channels, dtype=dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, C) -> (B, L, C)."""
        return x + self.norm_out(self.conv_out(self.norm_in(self.conv_in(x), nnx.silu)))


class Level(nnx.Module):
    """One resolution of the U-Net: Conv17 (strided, or after upsampling) + GroupNorm, then two ConvBlocks."""

    def __init__(
        self, channels_in: int, channels: int, *, stride: int = 1, factor: int = 1, dtype: Any, rngs: nnx.Rngs
    ):
        self.factor = factor
        self.conv = conv1d(channels_in, channels, 17, stride=stride, dtype=dtype, rngs=rngs)
        self.norm = GroupNorm(channels, dtype=dtype)
        self.blocks = nnx.List([ConvBlock(channels, dtype=dtype, rngs=rngs) for _ in range(2)])

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, Cin) -> (B, L / stride or L * factor, C)."""
        x = self.norm(self.conv(x) if self.factor == 1 else upsample_conv1d(self.conv, x, self.factor))
        for block in self.blocks:
            x = block(x)
        return x


class Head(nnx.Module):
    """Pointwise convolutions with GroupNorm and ReLU between them; the last one is linear."""

    def __init__(self, channels: list[int], *, dtype: Any, rngs: nnx.Rngs):
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.convs = nnx.List([conv1d(a, b, 1, dtype=dtype, rngs=rngs) for a, b in pairs])
        self.norms = nnx.List([GroupNorm(b, dtype=dtype) for _, b in pairs[:-1]])

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, C) -> (B, L, outputs) float32."""
        for conv, norm in zip(self.convs, self.norms, strict=False):
            x = norm(conv(x), nnx.relu)
        return self.convs[-1](x).astype(jnp.float32)


class Melody(nnx.Module):
    """Melody ST and MT. L must be a multiple of 2000 (the product of the strides)."""

    def __init__(self, config: MelodyConfig, *, rngs: nnx.Rngs):
        self.config = config
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.encoder = nnx.List(
            [
                Level(4 if i == 0 else width, width, stride=stride, dtype=dtype, rngs=rngs)
                for i, stride in enumerate(STRIDES)
            ]
        )
        self.decoder = nnx.List([Level(width, width, factor=factor, dtype=dtype, rngs=rngs) for factor in FACTORS])
        self.head_signal = Head([width, width, config.tracks], dtype=dtype, rngs=rngs)
        self.head_count = Head([width, width, config.count_classes], dtype=dtype, rngs=rngs)
        self.head_average = Head([width, width, width // 2, config.tracks], dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, *, intermediates: bool = False) -> MelodyOutputs:
        """One-hot windows (B, L, 4) float to `MelodyOutputs`.

        With `intermediates`, the fourth field holds `encoder_i` and `decoder_j` (before the skip is added) as
        (B, L_level, C), and `trunk` (B, L, C).

        Raises:
          JaxepiError: L is not a multiple of 2000, or x has not four channels.
        """
        if x.ndim != 3 or x.shape[2] != 4:
            raise JaxepiError(f"Melody takes one-hot input of shape (batch, length, 4), but got {x.shape}.")
        check_window(x.shape[1])
        run = nnx.remat(Level.__call__) if self.config.remat else Level.__call__
        h = x.astype(self.config.dtype)
        skips, seen = [], {}
        for i, level in enumerate(self.encoder):
            h = run(level, h)
            skips.append(h)
            seen[f"encoder_{i}"] = h
        for j, level in enumerate(self.decoder):
            z = run(level, h)
            h = skips[len(skips) - 2 - j] + z
            seen[f"decoder_{j}"] = z
        seen["trunk"] = h
        pooled = max_pool(h, SEGMENT)
        return MelodyOutputs(
            self.head_signal(h),
            self.head_count(pooled),
            self.head_average(pooled),
            seen if intermediates else None,
        )


def check_window(length: int) -> None:
    """Raises JaxepiError if Melody cannot take windows of `length` bp."""
    unit = math.prod(STRIDES)
    if length < unit or length % unit:
        nearest = max(unit, round(length / unit) * unit)
        raise JaxepiError(
            f"Melody takes windows whose length is a multiple of {unit} bp, but got {length}; "
            f"the nearest that works is {nearest}."
        )
