"""The blocks that read sequences: arrays (B, L, C), channels last.

A block is made for a shape of its input, all arguments filled in (`vocabulary.arguments`), and called with a key for
its dropout, or None. Parameters are float32, `dtype` is that of the computation; statistics are float32 at least.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.layers.activations import KERAS_ACTIVATIONS, activate
from jaxepi.layers.keras_like import NORM_EPSILON, BatchNorm, dropout, max_pool
from jaxepi.systems.basenji.vocabulary import Shape, dilations, ends, tower_filters

Arguments = Mapping[str, Any]


@dataclasses.dataclass
class Made:
    """What all blocks of a network share while they are made.

    Attributes:
      gelu: which form "gelu" stands for.
      glorot_gamma: see `BasenjiConfig`.
      dtype: of the computation.
      remat: recompute the inside of each block in the backward pass.
      rngs: of the weights.
      numbers: the next number of a dropout, by which it draws differently from all others.
    """

    gelu: str
    glorot_gamma: bool
    dtype: Any
    remat: bool
    rngs: nnx.Rngs
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)


def called(block: nnx.Module, x: jax.Array, rng: jax.Array | None, remat: bool) -> jax.Array:
    """`block(x, rng)`, which the backward pass computes once more if `remat`."""
    run = nnx.remat(type(block).__call__) if remat else type(block).__call__
    return run(block, x, rng)


def initializer(name: str) -> Callable[..., jax.Array]:
    """An initializer of Keras by name."""
    made = getattr(nnx.initializers, name)
    return made if name == "zeros" else made()


class Conv(nnx.Conv):
    """A convolution over one or two axes whose kernel may be penalised: l2 · Σ kernel²."""

    def __init__(
        self, channels: int, filters: int, kernel: int | tuple[int, int], given: Arguments, made: Made, *,
        bias: bool, stride: int = 1, dilation: int = 1, padding: str = "same", groups: int = 1,
    ):  # fmt: skip
        width = (kernel,) if isinstance(kernel, int) else kernel
        super().__init__(
            channels, filters, width, strides=(stride,) * len(width), kernel_dilation=(dilation,) * len(width),
            padding=padding.upper(), feature_group_count=groups, use_bias=bias, dtype=made.dtype,
            kernel_init=initializer(given["kernel_initializer"]), rngs=made.rngs,
        )  # fmt: skip
        self.penalties = (0.0, float(given.get("l2_scale", 0.0)))


class Linear(nnx.Linear):
    """A dense layer whose kernel may be penalised: l1 · Σ |kernel| + l2 · Σ kernel²."""

    def __init__(self, channels: int, units: int, given: Arguments, made: Made, *, bias: bool):
        init = initializer(given["kernel_initializer"])
        super().__init__(channels, units, use_bias=bias, dtype=made.dtype, kernel_init=init, rngs=made.rngs)
        self.penalties = (float(given.get("l1_scale", 0.0)), float(given.get("l2_scale", 0.0)))


class SeparableConv(nnx.Module):
    """A convolution of each channel by itself, then one over channels; no penalty, as in the original.

    Keras has the penalty of `kernel_regularizer` on no kernel of a separable convolution.
    """

    def __init__(self, channels: int, filters: int, width: int, given: Arguments, made: Made, *, bias: bool,
                 stride: int = 1, dilation: int = 1, padding: str = "same"):  # fmt: skip
        plain = {"kernel_initializer": "glorot_uniform"}  # likewise `kernel_initializer`
        self.depthwise = Conv(channels, channels, width, plain, made, bias=False, stride=stride, dilation=dilation,
                              padding=padding, groups=channels)  # fmt: skip
        self.pointwise = Conv(channels, filters, 1, plain, made, bias=bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.pointwise(self.depthwise(x))


def convolution(channels: int, filters: int, given: Arguments, made: Made, **options: Any) -> Conv | SeparableConv:
    """The convolution of a block: standard or separable."""
    kind = SeparableConv if given["conv_type"] == "separable" else Conv
    return kind(channels, filters, given["kernel_size"], given, made, **options)


def normalisation(channels: int, given: Arguments, made: Made, gamma: str | None = "ones") -> nnx.Module | None:
    """The normalisation of a block, None without one; `gamma` None is what the original's conv_block passes on."""
    if gamma is None:
        gamma = "glorot" if made.glorot_gamma else "ones"
    init = _glorot_vector if gamma == "glorot" else getattr(nnx.initializers, gamma)
    if given["norm_type"] is None:
        return None
    if given["norm_type"] == "layer":
        return nnx.LayerNorm(
            channels, epsilon=NORM_EPSILON, use_fast_variance=False, scale_init=init, dtype=made.dtype, rngs=made.rngs
        )
    return BatchNorm(channels, momentum=given["bn_momentum"], scale_init=init, dtype=made.dtype, rngs=made.rngs)


