"""A DeepCpG model as Keras 2 saves it: weights in an .h5 file, and the description that the original needs beside them.

Layers, their names and their order are those that the original's model builders give, so its programs read the files.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.pretrained.hdf5_files import write_keras
from jaxepi.pretrained.table import Table, to_original
from jaxepi.storage.atomic import write_text
from jaxepi.systems.deepcpg import networks as networks
from jaxepi.systems.deepcpg.model import CLASSES, LARGEST_VARIANCE, DeepCpG, DeepCpGConfig, head_kind
from jaxepi.systems.deepcpg.weight_names import head_layer

KERAS_VERSION = "2.2.4"

Layer = dict[str, Any]

_UNIFORM = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
}
_ZEROS, _ONES = ({"class_name": name, "config": {}} for name in ("Zeros", "Ones"))
_ORTHOGONAL = {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}}
_FREE = {"bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None}


class Description:
    """Builds the layers of a model in the order in which the original makes them."""

    def __init__(self, config: DeepCpGConfig):
        self.config = config
        self.layers: dict[str, Layer] = {}
        self._penalty = {"class_name": "L1L2", "config": {"l1": _single(config.l1), "l2": _single(config.l2)}}
        parts = config.parts
        stems, inputs = [], []
        if parts.dna:
            inputs.append(self.add("InputLayer", "dna", **_input([None, config.window, 4])))
            stems.append(self._dna(parts.dna))
        if parts.cpg:
            inputs += [
                self.add("InputLayer", n, **_input([None, None, config.neighbours])) for n in ("cpg/state", "cpg/dist")
            ]
            stems.append(self._cpg(parts.cpg))
        stem = stems[0] if parts.joint is None else self._joint(parts.joint, stems)
        self.inputs, self.outputs = inputs, [self._head(output, stem) for output in config.outputs] or [stem]

    def add(self, kind: str, name: str, *inbound: str, **config: Any) -> str:
        """Adds a layer after others and returns its name."""
        trainable = {} if kind == "InputLayer" else {"trainable": True}
        nodes = [[[before, 0, 0, {}] for before in inbound]] if inbound else []
        self.layers[name] = {
            "name": name,
            "class_name": kind,
            "config": {"name": name, **trainable, **config},
            "inbound_nodes": nodes,
        }
        return name

    def _dna(self, name: str) -> str:
        sizes, rate = networks.DNA_NETWORKS[name], self.config.dna_dropout
        if isinstance(sizes, networks.Residual):
            x = self._residual(sizes)
        else:
            x = "dna"
            for i, block in enumerate(sizes.blocks, 1):
                x = self.add("Conv1D", f"dna/conv1d_{i}", x, **self._conv(block.channels, block.width))
                x = self.add("Activation", f"dna/activation_{i}", x, activation="relu")
                x = self.add("MaxPooling1D", f"dna/max_pooling1d_{i}", x, **_pool(block.pool))
            if isinstance(sizes, networks.Recurrent):
                x = self.add("Bidirectional", "dna/bidirectional_1", x, **self._gru(sizes.units, 1, False))
            else:
                x = self.add("Flatten", "dna/flatten_1", x, data_format="channels_last")
                x = self.add("Dense", "dna/dense_1", x, **self._dense(self.config.hidden_units or 0))
                x = self.add("Activation", f"dna/activation_{len(sizes.blocks) + 1}", x, activation="relu")
        return self.add("Dropout", "dna/dropout_1", x, **_dropout(rate))

    def _residual(self, sizes: networks.Residual) -> str:
        x = self.add("Conv1D", "dna/conv1", "dna", **self._conv(128, 11))
        x = self.add("BatchNormalization", "dna/bn1", x, **_norm()) if sizes.norm_first else x
        x = self.add("Activation", "dna/act1", x, activation="relu")
        x = self.add("MaxPooling1D", "dna/pool1", x, **_pool(2))
        names = iter(networks.unit_names(sizes))
        for stage in sizes.stages:
            for block, dilation in enumerate(stage.dilations):
                x = self._unit(f"dna/{next(names)}", x, stage.channels, 2 if block == 0 else 1, dilation)
        return self.add("GlobalAveragePooling1D", "dna/global_average_pooling1d_1", x, data_format="channels_last")

    def _unit(self, name: str, x: str, channels: Sequence[int], stride: int, dilation: int) -> str:
        bottleneck, y, shortcut = len(channels) == 3, x, x
        widths = (1, 3, 1) if bottleneck else (3, 3)
        for i, (width, count) in enumerate(zip(widths, channels, strict=True), 1):
            y = self.add("BatchNormalization", f"{name}/res_bn{i}", y, **_norm())
            y = self.add("Activation", f"{name}/res_act{i}", y, activation="relu")
            padding = "valid" if width == 1 else "same"
            config = self._conv(
                count, width, stride if i == 1 else 1, dilation if bottleneck and width == 3 else 1, padding
            )
            y = self.add("Conv1D", f"{name}/res_conv{i}", y, **config)
        if stride > 1:
            config = self._conv(channels[-1], widths[0], stride, 1, "valid" if bottleneck else "same")
            shortcut = self.add("Conv1D", f"{name}/id_conv1", x, **config)
        return self.add("Add", f"{name}/merge", shortcut, y)

    def _cpg(self, name: str) -> str:
        sizes, config = networks.CPG_NETWORKS[name], self.config
        x = self.add("Concatenate", "cpg/concatenate_1", "cpg/state", "cpg/dist", axis=2)
        activation = config.replicate_activation if sizes.units else "relu"
        x = self.add("TimeDistributed", "cpg/time_distributed_1", x, layer=self._per_cell(sizes.dense, activation))
        for i, units in enumerate(sizes.units, 1):
            x = self.add("Bidirectional", f"cpg/bidirectional_{i}", x, **self._gru(units, i, i < len(sizes.units)))
        if not sizes.units:
            x = self.add("GlobalAveragePooling1D", "cpg/global_average_pooling1d_1", x, data_format="channels_last")
        return self.add("Dropout", "cpg/dropout_1", x, **_dropout(config.cpg_dropout))

    def _per_cell(self, units: int, activation: str) -> Layer:
        inner = Description.__new__(Description)
        inner.layers = {}
        inner.add("InputLayer", "input_1", **_input([None, 2 * self.config.neighbours]))
        inner.add("Dense", "dense_1", "input_1", **self._dense(units))
        inner.add("Activation", "activation_1", "dense_1", activation=activation)
        ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["activation_1", 0, 0]]}
        return {"class_name": "Model", "config": {"name": "model_1", "layers": list(inner.layers.values()), **ends}}

    def _joint(self, name: str, stems: list[str]) -> str:
        x = self.add("Concatenate", "concatenate_1", *stems, axis=-1)
        for i in range(1, networks.JOINT_NETWORKS[name] + 1):
            x = self.add("Dense", f"joint/dense_{i}", x, **self._dense(self.config.joint_hidden))
            x = self.add("Activation", f"joint/activation_{i}", x, activation="relu")
            x = self.add("Dropout", f"joint/dropout_{i}", x, **_dropout(self.config.joint_dropout))
        return x

    def _head(self, output: str, stem: str) -> str:
        kind = head_kind(output)
        if kind == "scaled":
            count = sum(name.startswith("dense_") for name in self.layers)
            x = self.add("Dense", f"dense_{count + 2}", stem, **self._dense(1, penalty=None))
            return self.add("ScaledSigmoid", output, x, scaling=LARGEST_VARIANCE)
        units = CLASSES if kind == "softmax" else 1
        return self.add("Dense", output, stem, **self._dense(units, activation=kind, penalty=None))

    def _conv(
        self, channels: int, width: int, stride: int = 1, dilation: int = 1, padding: str = "valid"
    ) -> dict[str, Any]:
        return {
            "filters": channels, "kernel_size": [width], "strides": [stride], "padding": padding,
            "data_format": "channels_last", "dilation_rate": [dilation], "activation": "linear", "use_bias": True,
            "kernel_initializer": _UNIFORM, "bias_initializer": _ZEROS, "kernel_regularizer": self._penalty, **_FREE,
        }  # fmt: skip

    def _dense(self, units: int, activation: str = "linear", penalty: Any = "network") -> dict[str, Any]:
        return {
            "units": units, "activation": activation, "use_bias": True, "kernel_initializer": _UNIFORM,
            "bias_initializer": _ZEROS, "kernel_regularizer": self._penalty if penalty else None, **_FREE,
        }  # fmt: skip

    def _gru(self, units: int, number: int, sequences: bool) -> dict[str, Any]:
        config = {
            "name": f"gru_{number}", "trainable": True, "return_sequences": sequences, "return_state": False,
            "go_backwards": False, "stateful": False, "unroll": False, "units": units, "activation": "tanh",
            "recurrent_activation": "hard_sigmoid", "use_bias": True, "kernel_initializer": _UNIFORM,
            "recurrent_initializer": _ORTHOGONAL, "bias_initializer": _ZEROS, "kernel_regularizer": self._penalty,
            "recurrent_regularizer": None, **_FREE, "recurrent_constraint": None, "dropout": 0.0,
            "recurrent_dropout": 0.0, "implementation": 1, "reset_after": False,
        }  # fmt: skip
        return {"layer": {"class_name": "GRU", "config": config}, "merge_mode": "concat"}

    def ordered(self) -> list[Layer]:
        """The layers in Keras's order: the furthest from the outputs first, then as met when walking back from them."""
        depth: dict[str, int] = {}
        met: list[str] = []

        def visit(name: str) -> None:
            if name not in met:
                met.append(name)
                for before in self.before(name):
                    visit(before)

        for output in self.outputs:
            visit(output)
        for name in reversed(list(self.layers)):  # consumers come after what they consume
            own = depth.setdefault(name, 0)
            for before in self.before(name):
                depth[before] = max(depth.get(before, 0), own + 1)
        return [self.layers[name] for name in sorted(met, key=lambda name: -depth[name])]

    def before(self, name: str) -> list[str]:
        """The layers that a layer takes its input from."""
        return [node[0] for nodes in self.layers[name]["inbound_nodes"] for node in nodes]

    def to_json(self) -> str:
        """`model.json`."""
        ends = {key: [[name, 0, 0] for name in names] for key, names in
                (("input_layers", self.inputs), ("output_layers", self.outputs))}  # fmt: skip
        model = {"name": self.config.network, "layers": self.ordered(), **ends}
        content = {"class_name": "Model", "config": model, "keras_version": KERAS_VERSION, "backend": "tensorflow"}
        return json.dumps(content)


