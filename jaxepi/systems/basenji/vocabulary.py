"""The blocks of a Basenji network: their names, arguments and defaults, and the shapes that they make.

A block is a mapping with `name` and arguments, as in the original's params.json. Lower-case names are blocks of the
original, which get the network's globals as defaults; upper-case names are layers of Keras.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.activations import BLOCK_ACTIVATIONS, KERAS_ACTIVATIONS
from jaxepi.layers.pairs import OPERATIONS

Block = Mapping[str, Any]
Shape = tuple[int, ...]  # of one sequence: (L, C), (L, L, C) for pairs of bins, or (C,)

REQUIRED = "required"  # instead of a default
GLOBALS = ("activation", "norm_type", "bn_momentum", "l2_scale", "l1_scale", "padding", "kernel_initializer")
NORM_TYPES = ("batch", "batch-sync", "layer")
INITIALIZERS = ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform", "zeros")

_CONV = {
    "filters": None, "kernel_size": 1, "activation": "relu", "stride": 1, "l2_scale": 0.0, "dropout": 0.0,
    "conv_type": "standard", "pool_size": 1, "pool_type": "max", "norm_type": None, "bn_momentum": 0.99,
    "norm_gamma": None, "residual": False, "kernel_initializer": "he_normal", "padding": "same",
}  # fmt: skip
_BLOCK = {**_CONV, "activation_end": None, "dilation_rate": 1}
_BLOCK_2D = {
    **{key: _BLOCK[key] for key in _BLOCK if key not in ("activation_end", "pool_type", "residual", "padding")},
    **{"filters": 128, "norm_gamma": "ones", "symmetric": False},
}
_DENSE = {
    "units": None, "activation": "relu", "activation_end": None, "flatten": False, "dropout": 0.0, "l2_scale": 0.0,
    "l1_scale": 0.0, "residual": False, "norm_type": None, "bn_momentum": 0.99, "norm_gamma": None,
    "kernel_initializer": "he_normal",
}  # fmt: skip
_FINAL = {
    "units": REQUIRED, "activation": "linear", "flatten": False, "kernel_initializer": "he_normal", "l2_scale": 0.0,
    "l1_scale": 0.0,
}  # fmt: skip


def _without(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key not in names}


_DILATED = {"filters": REQUIRED, "kernel_size": 3, "rate_mult": 2.0, "dropout": 0.0, "repeat": 1}

_TRANSFORMER = {
    "key_size": REQUIRED, "heads": 1, "dense_expansion": 2.0, "content_position_bias": True, "dropout": 0.25,
    "attention_dropout": 0.05, "position_dropout": 0.01, "l2_scale": 0.0, "mha_l2_scale": 0.0,
    "num_position_features": None, "seqlen_train": None, "mha_initializer": "he_normal",
    "kernel_initializer": "he_normal",
}  # fmt: skip
_TOWER = {"filters_init": REQUIRED, "filters_end": None, "filters_mult": None, "divisible_by": 1, "repeat": 1}

# name -> argument -> default
VOCABULARY: dict[str, dict[str, Any]] = {
    "conv_block": _BLOCK,
    "conv_dna": {**_CONV, "kernel_size": 15, "use_bias": None, "se": False, "dropout_residual": 0.0},
    "conv_nac": {**_CONV, "dilation_rate": 1, "se": False},
    "conv_tower": {**_TOWER, **_without(_BLOCK, "filters")},
    "res_tower": {
        **_TOWER, **_without(_CONV, "filters"), "dilation_rate": 1, "se": False, "pool_size": 2, "num_convs": 2,
    },
    "transformer": _TRANSFORMER,
    "transformer_tower": {**_TRANSFORMER, "repeat": 2},
    "fpn_unet": {
        "activation": "relu", "stride": 2, "l2_scale": 0.0, "dropout": 0.0, "norm_type": None, "bn_momentum": 0.99,
        "kernel_size": 1, "kernel_initializer": "he_normal",
    },
    "dilated_residual": {**_without(_BLOCK, "dilation_rate", "norm_gamma"), **_DILATED, "round": False},
    "dense_block": _DENSE,
    "final": _FINAL,
    "dense": _without(_FINAL, "flatten"),
    "squeeze_excite": {"activation": "relu", "bottleneck_ratio": 8, "additive": False},
    "one_to_two": {"operation": "mean"},
    "concat_dist_2d": {},
    "conv_block_2d": _BLOCK_2D,
    "symmetrize_2d": {},
    "dilated_residual_2d": {
        **_without(_BLOCK_2D, "dilation_rate", "norm_gamma", "symmetric"), **_DILATED, "symmetric": True,
    },
    "cropping_2d": {"cropping": REQUIRED},
    "upper_tri": {"diagonal_offset": 2},
    "Conv1D": {
        "filters": REQUIRED, "kernel_size": REQUIRED, "strides": 1, "padding": "valid", "dilation_rate": 1,
        "activation": None, "use_bias": True, "kernel_initializer": "glorot_uniform",
    },
    "Cropping1D": {"cropping": 1},
    "Cropping2D": {"cropping": 0},
    "Dense": {"units": REQUIRED, "activation": None, "use_bias": True, "kernel_initializer": "glorot_uniform"},
    "Flatten": {},
}  # fmt: skip
_KERAS_STYLE = ("final", "dense", "Conv1D", "Dense")  # their activations are those of Keras
_CHOICES = {
    "norm_type": (None, *NORM_TYPES),
    "kernel_initializer": INITIALIZERS,
    "mha_initializer": INITIALIZERS,
    "padding": ("same", "valid"),
    "conv_type": ("standard", "separable"),
    "pool_type": ("max", "softmax"),
    "operation": OPERATIONS,
    "norm_gamma": (None, "ones", "zeros"),
}


def as_text(block: Block | str, where: str) -> str:
    """A block as one line of JSON with its name first, checked; the same text for the same block.

    Raises:
      JaxepiError: no mapping with a known name and known arguments; it is `where`.
    """
    block = _parsed(block, where)
    name = block.get("name")
    if not isinstance(name, str) or name not in VOCABULARY:
        raise JaxepiError(
            f"{where} has the name {name!r}{did_you_mean(str(name), VOCABULARY)}, but known blocks are "
            f"{', '.join(VOCABULARY)}."
        )
    block = _modern(block)
    _check_arguments(name, block, where)
    rest = {key: block[key] for key in sorted(block) if key != "name"}
    return json.dumps({"name": name, **rest})


def _parsed(block: Any, where: str) -> dict[str, Any]:
    if isinstance(block, str):
        try:
            block = json.loads(block)
        except ValueError:
            block = None
    if not hasattr(block, "items"):
        raise JaxepiError(f"{where} is no block: a mapping with a name and arguments was expected, or its JSON.")
    return dict(block.items())


def _modern(block: dict[str, Any]) -> dict[str, Any]:
    """`batch_norm` of earlier versions as the `norm_type` that it became."""
    if "batch_norm" not in block:
        return block
    rest = {key: value for key, value in block.items() if key != "batch_norm"}
    return {"norm_type": "batch" if block["batch_norm"] else None, **rest}


def _check_arguments(name: str, block: Block, where: str) -> None:
    known = VOCABULARY[name]
    for key, value in block.items():
        if key == "name":
            continue
        if key not in known:
            raise JaxepiError(
                f"{where} gives {name} the argument {key!r}{did_you_mean(key, known)}, but it takes "
                f"{', '.join(known) or 'none'}."
            )
        choices = _choices(name, key)
        if choices is not None and value not in choices:
            raise JaxepiError(
                f"{where} sets {key} of {name} to {value!r}{did_you_mean(str(value), [c for c in choices if c])}, "
                f"but it must be one of {', '.join(map(str, choices))}."
            )
        _check_number(name, key, value, known[key], where)
    if name in ("conv_tower", "res_tower") and block.get("filters_mult") is None and block.get("filters_end") is None:
        raise JaxepiError(f"{where} gives {name} neither filters_mult nor filters_end, one of which it needs.")
    for key, default in known.items():
        if default is REQUIRED and key not in block and key != "units":  # units may be left to the dataset
            raise JaxepiError(f"{where} lacks the argument {key!r} of {name}.")


def _choices(name: str, key: str) -> tuple[Any, ...] | None:
    if key in ("activation", "activation_end"):
        keras = key == "activation" and name in _KERAS_STYLE
        return (None, *KERAS_ACTIVATIONS) if keras else (None, "gelu", *BLOCK_ACTIVATIONS)
    return _CHOICES.get(key)


_FRACTIONS = ("dropout", "dropout_residual", "attention_dropout", "position_dropout")
_FLAGS = ("residual", "flatten", "round", "se", "symmetric", "additive", "content_position_bias")


def _check_number(name: str, key: str, value: Any, default: Any, where: str) -> None:
    if _choices(name, key) is not None or key in ("cropping", "use_bias") or (value is None and default is None):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if key in _FLAGS:
        fits, what = isinstance(value, bool), "true or false"
    elif key in _FRACTIONS:
        fits, what = number and 0 <= value < 1, "a number from 0 to below 1"
    elif isinstance(default, float) or key in ("filters_init", "filters_end", "filters_mult", "rate_mult"):
        fits, what = number and value >= 0, "a number that is not negative"
    else:
        least = 0 if key == "diagonal_offset" else 1
        fits, what = number and isinstance(value, int) and value >= least, f"a whole number of at least {least}"
    if not fits:
        raise JaxepiError(f"{where} sets {key} of {name} to {value!r}, but {what} was expected.")


def arguments(block: Block, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument of a block: its own, else the network's globals `given` if they say something, else defaults."""
    name = block["name"]
    known = VOCABULARY[name]
    handed = {key: value for key, value in given.items() if key in known and value}
    return {**known, **handed, **_without(block, "name")}