def _glorot_vector(key: jax.Array, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """U(-sqrt(3 / C), sqrt(3 / C)), what Keras's Glorot initializer makes of a vector."""
    bound = (3.0 / shape[0]) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Scale(nnx.Module):
    """A weight for each channel, 0 at the start."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.scale[...].astype(x.dtype)[(None,) * (x.ndim - 1)]


class SoftmaxPool(nnx.Module):
    """Mean of each run of positions, weighted by a softmax of one logit a position: (B, L, C) -> (B, L // size, C)."""

    def __init__(self, channels: int, size: int, made: Made):
        def first_channel(key: jax.Array, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
            return 2.0 * jnp.eye(*shape, dtype=dtype)

        self.size = size
        self.logit = nnx.Linear(
            channels, 1, use_bias=False, kernel_init=first_channel, dtype=made.dtype, rngs=made.rngs
        )  # fmt: skip

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, channels = x.shape
        runs = x[:, : length // self.size * self.size].reshape(batch, -1, self.size, channels)
        return (runs * jax.nn.softmax(self.logit(runs), axis=2)).sum(axis=2)


class Pool(nnx.Module):
    """The pool that ends a block: the largest value of each run, or `SoftmaxPool`; of size 1 nothing."""

    def __init__(self, channels: int, given: Arguments, made: Made):
        self.size, self.padding = given["pool_size"], given["padding"]
        softmax = self.size > 1 and given["pool_type"] == "softmax"
        self.softmax = SoftmaxPool(channels, self.size, made) if softmax else None

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.size == 1:
            return x
        return max_pool(x, self.size, self.padding) if self.softmax is None else self.softmax(x)


class Dropout(nnx.Module):
    """Dropout with a number of its own, so that one key serves a whole network."""

    def __init__(self, rate: float, made: Made):
        self.rate, self.number = rate, next(made.numbers)

    def __call__(self, x: jax.Array, rng: jax.Array | None) -> jax.Array:
        if rng is None or not self.rate:
            return x
        return dropout(x, self.rate, jax.random.fold_in(rng, self.number))


class SqueezeExcite(nnx.Module):
    """Channels gated by what two dense layers make of their means; `additive` adds it instead."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        channels, plain = shape[-1], {"kernel_initializer": "glorot_uniform"}
        self.squeeze = Linear(channels, channels // given["bottleneck_ratio"], plain, made, bias=True)
        self.excite = Linear(channels // given["bottleneck_ratio"], channels, plain, made, bias=True)
        self.activation, self.additive, self.gelu = given["activation"], given["additive"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = activate(x, self.activation, self.gelu)
        gate = self.excite(nnx.relu(self.squeeze(x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True))))
        return x + gate if self.additive else x * jax.nn.sigmoid(gate)


SE_DEFAULTS = {"activation": "relu", "bottleneck_ratio": 8, "additive": False}


class ConvBlock(nnx.Module):
    """conv_block: activation, convolution, norm, dropout, residual, end activation, pool."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        channels = shape[-1]
        filters = given["filters"] or channels
        self.conv = convolution(channels, filters, given, made, bias=given["norm_type"] is None,
                                stride=given["stride"], dilation=given["dilation_rate"])  # fmt: skip
        self.norm = normalisation(filters, given, made, given["norm_gamma"])
        self.dropout, self.pool = Dropout(given["dropout"], made), Pool(filters, given, made)
        self.activation, self.activation_end = given["activation"], given["activation_end"]
        self.residual, self.gelu = given["residual"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        y = self.conv(activate(x, self.activation, self.gelu))
        y = self.dropout(y if self.norm is None else self.norm(y), rng)
        y = x + y if self.residual else y
        return self.pool(activate(y, self.activation_end, self.gelu))


class ConvNac(nnx.Module):
    """conv_nac: norm, activation, convolution with bias, squeeze-excite, dropout, residual, pool."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        channels = shape[-1]
        filters = given["filters"] or channels
        self.norm = normalisation(channels, given, made)
        self.conv = convolution(channels, filters, given, made, bias=True, stride=given["stride"],
                                dilation=given["dilation_rate"], padding=given["padding"])  # fmt: skip
        self.excite = SqueezeExcite((filters,), SE_DEFAULTS, made) if given["se"] else None
        self.dropout, self.pool = Dropout(given["dropout"], made), Pool(filters, given, made)
        self.activation, self.residual, self.gelu = given["activation"], given["residual"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        y = self.conv(activate(x if self.norm is None else self.norm(x), self.activation, self.gelu))
        y = self.dropout(y if self.excite is None else self.excite(y), rng)
        return self.pool(x + y if self.residual else y)


class ConvDna(nnx.Module):
    """conv_dna: convolution, squeeze-excite, norm, activation, dropout, pool.

    With `residual`, in place of norm and activation, a conv_nac of width 1 is added by a `Scale`.
    """

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        channels, residual = shape[-1], given["residual"]
        filters = given["filters"] or channels
        bias = given["use_bias"]
        bias = given["norm_type"] is None and not residual if bias is None else bias
        self.conv = convolution(channels, filters, given, made, bias=bias, stride=given["stride"])
        self.excite = SqueezeExcite((filters,), SE_DEFAULTS, made) if given["se"] else None
        self.norm = None if residual else normalisation(filters, given, made)
        inner = {**given, "filters": None, "kernel_size": 1, "stride": 1, "dilation_rate": 1, "pool_size": 1,
                 "residual": False, "dropout": given["dropout_residual"], "padding": "same"}  # fmt: skip
        self.inner = ConvNac((filters,), inner, made) if residual else None
        self.scale = Scale(filters) if residual else None
        self.dropout, self.pool = Dropout(given["dropout"], made), Pool(filters, given, made)
        self.activation, self.gelu = given["activation"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = self.conv(x)
        x = x if self.excite is None else self.excite(x)
        if self.inner is not None:
            x = x + self.scale(self.inner(x, rng))
        else:
            x = activate(x if self.norm is None else self.norm(x), self.activation, self.gelu)
        return self.pool(self.dropout(x, rng))


class ConvTower(nnx.Module):
    """conv_tower: conv_blocks one after the other, whose filters grow."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        steps, channels = [], shape[-1]
        for filters in tower_filters(given):
            steps.append(ConvBlock((channels,), {**given, "filters": filters}, made))
            channels = filters
        self.steps, self.remat = nnx.List(steps), made.remat

    def unpooled(self, x: jax.Array, rng: jax.Array | None) -> tuple[jax.Array, list[jax.Array]]:
        """The output, and what each step makes."""
        seen = []
        for step in self.steps:
            x = called(step, x, rng, self.remat)
            seen.append(x)
        return x, seen

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return self.unpooled(x, rng)[0]


class DilatedStep(nnx.Module):
    """One residual block: a dilated conv_block, one of width 1 back to the channels, added to the input."""

    def __init__(self, shape: Shape, given: Arguments, dilation: int, made: Made):
        channels = shape[-1]
        inside = {**given, "dilation_rate": dilation, "norm_gamma": "ones", "dropout": 0.0}
        back = {**given, "filters": channels, "kernel_size": 1, "dilation_rate": 1, "norm_gamma": "zeros"}
        self.dilate = ConvBlock(shape, inside, made)
        self.back = ConvBlock((given["filters"],), back, made)
        self.scale = Scale(channels) if given["norm_type"] is None else None

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        y = self.back(self.dilate(x, rng), rng)
        return x + (y if self.scale is None else self.scale(y))


class DilatedResidual(nnx.Module):
    """dilated_residual: `DilatedStep`s whose dilation grows; at the start it is the identity."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.steps = nnx.List([DilatedStep(shape, given, dilation, made) for dilation in dilations(given)])
        self.remat = made.remat

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        for step in self.steps:
            x = called(step, x, rng, self.remat)
        return x


def flattened(x: jax.Array) -> jax.Array:
    """(B, L, C) -> (B, 1, L · C), position after position."""
    return x.reshape(x.shape[0], 1, -1)


class DenseBlock(nnx.Module):
    """dense_block: activation, perhaps flattening, dense layer, norm, dropout, residual, end activation."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.flatten = given["flatten"]
        channels = shape[0] * shape[1] if self.flatten else shape[-1]
        units = given["units"] or shape[-1]
        self.dense = Linear(channels, units, given, made, bias=given["norm_type"] is None)
        gamma = given["norm_gamma"] or ("zeros" if given["residual"] else "ones")
        self.norm = normalisation(units, given, made, gamma)
        self.dropout = Dropout(given["dropout"], made)
        self.activation, self.activation_end = given["activation"], given["activation_end"]
        self.residual, self.gelu = given["residual"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        y = activate(x, self.activation, self.gelu)
        y = self.dense(flattened(y) if self.flatten else y)
        y = self.dropout(y if self.norm is None else self.norm(y), rng)
        return activate(x + y if self.residual else y, self.activation_end, self.gelu)


class Final(nnx.Module):
    """final, and Keras's Dense: perhaps flattening, a dense layer with an activation of Keras."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.flatten = given.get("flatten", False)
        channels = shape[0] * shape[1] if self.flatten else shape[-1]
        self.dense = Linear(channels, given["units"], given, made, bias=given.get("use_bias", True))
        self.activation = given["activation"] or "linear"

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        y = self.dense(flattened(x) if self.flatten else x)
        return KERAS_ACTIVATIONS[self.activation](y)


class KerasConv1D(nnx.Module):
    """Keras's Conv1D."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        options = {"stride": given["strides"], "dilation": given["dilation_rate"], "padding": given["padding"]}
        self.conv = Conv(
            shape[-1], given["filters"], given["kernel_size"], given, made, bias=given["use_bias"], **options
        )
        self.activation = given["activation"] or "linear"

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return KERAS_ACTIVATIONS[self.activation](self.conv(x))


class Crop(nnx.Module):
    """Keras's Cropping1D."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.ends = ends(given["cropping"])

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return x[:, self.ends[0] : x.shape[1] - self.ends[1]]


class Flatten(nnx.Module):
    """Keras's Flatten: (B, ...) -> (B, C)."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        del shape, given, made

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return x.reshape(x.shape[0], -1)
