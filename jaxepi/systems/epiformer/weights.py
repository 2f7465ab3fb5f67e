"""Released Epiformer weights (torch `.pth.tar`, key `state_dict`): names of the original and where each lives here.

The tensors of the signal and the label model have the same names and shapes. Source of the names: Epiformer, model.py.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.sources import Released, Source, read_source
from jaxepi.pretrained.table import (
    PREFIXES,
    TORCH_CONV1D,
    TORCH_LINEAR,
    TORCH_POINTWISE,
    Entry,
    Table,
    Transform,
    Unused,
    strip_prefixes,
)
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.epiformer.model import EpiformerConfig

COUNTER = "num_batches_tracked"
WRAPPERS = ("state_dict",)
# what the original's program calls a size (its constructor's argument, an entry of `param` in its files) -> our field
ORIGINAL = {
    "seq_len": "window",
    "num_cnn_layer": "num_cnn_layer",
    "max_len": "max_len",
    "add_positional_encoding": "add_positional_encoding",
    "embed_size": "embed_size",
    "num_heads": "num_heads",
    "att_dropout": "att_dropout",
    "dim_feedforward": "dim_feedforward",
    "enc_dropout": "enc_dropout",
    "num_encoder_layers": "num_encoder_layers",
    "crop_size": "crop_size",
    "ptw_dropout": "head_dropout",
    "cls_dropout": "head_dropout",
    "multiout_dim": "tracks",
    "if_cons": "conservation",
}
SAID_OTHERWISE = ("bin_size", "batch_first")  # by the number of stages; the layout of the original's arrays
NOTED = (
    *("kind", "window", "crop_size", "add_positional_encoding", "max_len", "position_attention", "num_heads"),
    *("conservation", "att_dropout", "enc_dropout", "head_dropout"),
)


def table(config: EpiformerConfig) -> Table:
    """The lines of the state dict, in its order."""
    lines: list[Entry | Unused] = [*_conv("conv.stem.0", "stem.conv", TORCH_CONV1D)]
    lines += _pointwise("conv.stem.1", "stem.pointwise")
    for j in range(config.num_cnn_layer):
        lines += _norm(f"conv.tower.{j}.0.0", f"tower.{j}.norm")
        lines += _conv(f"conv.tower.{j}.0.2", f"tower.{j}.conv", TORCH_CONV1D)
        lines += _pointwise(f"conv.tower.{j}.1", f"tower.{j}.pointwise")
    for i in range(config.num_encoder_layers):
        lines += _layer(f"trans.layers.{i}", f"encoder.{i}", config.position_attention != "none")
    lines += _norm("ptw.conv.0", "head.norm")
    return [
        *lines,
        *_conv("ptw.conv.2", "head.conv", TORCH_POINTWISE),
        *_conv("ptw.linear.0", "head.out", TORCH_LINEAR),
    ]


def _conv(original: str, path: str, transform: Transform) -> list[Entry]:
    return [Entry(f"{original}.weight", f"{path}.kernel", transform), Entry(f"{original}.bias", f"{path}.bias")]


def _norm(original: str, path: str) -> list[Entry | Unused]:
    names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    lines: list[Entry | Unused] = [Entry(f"{original}.{theirs}", f"{path}.{ours}") for theirs, ours in names.items()]
    return [*lines, Unused(f"{original}.{COUNTER}", np.zeros((), np.int64))]


def _pointwise(original: str, path: str) -> list[Entry | Unused]:
    return [
        *_norm(f"{original}.module.0", f"{path}.norm"),
        *_conv(f"{original}.module.2", f"{path}.conv", TORCH_POINTWISE),
    ]


def _layer(original: str, path: str, distances: bool) -> list[Entry]:
    lines = []
    for part in ("query", "key", "value"):
        lines += _conv(f"{original}.mha.{part}", f"{path}.attention.{part}", TORCH_LINEAR)
    if distances:
        lines.append(Entry(f"{original}.mha.distance_embedding.weight", f"{path}.attention.distance"))
    lines += _conv(f"{original}.linear_net.0", f"{path}.expand", TORCH_LINEAR)
    lines += _conv(f"{original}.linear_net.3", f"{path}.contract", TORCH_LINEAR)
    for theirs, ours in (("norm1", "norm_attention"), ("norm2", "norm_out")):
        lines += [
            Entry(f"{original}.{theirs}.weight", f"{path}.{ours}.scale"),
            Entry(f"{original}.{theirs}.bias", f"{path}.{ours}.bias"),
        ]
    return lines


def _shape(arrays: Mapping[str, np.ndarray], name: str, rank: int) -> tuple[int, ...] | None:
    """The shape of a tensor; None if it is not there or of another rank."""
    shape = np.shape(arrays[name]) if name in arrays else ()
    return shape if len(shape) == rank else None


def _count(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """How many numbered modules there are, 0 for none."""
    return max((int(found[1]) + 1 for name in arrays if (found := re.match(pattern, name))), default=0)


def _sizes(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Every size that names and shapes tell, of several tensors the commonest answer."""
    del name
    found: dict[str, Any] = {}
    layers, stages = _count(arrays, r"trans\.layers\.(\d+)\."), _count(arrays, r"conv\.tower\.(\d+)\.")
    if layers:
        found["num_encoder_layers"] = layers
    if stages:
        found["num_cnn_layer"] = stages
    places = {
        "embed_size": [(f"trans.layers.{i}.mha.{part}.weight", 0) for i in range(layers) for part in ("query", "key")],
        "dim_feedforward": [(f"trans.layers.{i}.linear_net.0.weight", 0) for i in range(layers)],
        "tracks": [("ptw.linear.0.weight", 0), ("ptw.linear.0.bias", 0)],
    }
    for size, told in places.items():
        votes = Counter(np.shape(arrays[key])[axis] for key, axis in told if np.ndim(arrays.get(key, 0)) > axis)
        if votes:
            found[size] = int(votes.most_common(1)[0][0])
    tables = [f"trans.layers.{i}.mha.distance_embedding.weight" for i in range(layers)]
    widths = Counter(np.shape(arrays[key])[1] for key in tables if np.ndim(arrays.get(key, 0)) == 2)
    if widths and "embed_size" in found:
        width = int(widths.most_common(1)[0][0])
        if width and found["embed_size"] % width == 0:
            found["num_heads"] = found["embed_size"] // width
    elif layers:
        found["position_attention"] = "none"
    return found


