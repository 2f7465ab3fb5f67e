"""The folds of a cross-validation: parts of one dataset, each held out once while the others train."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxepi.errors import JaxepiError, did_you_mean


def hold_out(config: Any, fold: str) -> None:
    """Makes `config` validate on one of config.dataset.folds and train on the others; a test split is left alone.

    Raises:
      JaxepiError: the config has no such fold, or no folds.
    """
    folds = check_folds(config)
    if fold not in folds:
        raise JaxepiError(f"There is no fold {fold!r}{did_you_mean(fold, folds)}; config.dataset.folds has {folds}.")
    config.dataset.train_split = "+".join(other for other in folds if other != fold)
    config.dataset.validation_split = fold


def check_folds(config: Any) -> tuple[str, ...]:
    """The names in config.dataset.folds.

    Raises:
      JaxepiError: fewer than two, or one twice.
    """
    folds = tuple(config.dataset.get("folds", ()))
    if len(folds) < 2:
        raise JaxepiError(
            f"config.dataset.folds is {folds}, but cross-validation needs two or more splits of the dataset, such as "
            "--config.dataset.folds=\"('fold1','fold2')\"."
        )
    twice = next((fold for number, fold in enumerate(folds) if fold in folds[:number]), None)
    if twice is not None:
        raise JaxepiError(f"config.dataset.folds names {twice!r} twice; each fold is held out once.")
    return folds


D = TypeVar("D")


def from_section(cls: type[D], section: Mapping[str, Any], where: str, **override: Any) -> D:
    """A frozen dataclass from a section of the config; `override` fills what the dataset decides.

    Raises:
      JaxepiError: a field that `cls` does not have, with the nearest name.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in section:
        if name not in known:
            raise JaxepiError(f"Unknown config field {where}.{name}{did_you_mean(name, known)}.")
    return cls(**{**dict(section), **override})


# what `config.unit` is the unit of
RUN_FIELDS = ("steps", "eval_every", "save_every")


OPTIMIZER_FIELDS = ("warmup_steps", "decay_steps")


def in_steps(config: Any, batches_per_epoch: int) -> Any:
    """The config with everything that counts epochs (`config.unit` is "epoch") turned into steps; a copy.

    Raises:
      JaxepiError: an unknown unit.
    """
    unit = config.get("unit", "step")
    if unit not in ("step", "epoch"):
        raise JaxepiError(f"config.unit is {unit!r}, but must be 'step' or 'epoch'.")
    resolved = copy.deepcopy(config)
    if unit == "epoch":
        for section, fields in ((resolved, RUN_FIELDS), (resolved.optimizer, OPTIMIZER_FIELDS)):
            for field in fields:
                if section[field] is not None:
                    section[field] = section[field] * batches_per_epoch
    return resolved


def report_checkpoint(config: Any) -> str:
    """Which checkpoint of a run its report is about: "best" or "last".

    Raises:
      JaxepiError: config.report_checkpoint is something else.
    """
    value = config.get("report_checkpoint", "best")
    if value not in ("best", "last"):
        raise JaxepiError(f"config.report_checkpoint is {value!r}, but must be 'best' or 'last'.")
    return value


def dataset_source(config: Any) -> dict[str, Any]:
    """Where config.dataset says that the data lie: the arguments of `jaxepi.data.open.find_dataset`."""
    section = config.dataset
    fields = {name: section.get(name, "") for name in ("path", "sample", "command")}
    return fields | {"paths": tuple(section.get("paths", ()))}


# what may change between two starts of one run: it moves no parameter of a step that was already counted
FREE_FIELDS = (
    "steps", "max_minutes", "log_every", "eval_every", "save_every", "keep", "patience", "eval_batch_size",
    "eval_batches", "mesh", "profile_steps", "wandb_project", "dataset.path", "dataset.paths", "dataset.readers",
    "dataset.command", "dataset.sample", "dataset.folds", "model.remat", "report", "report_checkpoint",
    "compilation_cache",
)  # fmt: skip


def check_same_run(before: dict[str, Any], now: dict[str, Any], workdir: Path) -> None:
    """Raises JaxepiError if the config differs from the one this workdir was started with, where it matters."""
    old, new = _flat(before), _flat(now)
    for name in sorted(old.keys() | new.keys()):
        free = any(name == field or name.startswith(field + ".") for field in FREE_FIELDS)
        if not free and old.get(name) != new.get(name):
            raise JaxepiError(
                f"config.{name} is {new.get(name)!r}, but {workdir} was started with {old.get(name)!r}; "
                "use the value of that run, or another --workdir."
            )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
