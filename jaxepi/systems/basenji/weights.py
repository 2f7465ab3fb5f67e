"""Released weights of Basenji networks: Keras `.h5` files with params.json, the published ones also without, and the
port of Basenji2 to PyTorch.

`jaxepi.load("model.h5", system="basenji", params="params.json", head=0)`: `head` is the number of the head among those
of params.json that the file holds, or None for the trunk alone.
"""

import dataclasses
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.hdf5_files import write_keras
from jaxepi.pretrained.sources import Released, Source, read_source, write_source
from jaxepi.pretrained.table import PREFIXES, strip_prefixes, to_original
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.basenji import torch_port as torch_port
from jaxepi.systems.basenji.keras_layers import ATTENTION, Layer, layers_of, names_of, table
from jaxepi.systems.basenji.model import BasenjiConfig, with_units
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import HUMAN_TRACKS, MOUSE_TRACKS, PRESETS

WRAPPERS = ("state_dict", "model_state_dict")
_HANDLING = ("dtype", "remat")  # fields that say nothing about a network
NOTED = tuple(field.name for field in dataclasses.fields(BasenjiConfig) if field.name not in _HANDLING)
UNASKED = "unasked"
KERAS_VERSION = "2.21.0"

FileLayer = tuple[str, list[tuple[str, np.ndarray]]]  # name in the file, and its weights in order


def open_source(source: Source, asked: Mapping[str, Any]) -> tuple[Released, dict[str, Any]]:
    """Arrays under the names of `table`, and fields of the config.

    Args:
      source: a file or a mapping of names to arrays.
      asked: fields of the config, and `params` and `head`, see the module.

    Raises:
      JaxepiError: not readable, a network that is not known, or layers that are not those of the network.
    """
    content = read_source(source, WRAPPERS)
    sizes = dict(asked)
    params, head = sizes.pop("params", None), sizes.pop("head", UNASKED)
    if head not in (UNASKED, None) and (not isinstance(head, int) or isinstance(head, bool) or head < 0):
        raise JaxepiError(f"head is {head!r}, but must be the number of a head, from 0 on, or None for the trunk.")
    known = [*(field.name for field in dataclasses.fields(BasenjiConfig)), "params", "head"]
    if strange := [name for name in sizes if name not in known]:
        raise JaxepiError(
            f"Unknown size {strange[0]!r} of basenji{did_you_mean(strange[0], known)}; it has {', '.join(known)}."
        )
    held = _held(content)
    fields = _network(params, held, sizes)
    sizes = {**fields, **sizes}
    config = BasenjiConfig(**sizes)
    layers = held.layers_for(config)
    chosen, layers = _choose(config, layers, head, content.name)
    sizes |= {"heads": chosen.heads, "head_names": chosen.head_names}
    if "gelu" not in sizes:
        sizes["gelu"] = _gelu(held, chosen)
    return dataclasses.replace(content, arrays=_renamed(chosen, layers, content.name)), sizes


@dataclasses.dataclass(frozen=True)
class Held:
    """What a file or mapping holds.

    Attributes:
      content: as it was read.
      port: arrays under the names of the port to PyTorch; None if it is not in that layout.
      layers: of Keras, in the order of the file.
    """

    content: Released
    port: Mapping[str, np.ndarray] | None
    layers: list[FileLayer]

    def layers_for(self, config: BasenjiConfig) -> list[FileLayer]:
        """The layers in the order in which a network has them."""
        if self.port is not None:
            return torch_port.as_layers(self.port, config)
        if self.content.ordered:
            return self.layers
        return _by_number([layer.stem for layer in layers_of(config)], self.layers)


def _held(content: Released) -> Held:
    bare = {name: content.arrays[full] for full, name in strip_prefixes(content.arrays, PREFIXES).items()}
    if torch_port.is_port(bare):
        return Held(content, bare, [])
    layers: dict[str, list[tuple[str, np.ndarray]]] = {}
    for full, array in content.arrays.items():
        layer, _, weight = full.removeprefix("model_weights/").partition("/")
        while weight.startswith(f"{layer}/"):
            weight = weight.removeprefix(f"{layer}/")
        layers.setdefault(layer, []).append((weight.removesuffix(":0"), array))
    usual = ("kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance", "r_w_bias", "r_r_bias")
    usual += tuple(f"{inside}/{role}" for inside in ATTENTION for role in ("kernel", "bias"))
    return Held(content, None, [
        (layer, sorted(weights, key=lambda w: usual.index(w[0])) if {n for n, _ in weights} <= set(usual) else weights)
        for layer, weights in layers.items()
    ])  # fmt: skip


def _by_number(stems: Sequence[str], layers: list[FileLayer]) -> list[FileLayer]:
    """Layers of a source without an order: the first of a kind is the one with the smallest number."""
    left: dict[str, list[FileLayer]] = {}
    for layer in sorted(layers, key=lambda layer: _number(layer[0])):
        left.setdefault(_stem(layer[0]), []).append(layer)
    known = [left[stem].pop(0) for stem in stems if left.get(stem)]
    return [*known, *(layer for rest in left.values() for layer in rest)]


