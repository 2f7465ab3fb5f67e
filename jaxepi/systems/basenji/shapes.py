"""What shapes a network makes of a window, and so where its predictions lie; nothing is computed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxepi.errors import JaxepiError
from jaxepi.systems.basenji.vocabulary import Filled, Shape, ends, sides, tower_filters


class Traced(NamedTuple):
    """Shape behind some blocks, and by how much those with strides or pools shortened the sequence."""

    shape: Shape
    factor: float = 1.0
    seen: tuple[Shape, ...] = ()  # of what a block of a U-net may join


class Geometry(NamedTuple):
    """Where the outputs of a network lie in its window.

    Attributes:
      shape: of an output of one window: (T, K), or (K,) where there are no places.
      stride: bp of one bin.
      crop: bp without an output at either end.
      diagonal: of pairs of bins; None if outputs lie at bins.
      channels: of the trunk.
    """

    shape: Shape
    stride: int
    crop: int
    diagonal: int | None
    channels: int


def geometry(window: int, trunk: Sequence[Filled], head: Sequence[Filled]) -> Geometry:
    """Follows a window of so many bp through trunk and head.

    The bins are counted as the original does: the stride is the product of what strides and pools shorten, and what
    the output lacks of window / stride bins is cropped at both ends alike.

    Raises:
      JaxepiError: blocks that do not fit onto each other, or a window that is too short.
    """
    traced = Traced((window, 4))
    cropped, diagonal = 0, None  # bins cropped from maps, and what their triangle leaves out
    channels = 4
    for number, block in enumerate([*trunk, *head]):
        before = traced.shape
        traced = follow(block, traced)
        if block.name in ("cropping_2d", "Cropping2D"):
            cropped += sides(block.arguments["cropping"])[0][0]
        elif block.name == "upper_tri":
            diagonal = block.arguments["diagonal_offset"]
        if min(traced.shape) < 1:
            raise JaxepiError(
                f"A window of {window} bp is too short for this network: {block.name} makes {traced.shape} of {before}."
            )
        if number == len(trunk) - 1:
            channels = traced.shape[-1]
    stride = int(traced.factor)
    if diagonal is not None:
        return Geometry(traced.shape, stride, cropped * stride, diagonal, channels)
    if len(traced.shape) == 3:
        raise JaxepiError("A head that ends with a map of pairs of bins needs upper_tri before its last layer.")
    missing = window // stride - traced.shape[0] if len(traced.shape) == 2 else 0
    return Geometry(traced.shape, stride, missing // 2 * stride, None, channels)


def follow(block: Filled, traced: Traced) -> Traced:
    """The shape behind one block.

    Raises:
      JaxepiError: the block does not take such an input.
    """
    name, given, (shape, factor, seen) = block.name, block.arguments, traced
    if name not in _RULES:
        return traced._replace(seen=(*seen, shape))
    rank, rule = _RULES[name]
    if rank and len(shape) != rank:
        takes = {2: "a sequence (L, C)", 3: "a map (L, L, C)"}[rank]
        raise JaxepiError(f"{name} takes {takes}, but comes behind a block that makes {shape}.")
    made = rule(given, shape)
    pooled = name in ("conv_block", "conv_dna", "conv_nac", "conv_tower", "Conv1D", "conv_block_2d")
    pooled = pooled or name in ("dilated_residual", "dilated_residual_2d", "res_tower", "fpn_unet")
    inside = _TOWERS[name](given, shape) if name in _TOWERS else ()
    if name == "fpn_unet":
        finer(traced, given["stride"])
    return Traced(made, factor * shape[0] / made[0] if pooled and made[0] else factor, (*seen, *inside, made))


def finer(traced: Traced, stride: int) -> int:
    """Number, among what was seen, of the last that is `stride` times as long as the input of a block of a U-net.

    Raises:
      JaxepiError: there is none.
    """
    length = stride * traced.shape[0]
    found = [number for number, shape in enumerate(traced.seen[:-1]) if len(shape) == 2 and shape[0] == length]
    if not found:
        raise JaxepiError(f"fpn_unet joins {length} positions, but no tower before it has kept as many.")
    return found[-1]


def pooled_length(length: int, given: Mapping[str, Any]) -> int:
    """Positions behind the pool of a block.

    Raises:
      JaxepiError: a softmax pool whose runs do not fill the length.
    """
    size = given["pool_size"]
    if given.get("pool_type") == "softmax" and length % size:
        raise JaxepiError(f"A softmax pool of {size} takes a multiple of it, but comes behind {length} positions.")
    return length // size if given.get("padding") == "valid" else -(-length // size)


def _conv(given: Mapping[str, Any], shape: Shape, filters: int | None = None) -> Shape:
    """Behind a convolution with padding "same", and its pool."""
    length = pooled_length(-(-shape[0] // given["stride"]), given)
    return length, filters or given["filters"] or shape[-1]


def _nac(given: Mapping[str, Any], shape: Shape) -> Shape:
    length = shape[0]
    if given["padding"] == "valid":
        length = -(-(length - (given["kernel_size"] - 1) * given["dilation_rate"]) // given["stride"])
        return pooled_length(max(length, 0), given), given["filters"] or shape[-1]
    return _conv(given, shape)


def _tower_steps(given: Mapping[str, Any], shape: Shape) -> list[Shape]:
    """Behind each step of a conv_tower."""
    steps = []
    for filters in tower_filters(given):
        shape = _conv(given, shape, filters)
        steps.append(shape)
    return steps


def _residual_steps(given: Mapping[str, Any], shape: Shape) -> list[Shape]:
    """Behind each step of a res_tower, before its pool, and then behind the last pool."""
    steps: list[Shape] = []
    for filters in tower_filters(given):
        length, _ = _nac({**given, "filters": filters, "pool_size": 1}, shape)
        steps.append((length, filters))
        shape = pooled_length(length, {**given, "padding": "same"}), filters
    return [*steps, shape]


def _fpn(given: Mapping[str, Any], shape: Shape) -> Shape:
    return given["stride"] * shape[0], shape[1]


def _conv_2d(given: Mapping[str, Any], shape: Shape) -> Shape:
    length = pooled_length(-(-shape[0] // given["stride"]), given)
    return length, length, given["filters"]


def _residual(given: Mapping[str, Any], shape: Shape) -> Shape:
    if given["stride"] != 1 or given["pool_size"] != 1:
        raise JaxepiError("dilated_residual adds its input to its output, so that stride and pool_size must be 1.")
    return shape


def _dense(given: Mapping[str, Any], shape: Shape) -> Shape:
    units = given["units"] or shape[-1]
    return (1, units) if given.get("flatten") else (*shape[:-1], units)


def _keras_conv(given: Mapping[str, Any], shape: Shape) -> Shape:
    length = shape[0] - ((given["kernel_size"] - 1) * given["dilation_rate"] if given["padding"] == "valid" else 0)
    return -(-length // given["strides"]), given["filters"]


def _crop_1d(given: Mapping[str, Any], shape: Shape) -> Shape:
    return shape[0] - sum(ends(given["cropping"])), shape[1]


def _crop_2d(given: Mapping[str, Any], shape: Shape) -> Shape:
    rows, columns = sides(given["cropping"])
    if rows != columns:
        raise JaxepiError(f"cropping {given['cropping']!r} makes a map that is not square.")
    return shape[0] - sum(rows), shape[1] - sum(columns), shape[2]


def _triangle(given: Mapping[str, Any], shape: Shape) -> Shape:
    left = max(shape[0] - given["diagonal_offset"], 0)
    return left * (left + 1) // 2, shape[2]


# what a tower keeps beside its output
_TOWERS: dict[str, Any] = {
    "conv_tower": _tower_steps,
    "res_tower": lambda given, shape: _residual_steps(given, shape)[:-1],
}

# name -> rank of the input (0 for any), and what becomes of it
_RULES: dict[str, tuple[int, Any]] = {
    "conv_block": (2, _conv),
    "conv_dna": (2, _conv),
    "conv_nac": (2, _nac),
    "conv_tower": (2, lambda given, shape: _tower_steps(given, shape)[-1]),
    "res_tower": (2, lambda given, shape: _residual_steps(given, shape)[-1]),
    "fpn_unet": (2, _fpn),
    "transformer": (2, lambda given, shape: shape),
    "transformer_tower": (2, lambda given, shape: shape),
    "dilated_residual": (2, _residual),
    "dense_block": (0, _dense),
    "final": (0, _dense),
    "dense": (0, _dense),
    "Dense": (0, _dense),
    "Conv1D": (2, _keras_conv),
    "Cropping1D": (2, _crop_1d),
    "Flatten": (0, lambda given, shape: (math.prod(shape),)),
    "one_to_two": (2, lambda given, shape: (
        shape[0], shape[0], shape[1] * (2 if given["operation"] == "concat" else 1))),
    "concat_dist_2d": (3, lambda given, shape: (*shape[:2], shape[2] + 1)),
    "conv_block_2d": (3, _conv_2d),
    "symmetrize_2d": (3, lambda given, shape: shape),
    "dilated_residual_2d": (3, _residual),
    "cropping_2d": (3, _crop_2d),
    "Cropping2D": (3, _crop_2d),
    "upper_tri": (3, _triangle),
}  # fmt: skip
