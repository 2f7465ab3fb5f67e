"""What a config means: its sections as dataclasses, its units, its folds, and which changes a run on disk allows."""

import copy
import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.storage.atomic import plain


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
    fields = {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in section.items()}
    return cls(**{**fields, **override})


def check_choices(section: Any, where: str, **allowed: tuple[str, ...]) -> None:
    """Raises JaxepiError if a field of a section's dataclass is none of the values that it allows."""
    for name, choices in allowed.items():
        value = getattr(section, name)
        if value not in choices:
            raise JaxepiError(
                f"{where}.{name} is {value!r}{did_you_mean(value, choices)}, but must be one of {choices}."
            )


def section_of(cls: type) -> ConfigDict:
    """A section of a config with the fields and defaults of a dataclass; where None is the default, a placeholder."""
    section = ConfigDict()
    for field in dataclasses.fields(cls):
        factory = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if factory else field.default  # type: ignore[misc]
        if default is None:
            default = placeholder(next(kind for kind in get_args(field.type) if kind is not types.NoneType))
        section[field.name] = default
    return section


class _NoneOr(flags.ArgumentParser):
    """Reads "None" as None and leaves the rest to the parser of a type."""

    def __init__(self, parser: flags.ArgumentParser):
        super().__init__()
        self._parser = parser
        self.syntactic_help = parser.syntactic_help

    def parse(self, argument: Any) -> Any:
        return None if argument == "None" else self._parser.parse(argument)

    def flag_type(self) -> str:
        return self._parser.flag_type()


# By itself ml_collections takes --config.max_minutes=None for a bad number, and would never set such a field back.
for _kind, _parser in {int: flags.IntegerParser(), float: flags.FloatParser(), str: flags.ArgumentParser()}.items():
    config_flags.register_flag_parser_for_type(_kind, _NoneOr(_parser))


def check_none(config: ConfigDict, where: str = "config") -> None:
    """Raises JaxepiError if the command line set a field to None that needs a value."""
    for name, value in config.items(preserve_field_references=True):  # a field that may be None is a reference
        if isinstance(value, ConfigDict):
            check_none(value, f"{where}.{name}")
        elif value is None:
            raise JaxepiError(f"{where}.{name} is None, but needs a value; leave it out for that of the config.")


def monitors(value: Any, default: str) -> tuple[str, ...]:
    """The validation metrics that `config.monitor` names: one, several as "a,b" or a sequence; None is `default`."""
    names = value.split(",") if isinstance(value, str) else value or ()
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip())) or (default,)


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


# of fields that younger versions have and configs of older runs lack; such a run did what the default says
DEFAULTS: dict[str, Any] = {
    "unit": "step",
    "init_from": [],
    "frozen": [],
    "frozen_statistics": "running",
}


def check_same_run(before: dict[str, Any], now: dict[str, Any], workdir: Path) -> None:
    """Raises JaxepiError if the config differs from the one this workdir was started with, where it matters.

    A field that one of the two does not know has its default there.
    """
    defaults = DEFAULTS | _flat({"optimizer": plain(dataclasses.asdict(OptimizerConfig()), strict=False)})
    old, new = defaults | _flat(before), defaults | _flat(now)
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
