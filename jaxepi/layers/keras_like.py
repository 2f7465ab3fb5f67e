"""Layers as Keras computes them. Arrays are channels last: (B, L, C).

Parameters are float32; `dtype` is the compute dtype. Normalisation statistics and recurrent states are float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.layers.batch_norm import batch_normalize

Initializer = Callable[..., jax.Array]

glorot = nnx.initializers.glorot_uniform()
orthogonal = nnx.initializers.orthogonal()

NORM_MOMENTUM = 0.99
NORM_EPSILON = 1e-3


def conv(
    channels_in: int,
    channels_out: int,
    width: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "VALID",
    dtype: Any,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Cross-correlation over (B, L, Cin), kernel (width, Cin, Cout); `SAME` puts odd padding on the right."""
    return nnx.Conv(
        channels_in,
        channels_out,
        (width,),
        strides=(stride,),
        kernel_dilation=(dilation,),
        padding=padding,
        kernel_init=glorot,
        dtype=dtype,
        rngs=rngs,
    )


def dense(features_in: int, features_out: int, *, dtype: Any, rngs: nnx.Rngs) -> nnx.Linear:
    """x @ kernel + bias."""
    return nnx.Linear(features_in, features_out, kernel_init=glorot, dtype=dtype, rngs=rngs)


