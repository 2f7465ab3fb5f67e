"""The blocks of Akita, which make maps (B, L, L, C) of pairs of bins, and vectors of them; see `sequences`."""

import jax
from flax import nnx

from jaxepi.layers.activations import activate
from jaxepi.layers.pairs import concat_distance, one_to_two, symmetrize, upper_triangle
from jaxepi.systems.basenji.blocks.sequences import Arguments, Conv, Dropout, Made, called, normalisation
from jaxepi.systems.basenji.vocabulary import Shape, dilations, sides


class OneToTwo(nnx.Module):
    """one_to_two: (B, L, C) -> (B, L, L, C')."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.operation = given["operation"]

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return one_to_two(x, self.operation)


class ConcatDistance(nnx.Module):
    """concat_dist_2d: one more channel with the distance in bins, not scaled."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        del shape, given, made

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return concat_distance(x)


class Symmetrize(nnx.Module):
    """symmetrize_2d."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        del shape, given, made

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return symmetrize(x)


class SeparableConv2D(nnx.Module):
    """A convolution of each channel by itself, then one over channels."""

    def __init__(self, channels: int, filters: int, width: int, made: Made, *, bias: bool, stride: int, dilation: int):
        plain = {"kernel_initializer": "glorot_uniform"}
        self.depthwise = Conv(channels, channels, (width, width), plain, made, bias=False, stride=stride,
                              dilation=dilation, groups=channels)  # fmt: skip
        self.pointwise = Conv(channels, filters, (1, 1), plain, made, bias=bias)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.pointwise(self.depthwise(x))


class ConvBlock2D(nnx.Module):
    """conv_block_2d: activation, convolution, norm, dropout, pool, perhaps symmetrised."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        width, bias = given["kernel_size"], given["norm_type"] is None
        options = {"bias": bias, "stride": given["stride"], "dilation": given["dilation_rate"]}
        if given["conv_type"] == "separable":
            self.conv: nnx.Module = SeparableConv2D(shape[-1], given["filters"], width, made, **options)
        else:
            self.conv = Conv(shape[-1], given["filters"], (width, width), given, made, **options)
        self.norm = normalisation(given["filters"], given, made, given["norm_gamma"])
        self.dropout = Dropout(given["dropout"], made)
        self.pool, self.symmetric = given["pool_size"], given["symmetric"]
        self.activation, self.gelu = given["activation"], made.gelu

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = self.conv(activate(x, self.activation, self.gelu))
        x = self.dropout(x if self.norm is None else self.norm(x), rng)
        if self.pool > 1:
            size = (self.pool, self.pool)
            x = nnx.max_pool(x, size, strides=size, padding="SAME")
        return symmetrize(x) if self.symmetric else x


class DilatedStep2D(nnx.Module):
    """One residual block of dilated_residual_2d."""

    def __init__(self, shape: Shape, given: Arguments, dilation: int, made: Made):
        channels, plain = shape[-1], {**given, "symmetric": False}
        inside = {**plain, "dilation_rate": dilation, "norm_gamma": "ones", "dropout": 0.0}
        back = {**plain, "filters": channels, "kernel_size": 1, "dilation_rate": 1, "norm_gamma": "zeros"}
        self.dilate = ConvBlock2D(shape, inside, made)
        self.back = ConvBlock2D((given["filters"],), back, made)
        self.symmetric = given["symmetric"]

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        x = x + self.back(self.dilate(x, rng), rng)
        return symmetrize(x) if self.symmetric else x


class DilatedResidual2D(nnx.Module):
    """dilated_residual_2d: as `sequences.DilatedResidual`, the map symmetrised behind each step."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.steps = nnx.List([DilatedStep2D(shape, given, dilation, made) for dilation in dilations(given)])
        self.remat = made.remat

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        for step in self.steps:
            x = called(step, x, rng, self.remat)
        return x


class Crop2D(nnx.Module):
    """cropping_2d, and Keras's Cropping2D."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.sides = sides(given["cropping"])

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        (top, bottom), (left, right) = self.sides
        return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


class UpperTriangle(nnx.Module):
    """upper_tri: (B, L, L, C) -> (B, P, C)."""

    def __init__(self, shape: Shape, given: Arguments, made: Made):
        self.diagonal = given["diagonal_offset"]

    def __call__(self, x: jax.Array, rng: jax.Array | None = None) -> jax.Array:
        return upper_triangle(x, self.diagonal)
