"""The original's params.json, in any version's spelling, as the sections of a config."""

import json
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.sources import path_of
from jaxepi.systems.basenji.vocabulary import GLOBALS

Params = str | os.PathLike[str] | Mapping[str, Any]

_MODEL = ("seq_length", "trunk", "augment_rc", "augment_shift", "strand_pair", "batch_norm", *GLOBALS)
# in files of the original, though its program reads none of them
_UNREAD = ("target_length", "target_crop", "diagonal_offset", "verbose", "seq_depth", "num_targets", "bin_width")
_TRAIN = (
    "batch_size", "shuffle_buffer", "optimizer", "learning_rate", "momentum", "adam_beta1", "adam_beta2",
    "weight_decay", "clip_norm", "global_clipnorm", "agc_clip", "loss", "spec_weight", "total_weight", "patience",
    "train_epochs_min", "train_epochs_max", "train_epochs_cycle1", "initial_learning_rate", "maximal_learning_rate",
    "final_learning_rate", "warmup_steps", "num_gpu",
)  # fmt: skip
_UNREAD_TRAIN = ("train_epochs", "decay_steps", "decay_rate")


class Translated(NamedTuple):
    """What a params.json says.

    Attributes:
      model: fields of `config.model`: the network with all of its heads.
      task: fields of `config.task`: what is augmented.
      train: its section `train`, in today's spelling.
      strand_pairs: of each head, () where nothing is said.
    """

    model: dict[str, Any]
    task: dict[str, Any]
    train: dict[str, Any]
    strand_pairs: tuple[tuple[int, ...], ...]


def translate(params: Params) -> Translated:
    """Reads a params.json.

    Args:
      params: its path, its content, or its section `model` alone.

    Raises:
      JaxepiError: no such file, no JSON, or something in it that no version of the original has.
    """
    content, name = _content(params)
    model = content.get("model", content if "trunk" in content else None)
    if not isinstance(model, Mapping):
        raise JaxepiError(f"{name} has no section 'model' with a trunk: give the params.json of the model.")
    heads = sorted((key for key in model if key.startswith("head")), key=_natural)
    _check_keys({key for key in model if key not in heads}, (*_MODEL, *_UNREAD), f"{name}: model")
    for key in ("seq_length", "trunk", "activation"):
        if key not in model:
            raise JaxepiError(f"{name}: model lacks {key!r}, which the original needs.")
    if not isinstance(model["trunk"], list | tuple) or not model["trunk"]:
        raise JaxepiError(f"{name}: model.trunk is {model['trunk']!r}, but a list of blocks was expected.")
    fields: dict[str, Any] = {"window": _whole(model["seq_length"], f"{name}: model.seq_length", 1)}
    fields |= {key: model[key] or _EMPTY.get(key, 0.0) for key in GLOBALS if key in model}
    fields |= {key: value for key, value in _EMPTY.items() if key not in fields}
    fields.setdefault("bn_momentum", 0.99)
    if model.get("batch_norm") and not model.get("norm_type"):
        fields["norm_type"] = "batch"
    fields |= {"trunk": list(model["trunk"]), "heads": [model[key] for key in heads], "head_names": heads}
    task = {
        "reverse_complement": bool(model.get("augment_rc", False)),
        "shift": _shift(model.get("augment_shift", [0]), name),
    }
    return Translated(fields, task, _train(content.get("train", {}), name), _strand_pairs(model, heads, name))


_EMPTY: dict[str, Any] = {"activation": "", "norm_type": "", "padding": "", "kernel_initializer": ""}


def _content(params: Params) -> tuple[Mapping[str, Any], str]:
    if isinstance(params, Mapping):
        return params, "params"
    path = path_of(params, "params", "the path of a params.json or its content")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise JaxepiError(f"Cannot read {path} ({problem.strerror or problem}).") from problem
    except ValueError as problem:
        raise JaxepiError(f"{path} is no JSON ({problem}): give the params.json of the model.") from problem
    if not isinstance(content, Mapping):
        raise JaxepiError(f"{path} holds a {type(content).__name__}, but a JSON object was expected.")
    return content, str(path)


def _check_keys(keys: set[str], known: tuple[str, ...], where: str) -> None:
    """Refuses a misspelt key; tells of one that the original takes as well without ever reading it."""
    for key in sorted(keys - set(known)):
        if guess := did_you_mean(key, known):
            raise JaxepiError(f"{where} has the unknown entry {key!r}{guess}.")
        warnings.warn(
            f"{where} has the entry {key!r}, which says nothing about the network: it is left out", stacklevel=4
        )


def _train(section: Any, name: str) -> dict[str, Any]:
    if not isinstance(section, Mapping):
        raise JaxepiError(f"{name}: train is {section!r}, but a JSON object was expected.")
    train = dict(section)
    if "clipnorm" in train:
        train.setdefault("clip_norm", train["clipnorm"])
        del train["clipnorm"]
    _check_keys(set(train), (*_TRAIN, *_UNREAD_TRAIN), f"{name}: train")
    return {key: value for key, value in train.items() if key in _TRAIN}


def _whole(value: Any, where: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise JaxepiError(f"{where} is {value!r}, but must be a whole number of at least {least}.")
    return value


def _shift(value: Any, name: str) -> int:
    """bp from `augment_shift`, of which the list [0] is the original's way to say none."""
    return 0 if value == [0] else _whole(value, f"{name}: model.augment_shift", 0)


def _strand_pairs(model: Mapping[str, Any], heads: list[str], name: str) -> tuple[tuple[int, ...], ...]:
    told = model.get("strand_pair") or [[] for _ in heads]
    listed = isinstance(told, list | tuple) and len(told) == len(heads)
    if not listed or not all(isinstance(pair, list | tuple) for pair in told):
        raise JaxepiError(
            f"{name}: model.strand_pair must hold a list of track numbers for each of the {len(heads)} heads."
        )
    return tuple(tuple(_whole(track, f"{name}: model.strand_pair", 0) for track in pair) for pair in told)


def _natural(text: str) -> list[tuple[int, Any]]:
    """Sorts numbers inside names by their value."""
    return [(1, part) if not part.isdigit() else (0, int(part)) for part in re.split(r"(\d+)", text) if part]
