"""A Keras model description (`model.json`, or `model_config` inside an .h5 file), read without Keras.

It tells what the tensors do not: window, dropout, penalties, activation, the order of the outputs, and which unnamed
layer feeds which output.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError
from jaxepi.systems.deepcpg.model import LARGEST_VARIANCE

Layer = Mapping[str, Any]


def find_description(weights: Path) -> tuple[str, str] | None:
    """The JSON text inside a weight file or beside it, and where it lies, or None.

    Raises:
      JaxepiError: there is one, but it cannot be read.
    """
    try:
        text = _inside(weights)
    except Exception as problem:  # a damaged file fails in as many ways as there are bytes
        raise JaxepiError(f"{weights} is not a readable HDF5 file ({problem}).") from problem
    if text is not None:
        return text, f"inside {weights}"
    stem = weights.stem.removesuffix("_weights")
    beside = [weights.with_name("model.json"), weights.with_name(f"{stem}.json"), weights.with_name(stem)]
    found = next((path for path in beside if path.is_file() and path != weights), None)
    if found is None:
        return None
    try:
        return found.read_text(encoding="utf-8-sig"), str(found)
    except (OSError, ValueError) as problem:
        raise JaxepiError(f"Cannot read {found}, the description of the model in {weights} ({problem}).") from problem


def _inside(weights: Path) -> str | None:
    """The description in a Keras file; None if it is none or has none."""
    try:
        import h5py
    except ImportError:  # reading the weights will say so if they need it
        return None
    if not h5py.is_hdf5(weights):
        return None
    with h5py.File(weights, "r") as file:
        text = file.attrs.get("model_config")
    return text.decode(errors="replace") if isinstance(text, bytes) else text if text is None else str(text)


def weights_in(folder: Path) -> Path:
    """The weight file of a folder as the original writes it: the best by validation first.

    Raises:
      JaxepiError: none of the known names is there.
    """
    names = ("model_weights.h5", "model_weights_val.h5", "model_weights_train.h5", "model.h5")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise JaxepiError(f"{folder} holds no DeepCpG model: expected one of {', '.join(names)}.")
    return found


def read_description(text: str, place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of the model's config that the description tells, and unnamed layer -> output.

    Raises:
      JaxepiError: it is no description of a Keras model, or of one that DeepCpG does not make.
    """
    try:
        config = json.loads(text)["config"]
        layers: list[Layer] = list(config["layers"])
        ends = [end[0] for end in config["output_layers"]]
        by_name = {layer["name"]: layer for layer in layers}
        told: dict[str, Any] = {}
        unnamed: dict[str, str] = {}
        if not layers or not ends:
            raise ValueError("it lists no layers")
        for layer in layers:
            told |= _of_layer(layer, place)
        for end in ends:
            if by_name[end]["class_name"] == "ScaledSigmoid":
                unnamed[by_name[end]["inbound_nodes"][0][0][0]] = end
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as problem:
        raise JaxepiError(
            f"The model description {place} is not that of a Keras model ({problem!r}): get it again, or take it away "
            "and give window, dropout and activation as arguments."
        ) from problem
    told["outputs"] = tuple(end for end in ends if not end.startswith("dense_"))
    if len(told["outputs"]) < len(ends):  # an entropy head, whose name the original loses
        del told["outputs"]
    return told, unnamed


def _of_layer(layer: Layer, place: str) -> dict[str, Any]:
    kind, config = layer["class_name"], layer["config"]
    scope = layer["name"].split("/")[0]
    if kind == "InputLayer":
        shape = config["batch_input_shape"]
        if layer["name"] == "dna" and shape[1] is not None:
            return {"window": int(shape[1])}
        return {"neighbours": int(shape[2])} if layer["name"].startswith("cpg/state") else {}
    if kind == "Dropout" and scope in ("dna", "cpg", "joint"):
        return {f"{scope}_dropout": float(config["rate"] if "rate" in config else config["p"])}
    if kind == "TimeDistributed":
        inner = config["layer"]["config"].get("layers", ())
        activations = [part["config"]["activation"] for part in inner if part["class_name"] == "Activation"]
        told = {"replicate_activation": activations[-1]} if activations else {}
        return told | next((found for part in inner if (found := _penalty(part["config"]))), {})
    if kind == "ScaledSigmoid" and abs(float(config.get("scaling", LARGEST_VARIANCE)) - LARGEST_VARIANCE) > 1e-6:
        raise JaxepiError(
            f"{place} scales {layer['name']} to {config['scaling']}, but only {LARGEST_VARIANCE} is known."
        )
    return _penalty(config) if scope in ("dna", "cpg", "joint") else {}


def _penalty(config: Mapping[str, Any]) -> dict[str, float]:
    """The penalties of a layer, or nothing. Some versions store them as float32."""
    penalty = config.get("kernel_regularizer") or config.get("W_regularizer")
    if not penalty:
        return {}
    values = penalty.get("config", penalty)
    return {part: float(f"{float(values[part]):.7g}") for part in ("l1", "l2")}
