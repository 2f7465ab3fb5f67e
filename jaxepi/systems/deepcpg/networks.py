"""The feature networks of DeepCpG: what turns a DNA window, the neighbours of a site, or both into a feature vector.

Each is called with its input and a dict for named intermediates (names of the original's layers), or None.
Letters: B sites, L bp, N cells, W neighbours of a cell, F features.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.layers.keras_like import (
    NORM_EPSILON,
    BatchNorm,
    BidirectionalGru,
    bias_of,
    conv,
    conv_relu_pool,
    dense,
    max_pool,
    without_bias,
)

Seen = dict[str, jax.Array] | None


@dataclasses.dataclass(frozen=True)
class Block:
    """Convolution, ReLU, max pooling."""

    channels: int
    width: int
    pool: int


@dataclasses.dataclass(frozen=True)
class Convolutional:
    """Sizes of CnnL1 to CnnL3."""

    blocks: tuple[Block, ...]
    hidden: int  # units of the dense layer


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """Sizes of CnnRnn01."""

    blocks: tuple[Block, ...]
    units: int  # of the GRU, per direction


@dataclasses.dataclass(frozen=True)
class Stage:
    """Residual units of one width; the first halves the length. `dilations`: one unit each."""

    channels: tuple[int, ...]  # of each convolution of a unit
    dilations: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Residual:
    """Sizes of the residual networks."""

    stages: tuple[Stage, ...]
    norm_first: bool  # batch normalisation after the first convolution


def _bottlenecks(dilations: tuple[int, ...]) -> tuple[Stage, ...]:
    widths = (32, 64, 128, 256)
    return tuple(Stage((w, w, 4 * w), dilations if w < 256 else dilations[:1]) for w in widths)


_BLOCKS = (Block(128, 11, 4), Block(256, 3, 2), Block(512, 3, 2))

DNA_NETWORKS: dict[str, Convolutional | Recurrent | Residual] = {
    **{f"CnnL{n}h{hidden}": Convolutional(_BLOCKS[:n], hidden) for n in (1, 2, 3) for hidden in (128, 256)},
    "CnnRnn01": Recurrent((Block(128, 11, 4), Block(256, 7, 4)), 256),
    "ResNet01": Residual(_bottlenecks((1, 1)), True),
    "ResNet02": Residual(_bottlenecks((1, 1, 1)), True),
    "ResConv01": Residual(
        (Stage((128, 128), (1, 1)), Stage((256, 256), (1,)), Stage((256, 256), (1,)), Stage((512, 512), (1,))), True
    ),
    "ResAtrous01": Residual(_bottlenecks((1, 2, 4)), False),
}


@dataclasses.dataclass(frozen=True)
class Neighbourhood:
    """Sizes of a CpG network: a dense layer for each cell, then GRUs over the cells or their mean."""

    dense: int
    units: tuple[int, ...]  # of each GRU, per direction


CPG_NETWORKS = {
    "FcAvg": Neighbourhood(512, ()),
    "RnnL1": Neighbourhood(256, (256,)),
    "RnnL2": Neighbourhood(256, (128, 256)),
}

JOINT_NETWORKS = {"JointL0": 0, "JointL1h512": 1, "JointL2h512": 2, "JointL3h512": 3}  # dense layers


class ConvolutionalNetwork(nnx.Module):
    """CnnL1h128 ... CnnL3h256. A dense layer over all positions ties it to one (pooled) length."""

    def __init__(self, sizes: Convolutional, hidden: int, window: int, *, dtype: Any, rngs: nnx.Rngs):
        self.sizes, self.features = sizes, hidden
        self.convs = _convs(sizes.blocks, dtype, rngs)
        self.length = pooled_length(sizes.blocks, window)
        self.dense = dense(self.length * sizes.blocks[-1].channels, hidden, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, seen: Seen) -> jax.Array:
        """(B, L, 4) -> (B, F)."""
        length = pooled_length(self.sizes.blocks, x.shape[1])
        if length != self.length:
            low, high = windows_of(self.sizes.blocks, self.length)
            raise JaxepiError(f"This DNA network takes windows of {low} to {high} bp, but got {x.shape[1]} bp.")
        x = _conv_stack(self.convs, self.sizes.blocks, x, seen)
        x = keep(seen, "dna/flatten_1", x.reshape(x.shape[0], -1))
        return nnx.relu(keep(seen, "dna/dense_1", self.dense(x)))


class RecurrentNetwork(nnx.Module):
    """CnnRnn01: two convolutions and a bidirectional GRU over the positions."""

    def __init__(self, sizes: Recurrent, *, dtype: Any, rngs: nnx.Rngs):
        self.sizes, self.features = sizes, 2 * sizes.units
        self.convs = _convs(sizes.blocks, dtype, rngs)
        self.gru = BidirectionalGru(sizes.blocks[-1].channels, sizes.units, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, seen: Seen) -> jax.Array:
        """(B, L, 4) -> (B, F)."""
        pooled_length(self.sizes.blocks, x.shape[1])
        return self.gru(_conv_stack(self.convs, self.sizes.blocks, x, seen), sequences=False)


class ResidualUnit(nnx.Module):
    """Pre-activation unit: (BatchNorm, ReLU, convolution) two or three times, added to the raw input.

    Three convolutions are a bottleneck of widths 1, 3, 1, strided in the first; two are of width 3 each.
    """

    def __init__(
        self,
        channels_in: int,
        channels: tuple[int, ...],
        *,
        stride: int,
        dilation: int,
        debiased: bool,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        widths = (1, 3, 1) if len(channels) == 3 else (3, 3)
        self.norms, self.convs = nnx.List([]), nnx.List([])
        before = channels_in
        for i, (width, after) in enumerate(zip(widths, channels, strict=True)):
            self.norms.append(BatchNorm(before, averaged="keras2", debiased=debiased, dtype=dtype))
            step, gap = stride if i == 0 else 1, dilation if width == 3 else 1
            self.convs.append(
                conv(before, after, width, stride=step, dilation=gap, padding="SAME", dtype=dtype, rngs=rngs)
            )
            before = after
        changed = channels_in != before or stride > 1
        shortcut = {"stride": stride, "padding": "SAME", "dtype": dtype, "rngs": rngs}
        self.shortcut = conv(channels_in, before, widths[0], **shortcut) if changed else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, Cin) -> (B, ceil(L / stride), Cout)."""
        y = x
        for norm, layer in zip(self.norms, self.convs, strict=True):
            y = layer(nnx.relu(norm(y)))
        return y + (x if self.shortcut is None else self.shortcut(x))