def released(
    config: EpiformerConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """Windows as the model was trained on, with their conservation."""
    names = list(tracks or [f"track_{k}" for k in range(config.tracks)])
    conservation = {"missing": 0.0} if config.conservation else None
    return {"tracks": names, "window": config.window, "conservation": conservation}, dict(asked)


def _open(source: Source, asked: Mapping[str, Any]) -> tuple[Released, dict[str, Any]]:
    """Tensors under the table's names, and sizes: those asked for, else those of the file's `param`, else published.

    Sizes may be asked for by the names that the original has for them.

    Raises:
      JaxepiError: `param` and tensors contradict each other, or what `read_source` raises.
    """
    content = read_source(source, WRAPPERS)
    bare = strip_prefixes(content.arrays, PREFIXES)
    content = dataclasses.replace(content, arrays={bare[name]: array for name, array in content.arrays.items()})
    told, param = _sizes(content.arrays, content.name), content.beside.get("param")
    said = as_fields(param) if isinstance(param, Mapping) else {}
    for field, value in told.items():
        if said.get(field, value) != value:
            raise JaxepiError(
                f"{content.name} says in its param that {field} is {said[field]}, but its tensors have {value}."
            )
    known = {**told, **said, **content.sizes, **as_fields(asked)}
    sizes = {**_guessed(known), **said, **content.sizes, **as_fields(asked)}
    return content, sizes


def as_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes by our names of fields from those by the original's names; what is no size of the original stays.

    The dropout of the head tells the kind of the model, as the original has a name of its own for it in each.
    """
    fields = {ORIGINAL.get(name, name): value for name, value in given.items() if name not in SAID_OTHERWISE}
    if "cls_dropout" in given:
        fields.setdefault("kind", "label")
    return fields


def _guessed(known: Mapping[str, Any]) -> dict[str, Any]:
    """Window and crop where nothing tells them: the published ones, or of a smaller network the longest window, whole.

    A crop leaves out predictions but changes none, and the model computes with shorter windows too.
    """
    sizes = {field.name: known.get(field.name, field.default) for field in dataclasses.fields(EpiformerConfig)}
    stride = 2 ** (sizes["num_cnn_layer"] + 1)
    most = sizes["max_len"] if sizes["add_positional_encoding"] else sizes["window"] // stride
    if sizes["position_attention"] != "none":
        most = min(most, sizes["embed_size"])
    window = known.get("window", min(sizes["window"], stride * most))
    return {"window": window} | ({"crop_size": 0} if window // stride <= 2 * sizes["crop_size"] else {})


def _original_param(config: EpiformerConfig) -> dict[str, Any]:
    """The entry `param` of the original's files, as far as it is of the network."""
    head = "cls_dropout" if config.kind == "label" else "ptw_dropout"
    names = [name for name in ORIGINAL if name == head or ORIGINAL[name] != "head_dropout"]
    param = {name: getattr(config, ORIGINAL[name]) for name in names}
    return {"param": param | {"bin_size": config.stride, "batch_first": True}}


# One file a cell type of the human brain, by the measure whose best epoch it holds.
PUBLISHED = Published(
    "Epiformer cell types",
    ("{cell type}.model-{time}.best_loss.pth.tar", "{cell type}.model-{time}.best_corr.pth.tar"),
    "https://catlas.org (humanbrain/epiformer_data)",
    54_835_309,
)

WEIGHTS = Weights(
    wrappers=WRAPPERS,
    prefixes=(),
    signature=("conv.stem.1.module.2.weight", "trans.layers.0.mha.query.weight", "ptw.linear.0.weight"),
    sizes=_sizes,
    table=table,
    released=released,
    open=_open,
    noted=NOTED,
    beside=_original_param,
    published=(PUBLISHED,),
)
