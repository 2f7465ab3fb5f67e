"""Released DeepCpG weights: Keras 1 and 2 `.h5` files with or without `model.json`, and MultiMolecule's port.

`from_pretrained("deepcpg", source, network="CnnL2h128")`: the source is a weight file, a folder with one, or a mapping.
Our models take the channels A C G T; the original's order A T G C is changed here, in the first kernel.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.layers.keras_like import NormSteps
from jaxepi.pretrained.sources import Released, Source, path_of, read_source
from jaxepi.pretrained.table import PREFIXES, Entry, SideBySide, Transform, strip_prefixes
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.deepcpg import networks as networks
from jaxepi.systems.deepcpg.keras_description import find_description, read_description, weights_in
from jaxepi.systems.deepcpg.keras_file import write_model
from jaxepi.systems.deepcpg.model import (
    DeepCpG,
    DeepCpGConfig,
    Parts,
    head_units,
    network_name,
    parse_network,
)
from jaxepi.systems.deepcpg.weight_names import ATGC, canonical, head_layer, heads_are_unnamed, heads_of, weight

DISTANCE = 25_000  # bp; what the released models were trained with counts larger ones as this
WRAPPERS = ("state_dict", "model_state_dict")
# What an export writes beside the tensors: they tell no dropout, and of the heads not the order.
NOTED = (
    *("outputs", "window", "replicate_activation", "dna_dropout", "cpg_dropout", "joint_dropout", "l1", "l2"),
    "debiased_norm",
)

CHANNELS = Transform(lambda array: array[:, ATGC], lambda array: array[:, ATGC])  # kernel (width, A T G C, out)


def _cells(first: str, *groups: tuple[str, Sequence[int]]) -> tuple[str, ...]:
    return tuple(f"cpg/{prefix}_{number}_{first}" for prefix, numbers in groups for number in numbers)


# The cells of the released DNA models by network and number: GSE56879 (serum, 2i) and GSE65364, in the files' order.
RELEASED = {
    ("CnnL2h128", 18): _cells(
        "SER", ("BS27", (1, 3, 5, 6, 8)), ("BS28", (10, 1, 2, 3, 4, 6)), ("BS29", (1, 4, 5, 6, 7, 8, 9))
    ),
    ("CnnL3h128", 12): _cells("2I", ("BS24", (1, 2, 4, 6, 8)), ("BS25", (10, 2, 6, 7, 8)), ("BS26", (1, 2))),
    ("CnnL2h128", 25): tuple(f"cpg/Ca{i:02d}" for i in range(1, 26)),
    ("CnnL3h128", 6): tuple(f"cpg/HepG2{i}" for i in range(1, 7)),
    ("CnnL2h128", 6): tuple(f"cpg/mESC{i}" for i in range(1, 7)),
}


def table(config: DeepCpGConfig) -> list[Entry | SideBySide]:
    """Every tensor of a model, under the names of `deepcpg_names`."""
    parts = config.parts
    lines: list[Entry | SideBySide] = _dna(parts.dna) if parts.dna else []
    if parts.cpg:
        lines += _layer("cpg/time_distributed_1/dense_1", "cpg.dense")
        for i in range(len(networks.CPG_NETWORKS[parts.cpg].units)):
            lines += _gru(f"cpg/bidirectional_{i + 1}", f"cpg.grus.{i}", i + 1)
    for i in range(networks.JOINT_NETWORKS.get(parts.joint or "", 0)):
        lines += _layer(f"joint/dense_{i + 1}/joint/dense_{i + 1}", f"joint.denses.{i}")
    if config.outputs:
        units = [head_units(output) for output in config.outputs]
        for role in ("kernel", "bias"):
            names = [weight(head_layer(output), role) for output in config.outputs]
            lines.append(SideBySide(names, f"heads.{role}", units))
    return lines


def _dna(name: str) -> list[Entry | SideBySide]:
    sizes = networks.DNA_NETWORKS[name]
    if isinstance(sizes, networks.Residual):
        lines = _layer("dna/conv1/conv1", "dna.conv", CHANNELS)
        lines += _norm("dna/bn1/bn1", "dna.norm") if sizes.norm_first else []
        before, unit = 128, 0
        for stage in sizes.stages:
            for block in range(len(stage.dilations)):
                own = networks.unit_names(sizes)[unit]
                changed = block == 0 or before != stage.channels[-1]
                lines += _unit(own, f"dna.units.{unit}", len(stage.channels), changed)
                before, unit = stage.channels[-1], unit + 1
        return lines
    lines = []
    for i in range(len(sizes.blocks)):
        name = f"dna/conv1d_{i + 1}/conv1d_{i + 1}"
        lines += _layer(name, f"dna.convs.{i}", CHANNELS if i == 0 else None)
    if isinstance(sizes, networks.Recurrent):
        return lines + _gru("dna/bidirectional_1", "dna.gru", 1)
    return lines + _layer("dna/dense_1/dense_1", "dna.dense")


def _layer(original: str, path: str, transform: Transform | None = None) -> list[Entry | SideBySide]:
    kernel = Entry(weight(original, "kernel"), f"{path}.kernel", *([transform] if transform else []))
    return [kernel, Entry(weight(original, "bias"), f"{path}.bias")]


def _norm(original: str, path: str) -> list[Entry | SideBySide]:
    roles = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
    return [Entry(weight(original, role), f"{path}.{ours}") for role, ours in roles.items()]


def _gru(original: str, path: str, number: int) -> list[Entry | SideBySide]:
    layer = f"{original}/{original.split('/')[-1]}"
    return [
        Entry(weight(f"{layer}/{way}_gru_{number}", role), f"{path}.{way}.{role}")
        for way in ("forward", "backward")
        for role in ("kernel", "recurrent_kernel", "bias")
    ]


def _unit(name: str, path: str, convs: int, changed: bool) -> list[Entry | SideBySide]:
    """A residual unit; in the original the layer of the shortcut stands before the last convolution."""
    lines: list[Entry | SideBySide] = []
    for i in range(convs):
        lines += _norm(f"dna/{name}/res_bn{i + 1}/{name}/res_bn{i + 1}", f"{path}.norms.{i}")
        if changed and i == convs - 1:
            lines += _layer(f"dna/{name}/id_conv1/{name}/id_conv1", f"{path}.shortcut")
        lines += _layer(f"dna/{name}/res_conv{i + 1}/{name}/res_conv{i + 1}", f"{path}.convs.{i}")
    return lines


def open_source(source: Source, sizes: Mapping[str, Any]) -> tuple[Released, dict[str, Any]]:
    """Tensors of a weight file, a folder with one, or a mapping, under our names; and the sizes with what JSON tells.

    Raises:
      JaxepiError: nothing there, not readable, or tensors that contradict each other.
    """
    text = None
    if isinstance(source, str | os.PathLike):
        path = path_of(source)
        source = path = weights_in(path) if path.is_dir() else path
        text = find_description(path) if path.is_file() else None
    content = read_source(source, WRAPPERS)
    content = dataclasses.replace(content, arrays=_stripped(content.arrays))
    told, unnamed = read_description(*text) if text else ({}, {})
    asked = tuple(sizes.get("outputs") or content.sizes.get("outputs") or ())
    hint = asked or content.tracks or told.get("outputs", ())
    arrays = canonical(content.arrays, hint, unnamed)
    network, heads = _network(arrays), heads_of(arrays)
    tracks = content.tracks
    if not asked and set(tracks or ()) == set(heads):  # these names are those of the heads
        asked, tracks = tuple(tracks or ()), None
    if not asked and heads_are_unnamed(content.arrays):
        known = RELEASED.get((network or "", len(heads)))
        arrays = _renamed(arrays, known) if known else arrays
    in_file = content.ordered or isinstance(source, Mapping)
    arrays = _in_order(arrays, asked or told.pop("outputs", None) or (heads_of(arrays) if in_file else _usual(arrays)))
    told.pop("outputs", None)
    told |= {**{field: value for field, value in content.sizes.items() if field in NOTED}, **sizes}
    unsure = {}
    if "window" not in told:
        told["window"], doubt = _window(arrays, network, content.name)
        unsure = {"window": doubt} if doubt else {}
    told["outputs"] = asked or heads_of(arrays)
    if "network" in sizes:
        told["network"] = _asked_network(str(sizes["network"]), network)
    return dataclasses.replace(content, arrays=arrays, tracks=tracks, unsure=unsure), told


def _stripped(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without what wrappers put before every name."""
    return {bare: arrays[name] for name, bare in strip_prefixes(arrays, PREFIXES).items()}