class ResidualNetwork(nnx.Module):
    """ResNet01, ResNet02, ResConv01, ResAtrous01: a convolution, residual units, the mean over positions."""

    def __init__(self, sizes: Residual, *, debiased: bool, dtype: Any, rngs: nnx.Rngs):
        self.sizes, self.features = sizes, sizes.stages[-1].channels[-1]
        self.conv = conv(4, 128, 11, dtype=dtype, rngs=rngs)
        self.norm = BatchNorm(128, averaged="keras2", debiased=debiased, dtype=dtype) if sizes.norm_first else None
        self.units, before = nnx.List([]), 128
        for stage in sizes.stages:
            for i, dilation in enumerate(stage.dilations):
                self.units.append(
                    ResidualUnit(
                        before, stage.channels, stride=2 if i == 0 else 1, dilation=dilation, debiased=debiased,
                        dtype=dtype, rngs=rngs,
                    )
                )  # fmt: skip
                before = stage.channels[-1]

    def __call__(self, x: jax.Array, seen: Seen) -> jax.Array:
        """(B, L, 4) -> (B, F)."""
        pooled_length((Block(128, 11, 2),), x.shape[1])
        x = self.conv(x)
        x = nnx.relu(x if self.norm is None else self.norm(x))
        x = keep(seen, "dna/pool1", max_pool(x, 2))
        for name, unit in zip(unit_names(self.sizes), self.units, strict=True):
            x = keep(seen, f"dna/{name}/merge", unit(x))
        return x.mean(axis=1)


