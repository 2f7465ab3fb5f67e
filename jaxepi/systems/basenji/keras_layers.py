"""The layers of Keras in which the original keeps a network's weights, in its order."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from flax import nnx

from jaxepi.layers.keras_like import BatchNorm
from jaxepi.pretrained.table import IDENTITY, Entry, Transform, permute
from jaxepi.systems.basenji.blocks import sequences
from jaxepi.systems.basenji.blocks.attention import Attention
from jaxepi.systems.basenji.blocks.pairs import SeparableConv2D
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig

_NORM = {"gamma": "scale", "beta": "bias"}
# of multihead_attention: layer inside -> ours, in the order of their weights, which follow the two biases
ATTENTION = {
    "q_layer": "query", "k_layer": "keys", "v_layer": "value", "embedding_layer": "out", "r_k_layer": "distance",
}  # fmt: skip
_DEPTHWISE = {3: permute(0, 2, 1), 4: permute(0, 1, 3, 2)}  # Keras: (..., in, 1); ours (..., 1, in)


class Weight(NamedTuple):
    """One array of a layer: its name there, our path, the change of layout, and its shape there."""

    name: str
    path: str
    transform: Transform
    shape: tuple[int, ...]


class Layer(NamedTuple):
    """A layer that owns weights.

    Attributes:
      stem: the name that Keras gives such layers, without the number.
      head: number of the head that it belongs to; None for the trunk.
      weights: in the order of the file.
    """

    stem: str
    head: int | None
    weights: tuple[Weight, ...]


def layers_of(config: BasenjiConfig) -> tuple[Layer, ...]:
    """The layers with weights of the trunk and then of each head, as the original's program makes them."""
    # what moves no weight takes its default, so that one trace serves many configs; zeros trace fastest
    return _traced(dataclasses.replace(
        config, gelu="tanh", glorot_gamma=False, dtype="float32", remat=False, kernel_initializer="zeros"
    ))  # fmt: skip


@functools.lru_cache(maxsize=32)
def _traced(config: BasenjiConfig) -> tuple[Layer, ...]:
    found: list[Layer] = []

    def trace() -> None:
        model = Basenji(config, rngs=nnx.Rngs(0))  # whose attributes are in the order in which they were made
        found.extend(_walk(model.trunk, "trunk", None))
        for number, head in enumerate(model.heads):
            found.extend(_walk(head, f"heads.{number}", number))

    nnx.eval_shape(trace)
    return tuple(found)


def names_of(layers: tuple[Layer, ...] | list[Layer]) -> list[str]:
    """The names that Keras gives to layers in a fresh session: conv1d, conv1d_1, ..."""
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        names.append(layer.stem + (f"_{seen[layer.stem]}" if seen[layer.stem] else ""))
        seen[layer.stem] += 1
    return names


def table(config: BasenjiConfig) -> list[Entry]:
    """Every array as `<layer>/<weight>:0`."""
    layers = layers_of(config)
    return [
        Entry(f"{name}/{weight.name}:0", weight.path, weight.transform)
        for name, layer in zip(names_of(layers), layers, strict=True)
        for weight in layer.weights
    ]


def _walk(module: Any, path: str, head: int | None) -> Iterator[Layer]:
    """The layers inside a module, in the order of its attributes."""
    if isinstance(module, nnx.List):
        for number, inner in enumerate(module):
            yield from _walk(inner, f"{path}.{number}", head)
    elif isinstance(module, nnx.Module):
        made = _layer(module, path)
        if made is not None:
            yield Layer(made[0], head, tuple(made[1]))
            return
        for name, inner in vars(module).items():
            yield from _walk(inner, f"{path}.{name}", head)


def _layer(module: nnx.Module, path: str) -> tuple[str, list[Weight]] | None:
    """Stem and weights, if the module is one layer of Keras."""
    if isinstance(module, sequences.Conv):
        return f"conv{module.kernel.ndim - 2}d", _arrays(module, path, {"kernel": "kernel", "bias": "bias"})
    if isinstance(module, sequences.Linear):
        return "dense", _arrays(module, path, {"kernel": "kernel", "bias": "bias"})
    if isinstance(module, BatchNorm):
        return "batch_normalization", _arrays(
            module, path, {**_NORM, "moving_mean": "mean", "moving_variance": "var"}
        )  # fmt: skip
    if isinstance(module, nnx.LayerNorm):
        return "layer_normalization", _arrays(module, path, _NORM)
    if isinstance(module, sequences.Scale):
        return "scale", _arrays(module, path, {"scale": "scale"})
    if isinstance(module, sequences.SeparableConv | SeparableConv2D):
        rank = module.depthwise.kernel.ndim
        inner = [
            *_arrays(module.depthwise, f"{path}.depthwise", {"depthwise_kernel": "kernel"}, _DEPTHWISE[rank]),
            *_arrays(module.pointwise, f"{path}.pointwise", {"pointwise_kernel": "kernel", "bias": "bias"}),
        ]
        return f"separable_conv{rank - 2}d", inner
    if isinstance(module, sequences.SqueezeExcite):
        parts = {"dense": "squeeze", "dense_1": "excite"}
        inner = [
            weight._replace(name=f"{name}/{weight.name}")
            for name, part in parts.items()
            for weight in _arrays(getattr(module, part), f"{path}.{part}", {"kernel": "kernel", "bias": "bias"})
        ]
        return "squeeze_excite", inner
    if isinstance(module, Attention):
        inner = _arrays(module, path, {"r_w_bias": "content_offset", "r_r_bias": "distance_offset"})
        for name, part in ATTENTION.items():
            held = _arrays(getattr(module, part), f"{path}.{part}", {"kernel": "kernel", "bias": "bias"})
            inner += [weight._replace(name=f"{name}/{weight.name}") for weight in held]
        return "multihead_attention", inner
    if isinstance(module, sequences.SoftmaxPool):
        return "softmax_pool1d", _arrays(module.logit, f"{path}.logit", {"dense/kernel": "kernel"})
    return None


def _arrays(module: nnx.Module, path: str, names: dict[str, str], transform: Transform = IDENTITY) -> list[Weight]:
    """The arrays of a layer that it has: name in Keras -> our attribute."""
    made = []
    for name, attribute in names.items():
        variable = getattr(module, attribute, None)
        if variable is not None:
            shape = tuple(variable.shape)
            if transform is not IDENTITY:  # of depthwise kernels: the last two axes change places
                shape = (*shape[:-2], shape[-1], shape[-2])
            made.append(Weight(name, f"{path}.{attribute}", transform, shape))
    return made
