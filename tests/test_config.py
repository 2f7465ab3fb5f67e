"""Sections from dataclasses, fields that may be None on the command line, and runs that lack younger fields."""

import dataclasses
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.base import get_base
from jaxepi.config import DEFAULTS, changed_fields, check_none, check_same_run, from_section
from jaxepi.errors import JaxepiError
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.registry import check_config, default_sections, get_system, known_systems
from jaxepi.storage.atomic import plain

ROOT = Path(__file__).parents[1]


def given(*words: str) -> ConfigDict:
    """The config of Melody's variant `modern` with these words on the command line."""
    argv = ["launch.py", f"--config={ROOT}/configs/melody_mt.py:modern", *words]
    values = flags.FlagValues()
    flag = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values(argv)
    check_none(flag.value)
    return flag.value


def test_the_section_of_the_optimizer_has_the_fields_and_defaults_of_its_dataclass():
    section = get_base().optimizer
    assert set(section) == {field.name for field in dataclasses.fields(OptimizerConfig)}
    assert from_section(OptimizerConfig, section, "config.optimizer") == OptimizerConfig()
    with pytest.raises(TypeError):
        section.clip_norm = "much"


def test_fields_whose_default_is_none_take_values_and_none():
    config = given("--config.optimizer.clip_norm=0.5", "--config.optimizer.decay_steps=7", "--config.max_minutes", "3")
    assert (config.optimizer.clip_norm, config.optimizer.decay_steps, config.max_minutes) == (0.5, 7, 3.0)
    config = given("--config.optimizer.clip_norm=None", "--config.max_minutes=None", "--config.wandb_project=None")
    assert (config.optimizer.clip_norm, config.max_minutes, config.wandb_project) == (None, None, None)


@pytest.mark.parametrize("field", ["steps", "optimizer.b1", "dataset.path"])
def test_none_is_refused_where_a_value_is_needed(field):
    with pytest.raises(JaxepiError, match=rf"config\.{field} is None, but needs a value"):
        given(f"--config.{field}=None")


def test_a_bad_number_is_still_told():
    with pytest.raises(flags.IllegalFlagValueError, match="1e4x"):
        given("--config.steps=1e4x")


def test_monitor_and_schedule_arguments_on_the_command_line():
    config = given("--config.monitor=loss_total,auc_cpg_flat", "--config.optimizer.schedule_arguments={'end_value': 1}")
    assert config.monitor == "loss_total,auc_cpg_flat" and config.optimizer.schedule_arguments.to_dict() == {
        "end_value": 1
    }
    assert given("--config.monitor=('loss_total','x')").monitor == ("loss_total", "x")
    assert given("--config.monitor=None").monitor is None


def test_a_run_that_lacks_younger_fields_did_what_their_defaults_say():
    now = plain(given())
    before = plain(given())
    for field in DEFAULTS:
        del before[field]
    for field in ("nesterov", "arguments", "schedule_arguments", "clip_value", "clip_variable_norm", "clip_adaptive"):
        del before["optimizer"][field]
    check_same_run(before, now, Path("run"))
    check_same_run(now, before, Path("run"))
    for section, field, value in ((now, "frozen_statistics", "batch"), (now["optimizer"], "nesterov", True)):
        kept, section[field] = section[field], value
        with pytest.raises(JaxepiError, match=f"{field} is {value!r}, but run was started with {kept!r}"):
            check_same_run(before, now, Path("run"))
        section[field] = kept