def unit_names(sizes: Residual) -> list[str]:
    """The original's names of the units: stage and block, two digits each ("01-01")."""
    return [f"{s:02d}-{b:02d}" for s, stage in enumerate(sizes.stages, 1) for b in range(1, len(stage.dilations) + 1)]


class NeighbourNetwork(nnx.Module):
    """FcAvg, RnnL1, RnnL2: states and distances of each cell's neighbours; the cells may be any number."""

    def __init__(self, sizes: Neighbourhood, neighbours: int, activation: str, *, dtype: Any, rngs: nnx.Rngs):
        self.features = 2 * sizes.units[-1] if sizes.units else sizes.dense
        self.activation = nnx.relu if activation == "relu" or not sizes.units else jnp.tanh
        self.dense = dense(2 * neighbours, sizes.dense, dtype=dtype, rngs=rngs)
        self.grus, before = nnx.List([]), sizes.dense
        for units in sizes.units:
            self.grus.append(BidirectionalGru(before, units, dtype=dtype, rngs=rngs))
            before = 2 * units

    def __call__(self, x: jax.Array, seen: Seen) -> jax.Array:
        """(B, N, 2 W), states then distances, -> (B, F)."""
        x = keep(seen, "cpg/time_distributed_1", self.activation(self.dense(x)))
        if not self.grus:
            return x.mean(axis=1)
        for i, gru in enumerate(self.grus):
            x = gru(x, sequences=i < len(self.grus) - 1)
        return x


def keep(seen: Seen, name: str, value: jax.Array) -> jax.Array:
    """Notes an intermediate if somebody asked for them; returns it."""
    if seen is not None:
        seen[name] = value
    return value


def _convs(blocks: tuple[Block, ...], dtype: Any, rngs: nnx.Rngs) -> nnx.List:
    channels = [4, *(block.channels for block in blocks)]
    return nnx.List(
        [conv(before, b.channels, b.width, dtype=dtype, rngs=rngs) for before, b in zip(channels, blocks, strict=False)]
    )


def _conv_stack(convs: nnx.List, blocks: tuple[Block, ...], x: jax.Array, seen: Seen) -> jax.Array:
    if seen is not None:  # `conv_relu_pool` never has it
        keep(seen, "dna/conv1d_1", without_bias(convs[0], x) + bias_of(convs[0]))
    for i, (layer, block) in enumerate(zip(convs, blocks, strict=True), 1):
        x = keep(seen, f"dna/max_pooling1d_{i}", conv_relu_pool(layer, x, block.pool))
    return x


def pooled_length(blocks: tuple[Block, ...], window: int) -> int:
    """Positions that are left of a window after all blocks. Raises JaxepiError if there is none."""
    length = window
    for block in blocks:
        length = max(length - block.width + 1, 0) // block.pool
    if length < 1:
        low, _ = windows_of(blocks, 1)
        raise JaxepiError(f"This DNA network takes windows of at least {low} bp, but got {window} bp.")
    return length


def windows_of(blocks: tuple[Block, ...], length: int) -> tuple[int, int]:
    """The shortest and the longest window that leave `length` positions."""
    low = high = length
    for block in reversed(blocks):
        low, high = low * block.pool + block.width - 1, (high + 1) * block.pool - 1 + block.width - 1
    return low, high


def first_filters(network: nnx.Module) -> tuple[jax.Array, jax.Array]:
    """Kernel (width, 4, F) and bias (F,) of a DNA network's first convolution.

    Residual networks normalise its output before the ReLU; that is folded in, so that the ReLU of the convolution is
    what the rest of the network sees.
    """
    layer = network.conv if isinstance(network, ResidualNetwork) else network.convs[0]
    kernel, bias = layer.kernel[...], layer.bias[...]
    norm = network.norm if isinstance(network, ResidualNetwork) else None
    if norm is None:
        return kernel, bias
    scale = norm.scale[...] * jax.lax.rsqrt(norm.var[...] + NORM_EPSILON)
    return kernel * scale[None, None], (bias - norm.mean[...]) * scale + norm.bias[...]
