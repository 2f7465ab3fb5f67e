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
      JaxepiError: a field that `cls` does not have, with the nearest name, or a number out of its limits.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in section:
        if name not in known:
            raise JaxepiError(f"Unknown config field {where}.{name}{did_you_mean(name, known)}.")
    values = {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in section.items()}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in values and field.name not in override:
            _check_field(field, values[field.name], f"{where}.{field.name}")
    return cls(**{**values, **override})


DTYPES = ("float32", "bfloat16")  # to compute in


def _check_field(field: dataclasses.Field[Any], value: Any, where: str) -> None:
    """Raises JaxepiError unless the numbers of a field are within its limits, and a `dtype` is one of `DTYPES`.

    The limits are those of the field's metadata: "least", which is 1 for whole numbers and 0 for others if it is not
    told, "above" and "below". None passes where the type has it.
    """
    if field.name == "dtype":
        check_choices(types.SimpleNamespace(dtype=value), where.rpartition(".")[0], dtype=DTYPES)
    kinds = get_args(field.type) or (field.type,)
    kind = next((kind for kind in (int, float) if kind in kinds), None)
    if kind is not None and not (value is None and types.NoneType in kinds):
        for one in value if isinstance(value, list | tuple) else (value,):
            check_number(one, kind, where, **field.metadata)


def check_number(
    value: Any, kind: type, where: str, least: float | None = None, above: float | None = None,
    below: float | None = None,
) -> None:  # fmt: skip
    """Raises JaxepiError unless `value` is a number of this kind, at least `least`, and between `above` and `below`."""
    least = least if least is not None or above is not None else 1 if kind is int else 0
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool) and value == value
    fits = fits and (least is None or value >= least)
    if not (fits and (above is None or value > above) and (below is None or value < below)):
        limits = [f"at least {least}"] if least is not None else [f"above {above}"]
        limits += [] if below is None else [f"below {below}"]
        what = "a whole number" if kind is int else "a number"
        raise JaxepiError(f"{where} is {value!r}, but must be {what}, {' and '.join(limits)}.")


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
RUN_FIELDS = ("steps", "eval_every", "save_every", "patience_from")
OPTIMIZER_FIELDS = ("warmup_steps", "decay_steps", "hold_steps")


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
                if section.get(field) is not None:  # configs of earlier versions lack the younger fields
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


_WHOLE = {"least": 0}
# numbers that stand outside of the sections of dataclasses: type and limits
_NUMBERS: dict[str, tuple[type, dict[str, float]]] = {
    "seed": (int, {"least": 0, "below": 2**32}),
    "batch_size": (int, {}),
    "eval_batch_size": (int, {}),
    "steps": (int, _WHOLE),
    "max_minutes": (float, {}),
    "log_every": (int, {}),
    "eval_every": (int, _WHOLE),
    "eval_batches": (int, {}),
    "save_every": (int, _WHOLE),
    "keep": (int, {}),
    "patience": (int, {}),
    "patience_from": (int, _WHOLE),
    "mesh.fsdp": (int, {}),
    "dataset.readers": (int, {}),
}


def check_run(config: Any) -> None:
    """Checks the fields that all experiments share, as far as they say by themselves what cannot be.

    Raises:
      JaxepiError: the first that does not fit.
    """
    flat = _flat(config.to_dict() if isinstance(config, ConfigDict) else config)
    for name, (kind, limits) in _NUMBERS.items():
        if flat.get(name) is not None:  # None has a meaning where it is allowed: see `check_none`
            check_number(flat[name], kind, f"config.{name}", **limits)
    watched = types.SimpleNamespace(patience_watches=flat.get("patience_watches", "first"))
    check_choices(watched, "config", patience_watches=("first", "any"))
    window = flat.get("profile_steps") or (0, 1)
    if len(window) != 2 or not all(isinstance(step, int) for step in window) or not 0 <= window[0] < window[1]:
        raise JaxepiError(
            f"config.profile_steps is {window!r}, but must be () or a first step and one behind the last."
        )
    from_section(OptimizerConfig, config.optimizer, "config.optimizer")
    report_checkpoint(config)


# what may change between two starts of one run: it moves no parameter of a step that was already counted
FREE_FIELDS = (
    "steps", "max_minutes", "log_every", "eval_every", "save_every", "keep", "patience", "patience_watches",
    "patience_from", "eval_batch_size", "eval_batches", "mesh", "profile_steps", "wandb_project", "dataset.path",
    "dataset.paths", "dataset.readers", "dataset.command", "dataset.sample", "dataset.folds", "model.remat", "report",
    "report_checkpoint", "compilation_cache",
)  # fmt: skip


# of fields that younger versions have and configs of older runs lack; such a run did what the default says
DEFAULTS: dict[str, Any] = {
    "unit": "step",
    "init_from": [],
    "frozen": [],
    "frozen_statistics": "running",
    "patience_watches": "first",
    "patience_from": 0,
}


def check_same_run(
    before: Mapping[str, Any], now: Mapping[str, Any], workdir: Path, sections: Mapping[str, Any] | None = None
) -> None:
    """Raises JaxepiError if the config differs from the one this workdir was started with, where it matters.

    A field that one of the two does not know has its default there; `sections` has those of the system's sections, see
    `jaxepi.registry.default_sections`.
    """
    for name, (old, new) in changed_fields(before, now, sections).items():
        if not _is_free(name):
            raise JaxepiError(
                f"config.{name} is {new!r}, but {workdir} was started with {old!r}; "
                "use the value of that run, or another --workdir."
            )


def changed_fields(
    before: Mapping[str, Any], now: Mapping[str, Any], sections: Mapping[str, Any] | None = None
) -> dict[str, tuple[Any, Any]]:
    """Name -> both values of the fields in which two configs of a run differ, as plain values.

    A field that one of the two does not know has its default there; without a default, it differs only if it matters.
    """
    known = {"optimizer": dataclasses.asdict(OptimizerConfig()), **(sections or {})}
    defaults = DEFAULTS | _flat(plain(known, strict=False))
    old, new = defaults | _flat(before), defaults | _flat(now)
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and (not _is_free(name) or (name in old and name in new))
    }


def _is_free(name: str) -> bool:
    return any(name == field or name.startswith(f"{field}.") for field in FREE_FIELDS)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