def write_model(model: DeepCpG, path: Path, table: Table, notes: Mapping[str, str]) -> bool:
    """Writes `path` (.h5), with `notes` for ourselves, and model.json beside it; False if the suffix is another.

    Raises:
      JaxepiError: h5py is missing, or a file cannot be written.
    """
    if path.suffix not in (".h5", ".hdf5"):
        return False
    description = Description(model.config)
    arrays, text = to_original(model, table), description.to_json()
    heads = {head_layer(output): description.before(output)[0] for output in model.config.outputs
             if head_kind(output) == "scaled"}  # fmt: skip
    layers: list[tuple[str, list[tuple[str, np.ndarray]]]] = []
    for layer in description.ordered():
        name = layer["name"]
        own = next((head for head, unnamed in heads.items() if unnamed == name), None)
        prefix = f"{own or name}/"
        weights = [(key.removeprefix(prefix), array) for key, array in arrays.items() if key.startswith(prefix)]
        if own:
            weights = [(f"{name}/{role}", array) for role, array in weights]
        # an input layer is called as the scope of its network, and a scaled head as the unnamed layer before it
        layers.append((name, [] if layer["class_name"] in ("InputLayer", "ScaledSigmoid") else weights))
    keras = {"model_config": text, "keras_version": KERAS_VERSION, "backend": "tensorflow"}
    write_keras(path, layers, {**keras, **notes})
    write_text(path.with_name("model.json"), text)
    return True


def _input(shape: list[int | None]) -> dict[str, Any]:
    return {"batch_input_shape": shape, "dtype": "float32", "sparse": False}


def _pool(size: int) -> dict[str, Any]:
    return {"strides": [size], "pool_size": [size], "padding": "valid", "data_format": "channels_last"}


def _dropout(rate: float) -> dict[str, Any]:
    return {"rate": rate, "noise_shape": None, "seed": None}


def _norm() -> dict[str, Any]:
    free = {f"{part}_{kind}": None for part in ("beta", "gamma") for kind in ("regularizer", "constraint")}
    initial = {f"{part}_initializer": _ONES if part in ("gamma", "moving_variance") else _ZEROS
               for part in ("beta", "gamma", "moving_mean", "moving_variance")}  # fmt: skip
    return {"axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True, **initial, **free}


def _single(value: float) -> float:
    """As Keras stores penalties."""
    return float(np.float32(value))