def test_the_defaults_of_younger_fields_are_those_of_the_base_config():
    base = plain(get_base())
    assert {field: base[field] for field in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("keep", -1, "keep is -1, but must be a whole number, at least 1"),
        ("keep", 0, "keep is 0"),
        ("seed", -1, "seed is -1, but must be a whole number, at least 0 and below 4294967296"),
        ("seed", 2**32, "seed is 4294967296"),
        ("batch_size", 0, "batch_size is 0, but must be a whole number, at least 1"),
        ("eval_batch_size", -8, "eval_batch_size is -8"),
        ("steps", -1, "steps is -1, but must be a whole number, at least 0"),
        ("log_every", 0, "log_every is 0, but must be a whole number, at least 1"),
        ("eval_every", -1, "eval_every is -1, but must be a whole number, at least 0"),
        ("save_every", -1, "save_every is -1"),
        ("eval_batches", 0, "eval_batches is 0"),
        ("patience", 0, "patience is 0"),
        ("max_minutes", -1.0, "max_minutes is -1.0, but must be a number, at least 0"),
        ("max_minutes", float("nan"), "max_minutes is nan"),
        ("mesh.fsdp", 0, "mesh.fsdp is 0"),
        ("dataset.readers", 0, "dataset.readers is 0"),
        ("profile_steps", (5,), r"profile_steps is \(5,\), but must be \(\) or a first step and one behind the last"),
        ("profile_steps", (5, 5), "profile_steps is"),
        ("report_checkpoint", "newest", "report_checkpoint is 'newest'"),
        ("optimizer.learning_rate", -1e-3, "optimizer.learning_rate is -0.001, but must be a number, at least 0"),
        ("optimizer.weight_decay", -0.1, "optimizer.weight_decay is -0.1"),
        ("optimizer.accumulate", 0, "optimizer.accumulate is 0, but must be a whole number, at least 1"),
        ("optimizer.warmup_steps", -1, "optimizer.warmup_steps is -1, but must be a whole number, at least 0"),
        ("optimizer.decay_steps", 0, "optimizer.decay_steps is 0"),
        ("optimizer.b2", 1.0, "optimizer.b2 is 1.0, but must be a number, at least 0 and below 1"),
        ("optimizer.clip_norm", 0.0, "optimizer.clip_norm is 0.0, but must be a number, above 0"),
        ("optimizer.ema_decay", 2.0, "optimizer.ema_decay is 2.0, but must be a number, at least 0 and below 1"),
        ("model.width", 0, "model.width is 0, but must be a whole number, at least 1"),
        ("model.dtype", "float99", r"model.dtype is 'float99'.* must be one of \('float32', 'bfloat16'\)"),
        ("task.count_weight", -1.0, "task.count_weight is -1.0"),
        ("system", "melodi", "Unknown system 'melodi'"),
    ],
)
def test_a_config_is_checked_without_its_dataset(field, value, sentence):
    config = given()
    check_config(config)
    with config.unlocked():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(JaxepiError, match=sentence) as told:
        check_config(config)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("system", known_systems())
def test_every_size_of_every_system_has_its_limit(system):
    """One below 1 is refused, unless the field says otherwise; so is a compute type that there is none of."""
    for where, cls in (("model", get_system(system).sizes), ("task", get_system(system).objective)):
        for field in dataclasses.fields(cls):
            if field.type in (int, int | None, tuple[int, ...], float):
                least = field.metadata.get("least", 1 if field.type is not float else 0)
                bad = (least - 1,) if field.type == tuple[int, ...] else least - 1
                with pytest.raises(JaxepiError, match=rf"config\.{where}\.{field.name} is {least - 1}, but must be"):
                    from_section(cls, {field.name: bad}, f"config.{where}")
            elif field.name == "dtype":
                with pytest.raises(JaxepiError, match=r"config\.model\.dtype is 'float64'"):
                    from_section(cls, {"dtype": "float64"}, "config.model")


def test_fields_of_sections_that_an_older_run_lacks_have_their_defaults():
    now = plain(given())
    before = plain(given())
    del before["model"]["remat"], before["task"]["recordless"], before["model"]["dtype"], before["compilation_cache"]
    sections = default_sections("melody")
    same = {"model": {"dtype": "float32"}, "task": {"recordless": sections["task"]["recordless"]}}
    for section, values in same.items():
        now[section] |= values
    assert changed_fields(before, now, sections) == {}
    now["model"]["dtype"] = "bfloat16"
    assert changed_fields(before, now, sections) == {"model.dtype": ("float32", "bfloat16")}
    with pytest.raises(JaxepiError, match=r"config\.model\.dtype is 'bfloat16', but run was started with 'float32'"):
        check_same_run(before, now, Path("run"), sections)
    now["model"]["dtype"], now["steps"] = "float32", 7
    assert list(changed_fields(before, now, sections)) == ["steps"], "free to change, but not the same"
    check_same_run(before, now, Path("run"), sections)