def _usual(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The heads as the released files order them, else by name, numbers in them counted."""
    heads = heads_of(arrays)
    released = next((names for names in RELEASED.values() if set(names) == set(heads)), None)
    digits = re.compile(r"(\d+)")
    return released or tuple(sorted(heads, key=lambda head: [part.zfill(12) for part in digits.split(head)]))


def _asked_network(asked: str, found: str | None) -> str:
    """The official spelling; of a joint model the joint part alone will do."""
    if found and asked.lower() == (parse_network(found).joint or "").lower():
        return found
    return network_name(parse_network(asked))


def _in_order(arrays: dict[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """Heads in the order of `outputs`, behind everything else."""
    heads = heads_of(arrays)
    if set(heads) != set(outputs):
        return arrays
    own = {weight(head_layer(output), role): None for output in outputs for role in ("kernel", "bias")}
    return {n: a for n, a in arrays.items() if n not in own} | {n: arrays[n] for n in own if n in arrays}


def _renamed(arrays: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
    names = {
        weight(head_layer(old), role): weight(head_layer(new), role)
        for old, new in zip(heads_of(arrays), outputs, strict=True)
        for role in ("kernel", "bias")
    }
    return {names.get(name, name): array for name, array in arrays.items()}


def _network(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The official name by which layers there are; None if that does not tell."""
    layers = {name.rsplit("/", 1)[0] for name in arrays}
    grus = [layer for layer in layers if layer.startswith("cpg/") and layer.endswith("/forward_gru_2")]
    rnn = any(layer.startswith("cpg/bidirectional_1/") for layer in layers)
    cpg = None
    if "cpg/time_distributed_1/dense_1" in layers:
        cpg = "RnnL2" if grus else "RnnL1" if rnn else "FcAvg"
    elif any(layer.startswith(("cpg/time_distributed_", "cpg/bidirectional_")) for layer in layers):
        return None
    dna, joint = _dna_name(arrays, layers), None
    if dna is None and any(layer.startswith("dna/") for layer in layers):
        return None
    if dna and cpg:
        count = sum(layer.startswith("joint/dense_") for layer in layers)
        joint = next((name for name, depth in networks.JOINT_NETWORKS.items() if depth == count), None)
        if joint is None:
            return None
    return network_name(Parts(joint, dna, cpg)) if dna or cpg else None


def _dna_name(arrays: Mapping[str, np.ndarray], layers: set[str]) -> str | None:
    if "dna/conv1/conv1" in layers:
        units = {layer.split("/")[1] for layer in layers if layer.endswith("res_conv1")}
        for name, sizes in networks.DNA_NETWORKS.items():
            if isinstance(sizes, networks.Residual) and units == set(networks.unit_names(sizes)):
                bottleneck = any(layer.endswith("res_conv3") for layer in layers)
                if ("dna/bn1/bn1" in layers) == sizes.norm_first and bottleneck == (len(sizes.stages[0].channels) == 3):
                    return name
        return None
    if "dna/bidirectional_1/bidirectional_1/forward_gru_1" in layers:
        return "CnnRnn01"
    depth = sum(layer.startswith("dna/conv1d_") for layer in layers)
    hidden = arrays.get("dna/dense_1/dense_1/bias:0")
    if hidden is None or depth not in (1, 2, 3):
        return None
    return f"CnnL{depth}h{256 if hidden.shape == (256,) else 128}"


def _sizes(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """What the shapes tell."""
    del name
    told: dict[str, Any] = {"outputs": heads_of(arrays)}
    if network := _network(arrays):
        told["network"] = network
    hidden, first = arrays.get("dna/dense_1/dense_1/bias:0"), arrays.get("cpg/time_distributed_1/dense_1/kernel:0")
    if hidden is not None and hidden.ndim == 1:
        told["hidden"] = hidden.shape[0]
    if first is not None and first.ndim == 2:
        told["neighbours"] = first.shape[0] // 2
    joint = arrays.get("joint/dense_1/joint/dense_1/bias:0")
    if joint is not None and joint.ndim == 1:
        told["joint_hidden"] = joint.shape[0]
    return told


def _window(arrays: Mapping[str, np.ndarray], network: str | None, name: str) -> tuple[int, str]:
    """The original's window if it fits the dense layer of CnnL*, else the shortest that does; and why it is unsure."""
    usual = DeepCpGConfig.window
    sizes = networks.DNA_NETWORKS.get((parse_network(network).dna if network else None) or "")
    kernel = arrays.get("dna/dense_1/dense_1/kernel:0")
    if not isinstance(sizes, networks.Convolutional) or kernel is None or kernel.ndim != 2:
        return usual, ""
    low, high = networks.windows_of(sizes.blocks, max(kernel.shape[0] // sizes.blocks[-1].channels, 1))
    if low <= usual <= high:
        return usual, ""
    fitting = [window for window in range(low, high + 1) if window % 2]  # windows have a middle, so their length is odd
    if len(fitting) < 2:
        return (fitting[0] if fitting else low), ""
    return fitting[0], (
        f"{name} does not tell its window, and {low} to {high} bp all fit its weights: give window=... (odd) as in "
        "training, or lay its model.json beside it."
    )


def _build(config: DeepCpGConfig) -> DeepCpG:
    """The model without weights, in inference mode."""
    model = nnx.eval_shape(lambda: DeepCpG(config, rngs=nnx.Rngs(0)))
    counters = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), nnx.state(model, NormSteps))
    nnx.update(model, counters)
    model.eval()
    return model


def released(
    config: DeepCpGConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """A dataset of the cells that a model predicts; the heads' names are the tracks."""
    del tracks
    parts, outputs = config.parts, list(config.outputs)
    cells = [name.removeprefix("cpg/") for name in outputs if name.startswith("cpg/")]
    manifest = {
        "window": config.window if parts.dna else 0,
        "neighbours": config.neighbours if parts.cpg else 0,
        "max_distance": DISTANCE,
        "cells": cells,
        "binary_cells": [True] * len(cells),
        "statistics": [name for name in outputs if not name.startswith("cpg/")],
        "tracks": outputs,
        "annotations": [],
        "class_counts": {},
    }
    return manifest, dict(asked)


STUDIES = {  # study and cells -> parameters, in the order of `RELEASED`
    "Smallwood2014_serum": 4_104_466, "Smallwood2014_2i": 4_431_884, "Hou2016_HCC": 4_105_369,
    "Hou2016_HepG2": 4_431_110, "Hou2016_mESC": 4_102_918,
}  # fmt: skip
PUBLISHED = tuple(
    Published(
        f"{study}_dna",
        (f"{study}_dna-model_weights.h5", f"{study}_dna-model"),  # the second one describes the network, as JSON
        "https://zenodo.org/record/1466079",
        parameters,
        {"network": network, "outputs": cells},
    )
    for (study, parameters), ((network, _), cells) in zip(STUDIES.items(), RELEASED.items(), strict=True)
)

WEIGHTS = Weights(
    wrappers=WRAPPERS,
    prefixes=("model_weights/",),
    signature=(
        *("dna/conv1d_1/conv1d_1/kernel:0", "dna/conv1d_1/dna/conv1d_1/kernel:0", "dna/conv1/conv1/kernel:0"),
        *("dna/convolution1d_1/convolution1d_1_W:0", "dna/convolution1d_1/dna/convolution1d_1_W:0"),
        *("cpg/time_distributed_1/dense_1/kernel:0", "cpg/timedistributed_1/dense_1_W:0"),
        *("model.encoder.bottleneck.dense.weight", "encoder.bottleneck.dense.weight"),
    ),
    sizes=_sizes,
    build=_build,
    table=table,
    released=released,
    open=open_source,
    write=lambda model, path, notes: write_model(model, path, table(model.config), notes),
    noted=NOTED,
    published=PUBLISHED,
)