def without_bias(layer: nnx.Conv, x: jax.Array) -> jax.Array:
    """A stride-1 `VALID` convolution before its bias: (B, L, Cin) -> (B, L - width + 1, Cout)."""
    dtype = layer.dtype or x.dtype
    return jax.lax.conv_general_dilated(
        x.astype(dtype), layer.kernel[...].astype(dtype), (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
    )


def conv_relu_pool(layer: nnx.Conv, x: jax.Array, pool: int) -> jax.Array:
    """Convolution, ReLU and max pooling: (B, L, Cin) -> (B, (L - width + 1) // pool, Cout).

    Adding a bias and ReLU never change which value of a run is the largest, so they wait until after the pooling: the
    same bits for `pool` times less work.
    """
    return nnx.relu(max_pool(without_bias(layer, x), pool) + bias_of(layer))


def max_pool(x: jax.Array, size: int, padding: str = "valid") -> jax.Array:
    """Largest value of each run of `size` positions: (B, L, C) -> (B, L // size, C); a shorter rest is left out.

    With padding "same" it is a run as well, of which both ends of the sequence have their part: (B, ceil(L / size), C).
    Of equal values the first one gets the whole gradient, as in TensorFlow.
    """
    if padding == "same" and (short := -x.shape[1] % size):
        x = jnp.pad(x, [(0, 0), (short // 2, short - short // 2), (0, 0)], constant_values=-jnp.inf)
    return _pooled(x[:, : x.shape[1] // size * size], size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pooled(x: jax.Array, size: int) -> jax.Array:
    """`max_pool` of whole runs. Its backward pass keeps a byte a run; that of slices pads and adds `size` arrays."""
    return _pooled_forward(x, size)[0]


def _pooled_forward(x: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    batch, length, channels = x.shape
    runs = x.reshape(batch, length // size, size, channels)
    largest, place = runs[:, :, 0], jnp.zeros((batch, length // size, channels), _place_dtype(size))
    for i in range(1, size):
        higher = runs[:, :, i] > largest
        largest, place = jnp.where(higher, runs[:, :, i], largest), jnp.where(higher, i, place).astype(place.dtype)
    return largest, place


def _pooled_backward(size: int, place: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    batch, runs, channels = gradient.shape
    chosen = place[:, :, None] == jnp.arange(size, dtype=place.dtype)[None, None, :, None]
    return (jnp.where(chosen, gradient[:, :, None], 0).reshape(batch, runs * size, channels),)


_pooled.defvjp(_pooled_forward, _pooled_backward)


def _place_dtype(size: int) -> Any:
    return jnp.uint8 if size <= 256 else jnp.int32


def bias_of(layer: nnx.Conv) -> jax.Array:
    """The bias (1, 1, Cout) in the layer's compute dtype."""
    return layer.bias[...].astype(layer.dtype)[None, None]


def dropout(x: jax.Array, rate: float, rng: jax.Array | None) -> jax.Array:
    """Inverted dropout: each value is 0 with probability `rate`, else x / (1 - rate). Without a key, x itself."""
    if rng is None or rate == 0.0:
        return x
    kept = jax.random.bernoulli(rng, 1.0 - rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


class NormSteps(nnx.Variable):
    """How many updates a normalisation layer has seen since its statistics were started."""


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the channels.

    With `use_running_average` (set by `model.eval()`, and from the start) the moving statistics are used, else those of
    the batch, and the moving statistics are updated.
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = NORM_MOMENTUM,
        scale_init: Initializer = nnx.initializers.ones,
        averaged: str = "fused",
        debiased: bool = False,
        dtype: Any,
        rngs: nnx.Rngs | None = None,
    ):
        """Args beyond the names:

        averaged: the variance of a batch that is averaged, of n values; normalisation itself divides by n. "keras2":
          n / (n - 1 - epsilon) times as large, as Keras 2 has it; "fused": for maps (B, H, W, C), which TensorFlow
          normalises by a kernel of its own, n / (n - 1) times, else the same; "biased": the same.
        debiased: the moving statistics are a zero-debiased average, as in Keras 2 on TensorFlow. Such an average
          forgets what it started from at its first step, so loaded statistics have no influence.
        rngs: for a random `scale_init`.
        """
        key = jax.random.key(0) if rngs is None else rngs.params()
        self.scale = nnx.Param(scale_init(key, (channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))
        self.steps = NormSteps(jnp.zeros((), jnp.int32)) if debiased else None
        self.momentum, self.averaged, self.dtype = momentum, averaged, dtype
        self.use_running_average = True

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, ..., C) -> the same shape."""
        if not self.use_running_average:
            y, mean, var = batch_normalize(x, self.scale[...], self.bias[...], NORM_EPSILON)
            self._update(mean, var * self._correction(x.size // x.shape[-1], x.ndim))
            return y
        spread = (None,) * (x.ndim - 1)
        scale = self.scale[...] * jax.lax.rsqrt(self.var[...] + NORM_EPSILON)
        shift = self.bias[...] - self.mean[...] * scale
        return x * scale.astype(x.dtype)[spread] + shift.astype(x.dtype)[spread]

    def _correction(self, count: int, rank: int) -> float:
        """What the variance of `count` values is multiplied with before it is averaged."""
        if self.averaged == "keras2":
            return count / (count - 1 - NORM_EPSILON)
        return count / max(count - 1, 1) if self.averaged == "fused" and rank == 4 else 1.0

    def _update(self, mean: jax.Array, var: jax.Array) -> None:
        keep, fresh, total = self.momentum, 1.0 - self.momentum, 1.0
        if self.steps is not None:
            before = self.steps[...]
            self.steps[...] = before + 1
            weight = 1.0 - jnp.power(self.momentum, jnp.stack([before, before + 1]).astype(mean.dtype))
            keep, total = self.momentum * weight[0], weight[1]
        for kept, value in ((self.mean, mean), (self.var, var)):
            kept[...] = (keep * kept[...] + fresh * value) / total


class Gru(nnx.Module):
    """Weights of one direction; gate blocks along the last axis in the order update z, reset r, candidate."""

    def __init__(self, features_in: int, units: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(glorot(rngs.params(), (features_in, 3 * units), jnp.float32))
        self.recurrent_kernel = nnx.Param(orthogonal(rngs.params(), (units, 3 * units), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(3 * units, jnp.float32))


class BidirectionalGru(nnx.Module):
    """Two GRUs in Keras 2's form, one reading from the end: concatenated [forward, backward].

    Gates are hard sigmoids, the reset gate acts before the recurrent product (`reset_after=False`), one bias.
    """

    def __init__(self, features_in: int, units: int, *, dtype: Any, rngs: nnx.Rngs):
        self.forward = Gru(features_in, units, rngs=rngs)
        self.backward = Gru(features_in, units, rngs=rngs)
        self.units, self.dtype = units, dtype

    def __call__(self, x: jax.Array, *, sequences: bool) -> jax.Array:
        """(B, T, C) -> states after the last step (B, 2 units), or with `sequences` all states (B, T, 2 units)."""
        units, directions = self.units, (self.forward, self.backward)
        state_dtype = jnp.promote_types(x.dtype, jnp.float32)
        # What the inputs contribute to all steps of both directions is one matrix product before the loop.
        kernel = jnp.concatenate([direction.kernel[...] for direction in directions], axis=1)
        bias = jnp.concatenate([direction.bias[...] for direction in directions])
        gates = (x.astype(self.dtype) @ kernel.astype(self.dtype)).astype(state_dtype) + bias[None, None]
        forward, backward = jnp.split(gates.swapaxes(0, 1), 2, axis=-1)
        gates = jnp.stack([forward, backward[::-1]], axis=1)  # (T, 2, B, 3 units)
        recurrent = jnp.stack([direction.recurrent_kernel[...] for direction in directions]).astype(self.dtype)

        def product(state: jax.Array, kernel: jax.Array) -> jax.Array:
            return jnp.einsum("dbu,dug->dbg", state.astype(self.dtype), kernel, preferred_element_type=state_dtype)

        def step(state: jax.Array, gate: jax.Array) -> tuple[jax.Array, jax.Array | None]:
            both = hard_sigmoid(gate[..., : 2 * units] + product(state, recurrent[..., : 2 * units]))
            update, reset = both[..., :units], both[..., units:]
            candidate = jnp.tanh(gate[..., 2 * units :] + product(reset * state, recurrent[..., 2 * units :]))
            state = update * state + (1.0 - update) * candidate
            return state, state if sequences else None

        state = jnp.zeros((2, x.shape[0], units), state_dtype)
        last, states = jax.lax.scan(step, state, gates)
        if not sequences:
            return jnp.concatenate([last[0], last[1]], axis=-1).astype(self.dtype)
        aligned = jnp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)
        return aligned.swapaxes(0, 1).astype(self.dtype)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """clip(0.2 x + 0.5, 0, 1), the gate function of Keras (torch's and jax's functions of this name have slope 1/6)."""
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)
