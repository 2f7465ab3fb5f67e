"""The section `train` of params.json as fields of a config, and the configs that are made of a params.json."""

import json

import pytest

from configs.basenji import from_params, get_config
from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.registry import check_config
from jaxepi.systems.basenji.params import train_fields
from jaxepi.systems.basenji.presets import AKITA, BASENJI2, BASSET, PRESETS
from jaxepi.train.schedules import make_schedule
from jaxepi.verbs.config_file import read_config, run_name

SGD = {"batch_size": 4, "optimizer": "sgd", "learning_rate": 0.15, "momentum": 0.99}


def test_basenji2_basset_and_akita():
    human = train_fields(BASENJI2["train"])
    assert human | {
        "batch_size": 4, "task.loss": "poisson", "optimizer.name": "sgd", "optimizer.b1": 0.99,
        "optimizer.learning_rate": 0.15, "optimizer.clip_variable_norm": 2.0, "unit": "epoch", "patience": 17,
        "patience_from": 1, "steps": 10_000, "monitor": "pearson_plus_quarter_r2_bin_per_track_mean",
    } == human  # fmt: skip
    assert not any(name in human for name in ("optimizer.schedule", "optimizer.clip_norm", "optimizer.epsilon"))
    several = train_fields(BASENJI2["train"], "several")
    assert several["patience_watches"] == "any" and "monitor" not in several and several["patience"] == 17
    basset = train_fields(BASSET["train"], "keras")
    assert (basset["monitor"], basset["patience"], basset["patience_from"]) == ("loss_total", 12, 10)
    assert basset["task.loss"] == "bce" and basset["optimizer.b1"] == 0.98
    akita = train_fields(AKITA["train"], "keras")
    assert (akita["monitor"], akita["optimizer.clip_variable_norm"]) == ("pearson_bin_per_track_mean", 10.0)


def test_adam_and_clipping():
    adam = train_fields({"batch_size": 64, "optimizer": "Adam", "adam_beta2": 0.998, "global_clipnorm": 0.5})
    assert (adam["optimizer.name"], adam["optimizer.b2"], adam["optimizer.clip_norm"]) == ("adam", 0.998, 0.5)
    assert adam["optimizer.epsilon"] == 1e-7 and adam["optimizer.epsilon_uncorrected"]
    adamw = train_fields({"batch_size": 1, "optimizer": "adamw", "weight_decay": 0.02})
    assert adamw["optimizer.weight_decay"] == 0.02 and adamw["optimizer.weight_decay_without_rate"]
    assert train_fields({**SGD, "agc_clip": 0.01})["optimizer.clip_adaptive"] == 0.01
    with pytest.raises(JaxepiError, match="agc_clip and train.clip_norm: leave one"):
        train_fields({**SGD, "agc_clip": 0.01, "clip_norm": 2})
    with pytest.raises(JaxepiError, match="train.optimizer 'rmsprop', but sgd, momentum, adam and adamw"):
        train_fields({**SGD, "optimizer": "rmsprop"})
    with pytest.raises(JaxepiError, match="lacks train.batch_size"):
        train_fields({})


def schedule_of(train):
    fields = {name.removeprefix("optimizer."): value for name, value in train.items() if name.startswith("optimizer.")}
    return make_schedule(OptimizerConfig(**fields), 100)


def test_schedules():
    warm = train_fields({**SGD, "warmup_steps": 10})
    assert [round(float(schedule_of(warm)(step)), 6) for step in (0, 5, 10, 50)] == [0.0, 0.075, 0.15, 0.15]
    assert warm["optimizer.rate_in_momentum"]
    cycle = {"initial_learning_rate": 0.02, "maximal_learning_rate": 0.1, "final_learning_rate": 0.001}
    made = train_fields({**SGD, **cycle, "train_epochs_cycle1": 4})
    # in epochs here, each of which is as long as a step of this schedule
    values = [round(float(schedule_of(made)(step)), 6) for step in (0, 2, 4, 6, 7, 8, 20)]
    assert values == [0.02, 0.06, 0.1, 0.06, 0.04, 0.001, 0.001]
    assert train_fields({**SGD, **cycle})["optimizer.learning_rate"] == 0.15  # one of the four is missing


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_of_every_params_json_fits_the_code(name, tmp_path):
    path = tmp_path / "params.json"
    path.write_text(json.dumps(PRESETS[name]))
    config = read_config(f"configs/basenji.py:{path}", ["--config.optimizer.learning_rate=0.1"])
    check_config(config)
    from_section(OptimizerConfig, config.optimizer, "config.optimizer")
    assert config.optimizer.learning_rate == 0.1 and config.batch_size == PRESETS[name]["train"]["batch_size"]
    assert config.model.head_names == tuple(key for key in PRESETS[name]["model"] if key.startswith("head"))
    assert config.task.reverse_complement == PRESETS[name]["model"].get("augment_rc", False)
    assert run_name(f"configs/basenji.py:{path}") == "basenji_params"


def test_a_network_without_a_section_train_keeps_the_defaults():
    config = from_params({"model": BASSET["model"]})
    assert config.unit == "step" and config.task.shift == 3 and config.task.loss == "poisson"


def test_a_params_json_that_is_not_there_is_told():
    with pytest.raises(JaxepiError, match="Cannot read nowhere.json"):
        get_config("nowhere.json")
