"""The section `train` of the original's params.json, as fields of a config.

`config.update_from_flattened_dict(train_fields(params["train"]))` makes a run of what the original's loops do.
"""

from collections.abc import Mapping
from typing import Any

from jaxepi.errors import JaxepiError, did_you_mean

# key of params.json -> its default
KNOWN: dict[str, Any] = {
    "batch_size": None, "loss": "poisson", "spec_weight": 1.0, "total_weight": 1.0, "optimizer": "sgd",
    "learning_rate": 0.01, "momentum": 0.99, "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0,
    "clip_norm": None, "clipnorm": None, "global_clipnorm": None, "agc_clip": None, "warmup_steps": 0,
    "initial_learning_rate": None, "maximal_learning_rate": None, "final_learning_rate": None,
    "train_epochs_cycle1": None, "patience": 20, "train_epochs_min": 1, "train_epochs_max": 10_000,
    # without a meaning here: all is shuffled, devices are found, and the original reads no train_epochs either
    "shuffle_buffer": None, "num_gpu": None, "train_epochs": None,
}  # fmt: skip
LOOPS = ("tape", "keras", "several")
_CYCLE = ("initial_learning_rate", "maximal_learning_rate", "final_learning_rate", "train_epochs_cycle1")
_EPSILON = 1e-7  # Keras's, of Adam


def train_fields(train: Mapping[str, Any], loop: str = "tape", region: str = "bin") -> dict[str, Any]:
    """Dotted names of fields of a config and their values; steps count epochs.

    Args:
      train: the section.
      loop: which of the original's loops: "tape", its default for one dataset; "keras", its option -k; "several", of
        several datasets, whose metrics `config.monitor` has to name, one for each dataset.
      region: of the names of validation metrics, see `Task.options`.

    Raises:
      JaxepiError: an unknown key, a value that is not known, or none where one is needed.
    """
    for key in train:
        if key not in KNOWN:
            raise JaxepiError(f"params.json has train.{key}{did_you_mean(key, KNOWN)}, which is not known.")
    if loop not in LOOPS:
        raise ValueError(f"loop={loop!r}, expected one of {LOOPS}")
    if train.get("batch_size") is None:
        raise JaxepiError("params.json lacks train.batch_size, the number of sequences of a step.")
    given = {**KNOWN, **train}
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
        **_loop(given, loop, loss, region),
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
    names = {"clip_norm": "clip_variable_norm", "clipnorm": "clip_variable_norm", "global_clipnorm": "clip_norm"}
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


def _loop(given: Mapping[str, Any], loop: str, loss: str, region: str) -> dict[str, Any]:
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
