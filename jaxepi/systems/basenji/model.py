"""A network of blocks over a window of DNA: Basenji2, Basset, Akita and what else params.json describes.

        one-hot (B, L, 4) | trunk: blocks, then the network's activation  -> trunk (B, T, C)
                          | head i: blocks, of which the last is a dense layer -> (B, T', K_i)

In a conv_block the activation comes before the convolution, so that the first thing done to the one-hot DNA is an
activation. Source: Kelley, PLoS Computational Biology 2020; calico/basenji.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.activations import BLOCK_ACTIVATIONS, GELUS, KERAS_ACTIVATIONS, activate
from jaxepi.systems.basenji.blocks import attention, pairs, sequences, unet
from jaxepi.systems.basenji.presets import BASENJI2
from jaxepi.systems.basenji.shapes import Geometry, Traced, finer, follow, geometry
from jaxepi.systems.basenji.vocabulary import GLOBALS, INITIALIZERS, NORM_TYPES, Filled, as_text, filled

# name -> module, made of (shape of the input, arguments, what blocks share); other names are refused earlier
MODULES: dict[str, Any] = {
    "conv_block": sequences.ConvBlock,
    "conv_dna": sequences.ConvDna,
    "conv_nac": sequences.ConvNac,
    "conv_tower": sequences.ConvTower,
    "dilated_residual": sequences.DilatedResidual,
    "res_tower": unet.ResidualTower,
    "fpn_unet": unet.FpnUnet,
    "transformer": attention.Transformer,
    "transformer_tower": attention.TransformerTower,
    "dense_block": sequences.DenseBlock,
    "final": sequences.Final,
    "dense": sequences.Final,
    "squeeze_excite": sequences.SqueezeExcite,
    "Conv1D": sequences.KerasConv1D,
    "Cropping1D": sequences.Crop,
    "Dense": sequences.Final,
    "Flatten": sequences.Flatten,
    "one_to_two": pairs.OneToTwo,
    "concat_dist_2d": pairs.ConcatDistance,
    "conv_block_2d": pairs.ConvBlock2D,
    "symmetrize_2d": pairs.Symmetrize,
    "dilated_residual_2d": pairs.DilatedResidual2D,
    "cropping_2d": pairs.Crop2D,
    "Cropping2D": pairs.Crop2D,
    "upper_tri": pairs.UpperTriangle,
}
_TRUNK = tuple(as_text(block, "trunk") for block in BASENJI2["model"]["trunk"])
_HEAD = json.dumps([as_text({"name": "final", "activation": "softplus"}, "head")])


@dataclasses.dataclass(frozen=True)
class BasenjiConfig:
    """A network. Blocks may be given as mappings or as their JSON, and are kept as JSON, one text a block."""

    window: int = 131_072  # bp; the dataset decides
    trunk: tuple[str, ...] = _TRUNK  # blocks
    # of each head a JSON list of its blocks; a last layer without `units` has as many as the dataset has tracks
    heads: tuple[str, ...] = (_HEAD,)
    head_names: tuple[str, ...] = ("head",)
    # What blocks have for arguments that they do not set, if it is not "" or 0. The trunk ends with this activation.
    activation: str = "gelu"
    norm_type: str = "batch"  # batch | batch-sync | layer; "": no normalisation
    bn_momentum: float = dataclasses.field(default=0.9, metadata={"below": 1})
    l2_scale: float = 0.0
    l1_scale: float = 0.0  # dense layers only
    padding: str = ""
    kernel_initializer: str = ""
    # What "gelu" is: "tanh", as the original's code since April 2022; "sigmoid1702", as before, when the released
    # models were made; "erf", as a port to PyTorch.
    gelu: str = "tanh"
    # The original's code since October 2021 starts the scales of conv_block's norm at random near 0 (a Glorot draw),
    # because it passes no initializer on; before, and here, they start at 1.
    glorot_gamma: bool = False
    dtype: str = "float32"  # compute dtype: float32 or bfloat16 (parameters stay float32)
    remat: bool = False  # recompute blocks in the backward pass: less memory, a third more work

    def __post_init__(self) -> None:
        """Raises JaxepiError for unknown blocks, arguments and names."""
        trunk = tuple(as_text(block, f"config.model.trunk[{i}]") for i, block in enumerate(self.trunk))
        heads = tuple(_head_text(head, f"config.model.heads[{i}]") for i, head in enumerate(self.heads))
        object.__setattr__(self, "trunk", trunk)
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "head_names", tuple(self.head_names))
        if len(self.head_names) != len(heads):
            raise JaxepiError(
                f"config.model.head_names has {len(self.head_names)} names, but config.model.heads {len(heads)} heads."
            )
        for name, allowed in (
            ("activation", ("", "gelu", *BLOCK_ACTIVATIONS)), ("norm_type", ("", *NORM_TYPES)), ("gelu", tuple(GELUS)),
            ("padding", ("", "same", "valid")), ("kernel_initializer", ("", *INITIALIZERS)),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in allowed:
                raise JaxepiError(
                    f"config.model.{name} is {value!r}{did_you_mean(str(value), allowed)}, but must be one of "
                    f"{', '.join(map(repr, allowed))}."
                )
        for block in (block for part in (self.blocks(), *map(self.blocks, range(len(heads)))) for block in part):
            keras = block.name in ("final", "dense", "Dense", "Conv1D")
            if keras and (block.arguments["activation"] or "linear") not in KERAS_ACTIVATIONS:
                raise JaxepiError(
                    f"config.model.activation {self.activation!r} reaches {block.name}, a layer of Keras, which has "
                    "none of this name: give the block an activation of its own."
                )

    def blocks(self, head: int | None = None) -> list[Filled]:
        """The blocks of the trunk, or those of a head, with all arguments."""
        given = {name: getattr(self, name) for name in GLOBALS}
        return filled(self.trunk if head is None else json.loads(self.heads[head]), given)

    def units(self, head: int) -> int | None:
        """How many tracks a head predicts; None if the dataset is to say so."""
        block = self.blocks(head)[-1]
        units = block.arguments.get("units", "required")
        return None if units == "required" else units

    def geometry(self, head: int | None = 0) -> Geometry:
        """Where the outputs of a head lie, or with None or without heads those of the trunk."""
        blocks = self.blocks(head) if head is not None and self.heads else []
        return geometry(self.window, self.blocks(), blocks)


def with_units(heads: Sequence[Any], tracks: Sequence[int]) -> tuple[str, ...]:
    """Heads whose last layer has as many units as there are tracks, where it says none."""
    made = []
    for head, count in zip(heads, tracks, strict=True):
        *rest, last = json.loads(_head_text(head, "a head"))
        block = json.loads(last)
        if block["name"] in ("final", "dense", "Dense", "dense_block"):
            block.setdefault("units", count)
        made.append(json.dumps([*rest, as_text(block, "a head")]))
    return tuple(made)


def _head_text(head: Any, where: str) -> str:
    """A head's JSON from a block, blocks or JSON.

    Raises:
      JaxepiError: it is none of these, or empty.
    """
    if isinstance(head, str):
        try:
            head = json.loads(head)
        except ValueError:
            raise JaxepiError(f"{where} is {head!r}, which is no JSON of blocks.") from None
    listed = [head] if isinstance(head, Mapping) or hasattr(head, "to_dict") else head
    if not isinstance(listed, list | tuple) or not listed:
        raise JaxepiError(f"{where} is {head!r}, but a block or a list of blocks was expected.")
    return json.dumps([as_text(block, f"{where}[{i}]") for i, block in enumerate(listed)])


class BasenjiOutputs(NamedTuple):
    """What a network returns."""

    heads: tuple[jax.Array | None, ...]  # of each head (B, T, K) float32, in order; None where it was not asked for
    trunk: jax.Array  # (B, T, C) behind the last activation, in the compute dtype
    intermediates: dict[str, jax.Array] | None = None


class Basenji(nnx.Module):
    """See the module."""

    def __init__(self, config: BasenjiConfig, *, rngs: nnx.Rngs):
        """Raises JaxepiError for blocks that do not fit onto each other, or a head without units."""
        self.config = config
        made = sequences.Made(config.gelu, config.glorot_gamma, jnp.dtype(config.dtype), config.remat, rngs)
        traced = Traced((config.window, 4))
        self.trunk, traced = _stack(config.blocks(), traced, made)
        for head in range(len(config.heads)):
            if config.units(head) is None:
                raise JaxepiError(f"config.model.heads[{head}] ends without units: say how many tracks it predicts.")
            config.geometry(head)  # which raises for heads that end nowhere
        self.heads = nnx.List([_stack(config.blocks(head), traced, made)[0] for head in range(len(config.heads))])

    def __call__(
        self,
        x: jax.Array,
        *,
        head: int | None = None,
        rng: jax.Array | None = None,
        intermediates: bool = False,
    ) -> BasenjiOutputs:
        """One-hot windows (B, L, 4) float to `BasenjiOutputs`.

        Args:
          x: the windows; where no block flattens, L may differ from `config.window`.
          head: number of the one head to compute; None: all.
          rng: key of the dropout; None: no dropout.
          intermediates: also return what each block makes, as `trunk_i` and `<head name>_i`, and `trunk`.

        Raises:
          JaxepiError: x has not four channels.
        """
        if x.ndim != 3 or x.shape[2] != 4:
            raise JaxepiError(f"Basenji takes one-hot input of shape (batch, length, 4), but got {x.shape}.")
        seen: dict[str, jax.Array] = {}
        y = _run(self.trunk, x.astype(self.config.dtype), rng, self.config.remat, "trunk", seen)
        trunk = seen["trunk"] = activate(y, self.config.activation or None, self.config.gelu)
        outputs = tuple(
            _run(stack, trunk, rng, self.config.remat, name, seen).astype(jnp.promote_types(x.dtype, jnp.float32))
            if head in (None, number)
            else None
            for number, (stack, name) in enumerate(zip(self.heads, self.config.head_names, strict=True))
        )
        return BasenjiOutputs(outputs, trunk, seen if intermediates else None)

    def penalty(self, head: int | None = None) -> jax.Array:
        """Σ over kernels of l1 · Σ |kernel| + l2 · Σ kernel², by the scales of their blocks, float32.

        Args:
          head: the only one that counts, as batches of another leave it alone; None: all count.
        """
        total = jnp.zeros((), jnp.float32)
        for path, module in nnx.iter_modules(self):
            l1, l2 = getattr(module, "penalties", (0.0, 0.0))
            if (l1 or l2) and (head is None or path[0] != "heads" or path[1] == head):
                kernel = module.kernel[...]
                total = total + l1 * jnp.abs(kernel).sum() + l2 * jnp.square(kernel).sum()
        return total


def _stack(listed: Sequence[Filled], traced: Traced, made: sequences.Made) -> tuple[nnx.List, Traced]:
    """Modules of blocks, and the shape behind them."""
    modules = []
    for block in listed:
        shapes = [traced.shape]
        if block.name == "fpn_unet":
            shapes.append(traced.seen[finer(traced, block.arguments["stride"])])
        modules.append(MODULES[block.name](*shapes, block.arguments, made))
        traced = follow(block, traced)
    return nnx.List(modules), traced


_TOWERS = (sequences.ConvTower, unet.ResidualTower)
# blocks of several steps recompute each by itself
_STEPWISE = (sequences.DilatedResidual, pairs.DilatedResidual2D, attention.TransformerTower)


def _run(
    modules: nnx.List, x: jax.Array, rng: jax.Array | None, remat: bool, name: str, seen: dict[str, jax.Array]
) -> jax.Array:
    kept: list[jax.Array] = []  # what a block of a U-net may join
    for number, module in enumerate(modules):
        if isinstance(module, _TOWERS):
            x, inside = module.unpooled(x, rng)
            kept += inside
        elif isinstance(module, unet.FpnUnet):
            chosen = finer(Traced(x.shape[1:], seen=tuple(y.shape[1:] for y in kept)), module.stride)
            run = nnx.remat(type(module).__call__) if remat else type(module).__call__
            x = run(module, x, kept[chosen], rng)
        else:
            x = sequences.called(module, x, rng, remat and not isinstance(module, _STEPWISE))
        kept.append(x)
        seen[f"{name}_{number}"] = x
    return x