def _stem(layer: str) -> str:
    """A layer's kind. The number behind it says nothing: a session that made models before goes on counting."""
    return re.sub(r"_\d+$", "", layer).removeprefix("sync_")


def _number(layer: str) -> int:
    found = re.search(r"_(\d+)$", layer)
    return int(found[1]) if found else 0


def _network(params: Any, held: Held, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the config: of params.json, of what an export noted, or of a published network with such arrays."""
    content = held.content
    if params is not None:
        return translate(params).model
    if "trunk" in content.sizes:
        return {name: value for name, value in content.sizes.items() if name in NOTED}
    if "trunk" in asked:
        return {}
    for preset in PRESETS.values():
        fields = _published(translate(preset).model, held)
        if fields is not None:
            return fields
    raise JaxepiError(
        f"{content.name} holds no published network (Basenji2, Basset, Akita), and its weights do not tell pools and "
        "activations: give params=..., the params.json with which it was made."
    )


def _published(fields: dict[str, Any], held: Held) -> dict[str, Any] | None:
    """The fields of a preset, with as many tracks as the file has, if its trunk has such layers; else None."""
    trunk = layers_of(BasenjiConfig(**{**fields, "heads": (), "head_names": ()}))
    if held.port is not None:
        units = torch_port.units_of(held.port, trunk)
    else:
        whole = BasenjiConfig(**{**fields, "heads": fields["heads"][:1], "head_names": fields["head_names"][:1]})
        layers = held.layers_for(whole)
        last = layers[-1][1][-1][1] if len(layers) > len(trunk) else None
        units = None if not _fits(trunk, layers[: len(trunk)]) else 0 if last is None else last.shape[-1]
    if units is None:
        return None
    if not units:
        return {**fields, "heads": (), "head_names": ()}
    name = {HUMAN_TRACKS: "head_human", MOUSE_TRACKS: "head_mouse"}.get(units)
    number = fields["head_names"].index(name) if name in fields["head_names"] else 0
    chosen = fields["heads"][number]
    *rest, last_block = chosen if isinstance(chosen, list) else [chosen]
    block = {key: value for key, value in last_block.items() if key != "units"}
    return {**fields, "heads": with_units([[*rest, block]], [units]), "head_names": (name or "head",)}


def _choose(
    config: BasenjiConfig, layers: list[FileLayer], head: Any, name: str
) -> tuple[BasenjiConfig, list[FileLayer]]:
    """The config with the heads that the file holds and that were asked for, and the layers of these."""
    own = layers_of(config)
    trunk = sum(layer.head is None for layer in own)
    counts = [sum(layer.head == number for layer in own) for number in range(len(config.heads))]
    behind = layers[trunk:]
    if head is None or (not behind and head is UNASKED):
        return _only(config, []), layers[:trunk]
    if not config.heads:
        return config, layers
    if head is not UNASKED and head >= len(counts):
        raise JaxepiError(f"head={head} was asked for, but the network of {name} has {len(counts)} head(s), from 0 on.")
    if [_stem(layer) for layer, _ in behind] == [layer.stem for layer in own[trunk:]]:  # every head is there
        if head is UNASKED:
            return config, layers
        first = trunk + sum(counts[:head])
        return _only(config, [head]), [*layers[:trunk], *layers[first : first + counts[head]]]
    if head is UNASKED:
        fitting = (n for n in range(len(counts)) if _fits([layer for layer in own if layer.head == n], behind))
        head = next(fitting, 0)
    return _only(config, [head]), layers


def _fits(own: Sequence[Layer], layers: list[FileLayer]) -> bool:
    shapes = [[array.shape for _, array in weights] for _, weights in layers]
    return shapes == [[weight.shape for weight in layer.weights] for layer in own]


def _only(config: BasenjiConfig, heads: Sequence[int]) -> BasenjiConfig:
    return dataclasses.replace(
        config, heads=tuple(config.heads[i] for i in heads), head_names=tuple(config.head_names[i] for i in heads)
    )


def _renamed(config: BasenjiConfig, layers: list[FileLayer], name: str) -> dict[str, np.ndarray]:
    """Arrays under the names of `table`, layer by layer.

    Raises:
      JaxepiError: other layers, or another number of them, than the network has.
    """
    own = layers_of(config)
    for number, (layer, (held, weights)) in enumerate(zip(own, layers, strict=False)):
        if _stem(held) != layer.stem or len(weights) != len(layer.weights):
            expected = " and ".join(weight.name for weight in layer.weights)
            raise JaxepiError(
                f"{name}: layer {number + 1} with weights is {held} with {' and '.join(w for w, _ in weights)}, but "
                f"the network has {layer.stem} with {expected} there: give the params.json that belongs to the file."
            )
    if len(own) != len(layers):
        raise JaxepiError(
            f"{name} has {len(layers)} layers with weights, but the network has {len(own)}: give the params.json that "
            "belongs to the file, and with head=... which of its heads the file holds (None for the trunk alone)."
        )
    return {
        f"{canonical}/{weight.name}:0": array
        for canonical, layer, (_, weights) in zip(names_of(own), own, layers, strict=True)
        for weight, (_, array) in zip(layer.weights, weights, strict=True)
    }


def _gelu(held: Held, config: BasenjiConfig) -> str:
    """Which GELU a file was trained with: its graph tells, or the program that wrote it, else it is told of."""
    used = {block.arguments.get("activation") for block in config.blocks()} | {config.activation}
    if held.port is not None:
        return "erf"
    if "gelu" not in used:
        return BasenjiConfig.gelu
    graph = held.content.texts.get("model_config")
    if graph is not None and (told := _gelu_of_graph(graph)):
        return told
    official = config.trunk == BasenjiConfig.trunk
    guess = "sigmoid1702" if official else "tanh"
    why = "the form of 2019, when the published models were made" if official else "that of programs since April 2022"
    warnings.warn(
        f"{held.content.name} does not tell which GELU it was trained with: {guess} is taken, {why}; give gelu=... "
        "(sigmoid1702, tanh or erf) for another.", stacklevel=5,
    )  # fmt: skip
    return guess


def _gelu_of_graph(graph: str) -> str | None:
    """The GELU of a Keras graph: a layer of the original's own, which was the sigmoid form, or TensorFlow's."""
    try:
        layers = [(layer["class_name"], layer["config"]) for layer in json.loads(graph)["config"]["layers"]]
    except (ValueError, KeyError, TypeError):
        return None
    if any(kind == "GELU" for kind, _ in layers):
        return "sigmoid1702"
    if any(kind == "TFOpLambda" and config.get("function") == "nn.gelu" for kind, config in layers):
        return "tanh"
    return None


def released(
    config: BasenjiConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """A dataset that has the network's bins; without heads the channels of the trunk are the tracks."""
    found = config.geometry()
    kind = "track" if config.heads else "channel"
    names = list(tracks or [f"{kind}_{k}" for k in range(found.shape[-1])])
    return {"kind": "coverage", "window": config.window, "tracks": names}, dict(asked)


def write(model: nnx.Module, path: Path, notes: Mapping[str, str]) -> bool:
    """Writes `.h5` as Keras does, and a network that the port to PyTorch has under its names; else False."""
    arrays = to_original(model, table(model.config))
    if path.suffix in (".h5", ".hdf5"):
        layers: dict[str, list[tuple[str, np.ndarray]]] = {}
        for name, array in arrays.items():
            layers.setdefault(name.partition("/")[0], []).append((name, array))
        write_keras(path, list(layers.items()), {"keras_version": KERAS_VERSION, "backend": "tensorflow", **notes})
        return True
    if path.suffix not in (".pth", ".pt") or len(model.config.heads) > 1:
        return False
    port = torch_port.to_port(arrays, model.config)
    if port is None:
        return False
    told = {key: json.loads(text) for key, text in notes.items()}
    write_source(path, port, WRAPPERS[0], told.get("tracks"), told.get("sizes"))
    return True


def _preset(name: str, number: int) -> dict[str, Any]:
    """Fields of the config of a published model: a network with one of its heads."""
    fields = translate(PRESETS[name]).model
    return {**fields, "heads": fields["heads"][number : number + 1], "head_names": fields["head_names"][number:][:1]}


BASENJI2_AT, AKITA_AT = (
    f"https://github.com/calico/basenji/tree/master/manuscripts/{paper}" for paper in ("cross2020", "akita")
)
_OLD = {"gelu": "sigmoid1702"}
PUBLISHED = (
    Published("Basenji2-human", ("model_human.h5",), BASENJI2_AT,
              30_123_584, _preset("basenji2", 0) | _OLD),
    Published("Basenji2-mouse", ("model_mouse.h5",), BASENJI2_AT,
              24_482_794, _preset("basenji2", 1) | _OLD),
    Published("Basenji2-human-PyTorch", ("basenji2.pth",), "https://zenodo.org/records/14969593",
              30_123_584, _preset("basenji2", 0) | {"gelu": "erf"}),
    Published("Akita", ("model_best.h5",), AKITA_AT,
              751_653, _preset("akita", 0)),
)  # fmt: skip

WEIGHTS = Weights(
    wrappers=WRAPPERS,
    prefixes=("model_weights/",),
    signature=("conv1d/kernel:0", "conv1d/conv1d/kernel:0", "trunk.0.block.1.weight"),
    sizes=lambda arrays, name: {},
    table=table,
    released=released,
    rename=lambda name: re.sub(r"_\d+(?=/)", "", name),
    open=open_source,
    write=write,
    noted=NOTED,
    published=PUBLISHED,
)
