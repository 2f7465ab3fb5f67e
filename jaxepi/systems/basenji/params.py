"""The original's params.json, in any version's spelling, as the sections of a config.

Without a meaning here are `shuffle_buffer`, as all records are shuffled, and `num_gpu`, as devices are found.
"""

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


TRAIN_DEFAULTS: dict[str, Any] = {
    "loss": "poisson", "spec_weight": 1.0, "total_weight": 1.0, "optimizer": "sgd", "learning_rate": 0.01,
    "momentum": 0.99, "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0, "clip_norm": None,
    "global_clipnorm": None, "agc_clip": None, "warmup_steps": 0, "initial_learning_rate": None,
    "maximal_learning_rate": None, "final_learning_rate": None, "train_epochs_cycle1": None, "patience": 20,
    "train_epochs_min": 1, "train_epochs_max": 10_000,
}  # fmt: skip
LOOPS = ("tape", "keras", "several")
_CYCLE = ("initial_learning_rate", "maximal_learning_rate", "final_learning_rate", "train_epochs_cycle1")
_EPSILON = 1e-7  # Keras's, of Adam


def train_fields(train: Mapping[str, Any], loop: str = "tape", region: str = "bin") -> dict[str, Any]:
    """Dotted names of fields of a config and their values; steps count epochs.

    Args:
      train: the section, as `translate` gives it.
      loop: which of the original's loops: "tape", its default for one dataset; "keras", its option -k; "several", of
        several datasets, whose metrics `config.monitor` has to name, one for each dataset.
      region: of the names of validation metrics, see `Task.options`.

    Raises:
      JaxepiError: an optimizer that is not known, no batch size, or two ways of clipping at once.
    """
    if loop not in LOOPS:
        raise ValueError(f"loop={loop!r}, expected one of {LOOPS}")
    if train.get("batch_size") is None:
        raise JaxepiError("params.json lacks train.batch_size, the number of sequences of a step.")
    given = {**TRAIN_DEFAULTS, **train}
    loss = str(given["loss"]).lower()
    return {
        "batch_size": given["batch_size"],
        "eval_batch_size": given["batch_size"],
        "task.loss": loss,
        "task.spec_weight": float(given["spec_weight"]),
        "task.total_weight": float(given["total_weight"]),
        **_optimizer(given),
        **_clipping(given),
        **_schedule(given),
        **_length(given, loop, loss, region),
    }


def _optimizer(given: Mapping[str, Any]) -> dict[str, Any]:
    name = str(given["optimizer"]).lower()
    if name in ("sgd", "momentum"):
        return {"optimizer.name": "sgd", "optimizer.b1": float(given["momentum"])}
    if name not in ("adam", "adamw"):
        raise JaxepiError(f"params.json has train.optimizer {name!r}, but sgd, momentum, adam and adamw are known.")
    fields = {
        "optimizer.name": name, "optimizer.b1": float(given["adam_beta1"]), "optimizer.b2": float(given["adam_beta2"]),
        "optimizer.epsilon": _EPSILON, "optimizer.epsilon_uncorrected": True,
    }  # fmt: skip
    if name == "adamw":
        fields |= {"optimizer.weight_decay": float(given["weight_decay"]), "optimizer.weight_decay_without_rate": True}
    return fields


def _clipping(given: Mapping[str, Any]) -> dict[str, Any]:
    """`clip_norm` is that of each variable by itself, and the first of the names that is there wins."""
    names = {"clip_norm": "clip_variable_norm", "global_clipnorm": "clip_norm"}
    found = next((name for name in names if given[name] is not None), None)
    if found is not None and given["agc_clip"] is not None:
        raise JaxepiError(f"params.json has train.agc_clip and train.{found}: leave one of them out.")
    if given["agc_clip"] is not None:
        return {"optimizer.clip_adaptive": float(given["agc_clip"])}
    return {} if found is None else {f"optimizer.{names[found]}": float(given[found])}


def _schedule(given: Mapping[str, Any]) -> dict[str, Any]:
    """Constant, behind a warm-up that counts steps, or one cycle that counts epochs."""
    rate, sgd = float(given["learning_rate"]), {"optimizer.rate_in_momentum": True}
    if str(given["optimizer"]).lower() in ("adam", "adamw"):
        sgd = {}
    if all(given[name] is not None for name in _CYCLE):
        low, peak, last = (float(given[name]) for name in _CYCLE[:3])
        return sgd | {
            "optimizer.learning_rate": peak, "optimizer.schedule": "triangle",
            "optimizer.initial_scale": low / peak, "optimizer.final_scale": last / peak,
            "optimizer.warmup_steps": int(given["train_epochs_cycle1"]),
        }  # fmt: skip
    if not given["warmup_steps"]:
        return {"optimizer.learning_rate": rate}
    arguments = {"init_value": 0.0, "end_value": rate, "transition_steps": int(given["warmup_steps"])}
    return sgd | {
        "optimizer.learning_rate": rate, "optimizer.schedule": "linear_schedule",
        "optimizer.schedule_arguments": arguments,
    }  # fmt: skip


def _length(given: Mapping[str, Any], loop: str, loss: str, region: str) -> dict[str, Any]:
    """How long, and what decides the best."""
    fields = {
        "unit": "epoch", "steps": int(given["train_epochs_max"]), "eval_every": 1, "save_every": 1,
        "patience_from": int(given["train_epochs_min"]),
        # the loops that Keras does not run go on for one epoch more
        "patience": int(given["patience"]) + (loop != "keras"),
    }  # fmt: skip
    if loop == "several":
        return fields | {"patience_watches": "any"}
    if loop == "tape":
        return fields | {"monitor": f"pearson_plus_quarter_r2_{region}_per_track_mean"}
    return fields | {"monitor": "loss_total" if loss == "bce" else f"pearson_{region}_per_track_mean"}
