"""Names of the port of Basenji2 to PyTorch (Zenodo 14969593): a flat state dict of `.pth`.

It has the blocks conv_block, conv_tower and dilated_residual with batch normalisation, a cropping, and one head.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxepi.pretrained.table import TORCH_CONV1D, TORCH_LINEAR
from jaxepi.systems.basenji.keras_layers import Layer, Weight, layers_of
from jaxepi.systems.basenji.model import BasenjiConfig

COUNTER = "num_batches_tracked"
_PLACES = (  # our module -> theirs
    (r"trunk\.(\d+)\.(conv|norm)", r"trunk.\1.block.\2"),
    (r"trunk\.(\d+)\.steps\.(\d+)\.(conv|norm)", r"trunk.\1.tower.\2.block.\3"),
    (r"trunk\.(\d+)\.steps\.(\d+)\.dilate\.(conv|norm)", r"trunk.\1.block.\2.module.0.block.\3"),
    (r"trunk\.(\d+)\.steps\.(\d+)\.back\.(conv|norm)", r"trunk.\1.block.\2.module.1.block.\3"),
    (r"heads\.0\.0\.(dense)", r"head.final.block.\1"),
)
_NUMBER = {"conv": "1", "dense": "1", "norm": "2"}  # of a layer in its block
_ROLES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def name_of(weight: Weight) -> str | None:
    """The name in the port, without the `model.` before all of them; None where it has no such layer."""
    module, _, role = weight.path.rpartition(".")
    for ours, theirs in _PLACES:
        if re.fullmatch(ours, module):
            place, _, kind = re.sub(ours, theirs, module).rpartition(".")
            return f"{place}.{_NUMBER[kind]}.{_ROLES[role]}"
    return None


def is_port(bare: Mapping[str, object]) -> bool:
    """Whether names, without what wrappers put before them, are those of the port."""
    return any(re.fullmatch(r"trunk\.\d+\.block\.1\.weight", name) for name in bare)


def _turned(array: np.ndarray) -> np.ndarray:
    """A kernel in the other layout, an array of one axis as it is; the change is its own inverse."""
    transform = {3: TORCH_CONV1D, 2: TORCH_LINEAR}.get(array.ndim)
    return array if transform is None else np.ascontiguousarray(transform.forward(array))


def units_of(bare: Mapping[str, np.ndarray], trunk: Sequence[Layer]) -> int | None:
    """Tracks of the head if the trunk has these layers, 0 without a head; None if it has others."""
    for weight in (weight for layer in trunk for weight in layer.weights):
        name = name_of(weight)
        if name is None or name not in bare or _turned(np.asarray(bare[name])).shape != weight.shape:
            return None
    head = bare.get("head.final.block.1.weight")
    return 0 if head is None else len(head)


def as_layers(bare: Mapping[str, np.ndarray], config: BasenjiConfig) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Layers with weights in Keras's layout, for as many of the network's layers as the file has.

    What the file has beyond them is listed at the end under its own name, so that it is told of.
    """
    layers, used = [], set()
    for layer in layers_of(config):
        names = {weight.name: name_of(weight) for weight in layer.weights}
        held = [(key, _turned(np.asarray(bare[name]))) for key, name in names.items() if name in bare]
        if held:
            layers.append((layer.stem, held))
            used |= set(names.values())
    rest = [name for name in bare if name not in used and not name.endswith(COUNTER)]
    return [*layers, *((name, [(name, np.asarray(bare[name]))]) for name in rest)]


def to_port(arrays: Mapping[str, np.ndarray], config: BasenjiConfig) -> dict[str, np.ndarray] | None:
    """Arrays of `table` under the port's names and in its layout; None if it has no such network."""
    made: dict[str, np.ndarray] = {}
    left = iter(arrays.values())
    for layer in layers_of(config):
        for weight in layer.weights:
            name = name_of(weight)
            if name is None:
                return None
            made[f"model.{name}"] = _turned(next(left))
        if layer.stem == "batch_normalization":
            made[f"model.{name_of(layer.weights[0])}".replace(".weight", f".{COUNTER}")] = np.zeros((), np.int64)
    return made
