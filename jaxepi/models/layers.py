"""Blocks that several families share. Arrays are channels last: (B, L, C).

Parameters are float32; `dtype` is the compute dtype of convolutions and elementwise work. Statistics of normalisation
layers are always float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Initializer = Callable[..., jax.Array]


def torch_kernel_init() -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch's convolutions and linear layers."""
    return nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias_init(fan_in: int) -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for a bias, whose own shape does not tell the fan-in."""
    bound = float(fan_in) ** -0.5

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def conv1d(
    channels_in: int,
    channels_out: int,
    width: int,
    *,
    stride: int = 1,
    bias: bool = True,
    dtype: Any = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Cross-correlation over (B, L, Cin) with symmetric zero padding of width // 2, as torch pads.

    Output (B, (L - 1) // stride + 1, Cout) for odd widths. Kernel (width, Cin, Cout).
    """
    return nnx.Conv(
        channels_in,
        channels_out,
        (width,),
        strides=(stride,),
        padding=[(width // 2, width // 2)],
        use_bias=bias,
        kernel_init=torch_kernel_init(),
        bias_init=torch_bias_init(channels_in * width),
        dtype=dtype,
        rngs=rngs,
    )


def group_norm(channels: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """GroupNorm with one group: mean and variance over L and C together; epsilon 1e-5, two-pass variance."""
    return nnx.GroupNorm(channels, num_groups=1, epsilon=1e-5, use_fast_variance=False, dtype=dtype, rngs=rngs)


def upsample_conv1d(conv: nnx.Conv, x: jax.Array, factor: int) -> jax.Array:
    """`conv(repeat(x, factor))` without ever building the repeated array: (B, L, Cin) -> (B, factor * L, Cout).

    Neighbouring taps of the kernel meet the same repeated base, so their weights are added first: each of the `factor`
    output phases is a convolution of a few taps at the low resolution. Same numbers up to float32 rounding at
    about width / (2 * (width // (2 * factor)) + 1) of the multiplications. `conv` is an odd-width, stride-1 `conv1d`.
    """
    kernel = conv.kernel[...]
    width, _, channels_out = kernel.shape
    half = width // 2
    offset = np.arange(factor)[:, None] + np.arange(width)[None, :] - half
    tap = offset // factor  # (phase, width): which low-resolution neighbour each tap meets
    reach = max(-tap.min(), tap.max())
    chosen = (tap[:, :, None] == np.arange(-reach, reach + 1)).astype(np.float32)  # (phase, width, neighbour)
    merged = jnp.einsum("pwn,wio->nipo", chosen, kernel).reshape(2 * reach + 1, -1, factor * channels_out)
    dtype = conv.dtype or x.dtype
    y = jax.lax.conv_general_dilated(
        x.astype(dtype),
        merged.astype(dtype),
        window_strides=(1,),
        padding=[(reach, reach)],
        dimension_numbers=("NWC", "WIO", "NWC"),
    )
    y = y.reshape(x.shape[0], factor * x.shape[1], channels_out)
    return y if conv.bias is None else y + conv.bias[...].astype(dtype)


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """Largest value of each run of `size` positions: (B, L, C) -> (B, L // size, C); a shorter rest is left out."""
    batch, length, channels = x.shape
    bins = length // size
    return x[:, : bins * size].reshape(batch, bins, size, channels).max(axis=2)


class Kept(nnx.Variable):
    """A tensor of a released model that no computation reads: it is kept for writing the file back, never trained."""