class Filled(NamedTuple):
    """A block with all of its arguments."""

    name: str
    arguments: dict[str, Any]


def filled(texts: Iterable[str], given: Mapping[str, Any]) -> list[Filled]:
    """Blocks from their texts."""
    blocks = [json.loads(text) for text in texts]
    return [Filled(block["name"], arguments(block, given)) for block in blocks]


def tower_filters(tower: Mapping[str, Any]) -> list[int]:
    """Filters of each step of a tower; the count that is not rounded is what grows."""
    repeat, by, filters = tower["repeat"], tower["divisible_by"], tower["filters_init"]
    growth = tower["filters_mult"]
    if growth is None:
        growth = math.exp(math.log(tower["filters_end"] / filters) / (repeat - 1)) if repeat > 1 else 1.0
    made = []
    for _ in range(repeat):
        made.append(int(round(filters / by) * by))
        filters *= growth
    return made


def dilations(blocks: Mapping[str, Any]) -> list[int]:
    """Dilation of each residual block, half rounded to even; with `round` the rate that grows is rounded too."""
    rate, made = 1.0, []
    for _ in range(blocks["repeat"]):
        made.append(round(rate))
        rate *= blocks["rate_mult"]
        if blocks.get("round"):
            rate = float(round(rate))
    return made


def ends(cropping: Any, where: str = "cropping") -> tuple[int, int]:
    """What Cropping1D takes off at both ends, from one number or two.

    Raises:
      JaxepiError: it is neither.
    """
    pair = (cropping, cropping) if isinstance(cropping, int) else tuple(cropping) if _is_list(cropping) else ()
    if len(pair) != 2 or not all(isinstance(end, int) and not isinstance(end, bool) and end >= 0 for end in pair):
        raise JaxepiError(f"{where} is {cropping!r}, but a number of places or one for each end was expected.")
    return pair


def sides(cropping: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """What a 2-D cropping takes off in both directions."""
    if isinstance(cropping, int):
        return ends(cropping), ends(cropping)
    if not _is_list(cropping) or len(cropping) != 2:
        raise JaxepiError(f"cropping is {cropping!r}, but one number or two were expected.")
    return ends(cropping[0]), ends(cropping[1])


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
