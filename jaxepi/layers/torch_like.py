"""Blocks that several families share. Arrays are channels last: (B, L, C).

Parameters are float32; `dtype` is the compute dtype of convolutions and elementwise work. Statistics of normalisation
layers are always float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.layers.batch_norm import Activation, batch_normalize

NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.1  # weight of a batch in the running statistics
SOFTPLUS_LIMIT = 20.0  # above it torch's softplus is the identity

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


def linear(width_in: int, width_out: int, *, bias: bool = True, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> nnx.Linear:
    """x @ kernel + bias over the last axis, kernel (in, out), with torch's initialisation."""
    return nnx.Linear(
        width_in,
        width_out,
        use_bias=bias,
        kernel_init=torch_kernel_init(),
        bias_init=torch_bias_init(width_in),
        dtype=dtype,
        rngs=rngs,
    )


def layer_norm(width: int, *, dtype: Any = jnp.float32, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Over the last axis, with torch's epsilon and the variance in a second pass."""
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, use_fast_variance=False, dtype=dtype, rngs=rngs)


class GroupNorm(nnx.Module):
    """GroupNorm with one group, then an elementwise activation: mean and variance over L and C of each sample.

    The variance is taken in a second pass over centred values (E[x²] - E[x]² loses accuracy in float32).

    Attributes:
      scale, bias: (C,) float32.
    """

    def __init__(self, channels: int, *, epsilon: float = 1e-5, dtype: Any = jnp.float32):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon = epsilon
        self.dtype = dtype

    def __call__(self, x: jax.Array, activation: Activation | None = None) -> jax.Array:
        """(B, L, C) -> (B, L, C) of the compute dtype; `activation` works element by element."""
        return normalize(x, self.scale[...], self.bias[...], self.epsilon, activation).astype(self.dtype)


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the channels, then an elementwise activation.

    With `use_running_average` (set by `model.eval()`, and from the start) the running statistics are used, else those
    of the batch, and the running ones are updated: with the unbiased variance, as torch does.

    Attributes:
      scale, bias, mean, var: (C,) float32.
    """

    def __init__(self, channels: int, *, groups: int = 1, dtype: Any = jnp.float32):
        """`groups`: so many parts of a batch have statistics of their own, and the first one's are kept, as a model on
        several devices has it in torch without synchronised statistics."""
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.groups, self.dtype = groups, dtype
        self.use_running_average = True

    def __call__(self, x: jax.Array, activation: Activation | None = None) -> jax.Array:
        """(B, L, C) -> (B, L, C) of the compute dtype.

        Raises:
          JaxepiError: the rows of a batch make no equal groups.
        """
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            gain = scale * jax.lax.rsqrt(self.var[...] + NORM_EPSILON)
            y = x.astype(jnp.promote_types(x.dtype, jnp.float32)) * gain[None, None]
            y = y + (bias - self.mean[...] * gain)[None, None]
            return (y if activation is None else activation(y)).astype(self.dtype)
        if x.shape[0] % self.groups:
            raise JaxepiError(
                f"A batch of {x.shape[0]} rows makes no {self.groups} equal groups: set the batch size to a multiple, "
                "or normalise in one group."
            )
        count = x.size // x.shape[-1] // self.groups
        if self.groups == 1:  # by itself: XLA's CPU code is slow for sums within one group
            y, mean, var = batch_normalize(x, scale, bias, NORM_EPSILON, activation)
            self._update(mean, var, count)
            return y.astype(self.dtype)
        grouped = x.reshape(self.groups, count, x.shape[-1])
        normalize_one = jax.vmap(lambda part: batch_normalize(part, scale, bias, NORM_EPSILON, activation))
        y, mean, var = normalize_one(grouped)
        self._update(mean[0], var[0], count)
        return y.reshape(x.shape).astype(self.dtype)

    def _update(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        """Moves the running statistics towards those of `count` values."""
        unbiased = var * (count / max(count - 1, 1))
        for kept, value in ((self.mean, mean), (self.var, unbiased)):
            kept[...] = (1.0 - NORM_MOMENTUM) * kept[...] + NORM_MOMENTUM * jax.lax.stop_gradient(value)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, activation: Activation | None = None
) -> jax.Array:
    """activation((x - mean) / sqrt(variance + epsilon) * scale + bias), statistics over L and C: (B, L, C) float32.

    The backward pass keeps x and two numbers a sample, and recomputes the rest: differentiating the plain formula
    stores several arrays of the size of x.
    """
    return _normalize_forward(x, scale, bias, epsilon, activation)[0]


def _normalize_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, activation: Activation | None
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=(1, 2), keepdims=True)
    variance = jnp.square(wide - mean).mean(axis=(1, 2), keepdims=True)
    inverse = jax.lax.rsqrt(variance + epsilon)
    y = (wide - mean) * (inverse * scale[None, None]) + bias[None, None]
    return y if activation is None else activation(y), (x, mean, inverse, scale, bias)


def _normalize_backward(
    epsilon: float, activation: Activation | None, saved: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    del epsilon
    x, mean, inverse, scale, bias = saved
    normal = (x.astype(jnp.float32) - mean) * inverse
    if activation is not None:
        (gradient,) = jax.vjp(activation, normal * scale[None, None] + bias[None, None])[1](gradient)
    bias_gradient, scale_gradient = column_sums(gradient), column_sums(gradient * normal)  # (B, C)
    size = x.shape[1] * x.shape[2]
    along_mean = (bias_gradient @ scale / size)[:, None, None]
    along_normal = (scale_gradient @ scale / size)[:, None, None]
    x_gradient = inverse * (gradient * scale[None, None] - along_mean - normal * along_normal)
    return x_gradient.astype(x.dtype), scale_gradient.sum(axis=0), bias_gradient.sum(axis=0)


normalize.defvjp(_normalize_forward, _normalize_backward)


def column_sums(x: jax.Array) -> jax.Array:
    """Sum over L: (B, L, C) -> (B, C)."""
    # XLA's CPU reduction over a middle axis walks memory with a stride when its input is computed on the fly (20 times
    # slower at 512 channels); windows first are as fast as an elementwise pass. GPUs reduce such axes well.
    return jax.lax.platform_dependent(x, cpu=_windowed_column_sums, default=lambda x: x.sum(axis=1))


def _windowed_column_sums(x: jax.Array) -> jax.Array:
    window = (1, 128, 1)
    padding = [(0, 0), (0, -x.shape[1] % 128), (0, 0)]
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, padding).sum(axis=1)


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
    return y if conv.bias is None else y + conv.bias[...].astype(dtype)[None, None]


def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)), and x itself above `SOFTPLUS_LIMIT`, as torch."""
    return jnp.where(x > SOFTPLUS_LIMIT, x, jax.nn.softplus(x))


def sinusoid(length: int, width: int) -> np.ndarray:
    """Positional encoding (length, width) float32: sines at even places, cosines of the same angle at odd ones.

    Rates and angles are rounded to float32 where the original rounds them: at far positions that moves the values by
    more than float32's precision.
    """
    exponent = np.float32(-np.log(10000.0)) * np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    rate = np.exp(exponent.astype(np.float64)).astype(np.float32)
    angle = (np.arange(length, dtype=np.float32)[:, None] * rate).astype(np.float64)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, -1)[:, :width].astype(np.float32)


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """Largest value of each run of `size` positions: (B, L, C) -> (B, L // size, C); a shorter rest is left out."""
    batch, length, channels = x.shape
    bins = length // size
    return x[:, : bins * size].reshape(batch, bins, size, channels).max(axis=2)


class Kept(nnx.Variable):
    """A tensor of a released model that no computation reads: it is kept for writing the file back, never trained."""
