"""Sections from dataclasses, fields that may be None on the command line, and runs that lack younger fields."""

import dataclasses
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.base import get_base
from jaxepi.config import DEFAULTS, check_none, check_same_run, from_section
from jaxepi.errors import JaxepiError
from jaxepi.optimizer_config import OptimizerConfig
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
