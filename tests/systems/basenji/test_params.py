"""The translator from params.json, in every spelling that the original had."""

import json
import warnings

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.systems.basenji.model import BasenjiConfig
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import BASENJI2, BASSET
from jaxepi.systems.basenji.vocabulary import VOCABULARY, arguments, dilations, tower_filters


def old(**changes):
    """A params.json of 2019, as the published ones are."""
    model = {
        "seq_length": 1024,
        "target_length": 32,
        "batch_norm": True,
        "activation": "relu",
        "trunk": [{"name": "conv_block", "filters": 4, "pool_size": 2, "batch_norm": False}, {"name": "conv_block"}],
        "head10": {"name": "dense", "units": 3, "activation": "softplus"},
        "head2": [{"name": "dense", "units": 2}],
        **changes,
    }
    return {"train": {"batch_size": 4, "clipnorm": 2, "train_epochs": 5}, "model": model}


def test_old_spellings_and_the_order_of_heads(tmp_path):
    told = translate(old())
    config = BasenjiConfig(**told.model)
    assert config.head_names == ("head2", "head10") and [config.units(i) for i in range(2)] == [2, 3]
    assert config.norm_type == "batch" and config.bn_momentum == 0.99 and config.window == 1024
    first, second = (block.arguments for block in config.blocks())
    assert first["norm_type"] is None and second["norm_type"] == "batch"
    assert told.train == {"batch_size": 4, "clip_norm": 2}
    assert told.task == {"reverse_complement": False, "shift": 0}
    (tmp_path / "params.json").write_text(json.dumps(old()))
    assert translate(tmp_path / "params.json") == told == translate(str(tmp_path / "params.json"))
    assert translate(old()["model"]).model == told.model


def test_globals_reach_blocks_that_do_not_set_them():
    config = BasenjiConfig(**translate(old(l2_scale=1e-3, bn_momentum=0.9, kernel_initializer="lecun_normal")).model)
    first, _ = (block.arguments for block in config.blocks())
    assert (first["activation"], first["bn_momentum"], first["l2_scale"]) == ("relu", 0.9, 1e-3)
    (head,) = config.blocks(0)
    assert (head.arguments["activation"], head.arguments["kernel_initializer"]) == ("relu", "lecun_normal")
    (other,) = config.blocks(1)
    assert other.arguments["activation"] == "softplus"
    keras = arguments({"name": "Conv1D", "filters": 3, "kernel_size": 2}, {"activation": "relu", "norm_type": "batch"})
    assert keras["activation"] == "relu" and "norm_type" not in keras and keras["padding"] == "valid"
    falsy = arguments({"name": "conv_block"}, {"activation": "", "norm_type": "", "bn_momentum": 0.0})
    assert falsy == VOCABULARY["conv_block"]


def test_augmentation_and_strand_pairs():
    told = translate(BASSET)
    assert told.task == {"reverse_complement": True, "shift": 3} and told.train["loss"] == "bce"
    told = translate(old(augment_shift=[0], strand_pair=[[1, 0], []]))
    assert told.task["shift"] == 0 and told.strand_pairs == ((1, 0), ())


def test_dilations_and_filters_grow_as_the_original_rounds(golden):
    layers = golden("basenji", "layers.npz")
    for key, rate, repeat, rounded in (
        ("basenji2_1.5_11_round", 1.5, 11, True), ("akita1d_1.75_8", 1.75, 8, False),
        ("akita2d_1.75_6", 1.75, 6, False), ("2_7", 2, 7, False),
    ):  # fmt: skip
        made = dilations({"rate_mult": rate, "repeat": repeat, "round": rounded})
        np.testing.assert_array_equal(made, layers[f"out:dilations_{key}"])
    towers = [BasenjiConfig(**translate(preset).model).blocks()[1].arguments for preset in (BASENJI2, BASSET)]
    assert tower_filters(towers[0]) == [339, 399, 470, 554, 652, 768]
    assert tower_filters(towers[1]) == [288, 320, 368, 400, 464, 512]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activaton": "gelu"}, r"unknown entry 'activaton' \(did you mean 'activation'\?\)"),
        ({"activation": None, "trunk": []}, r"model.trunk is \[\], but a list of blocks"),
        ({"seq_length": "1024"}, "model.seq_length is '1024', but must be a whole number of at least 1"),
        ({"augment_shift": [3]}, r"augment_shift is \[3\], but must be a whole number of at least 0"),
        ({"strand_pair": [[0]]}, "a list of track numbers for each of the 2 heads"),
    ],
)
def test_what_cannot_be_right_is_told(changes, told):
    with pytest.raises(JaxepiError, match=told):
        translate(old(**changes))


def test_what_says_nothing_is_told_and_left_out():
    with pytest.warns(UserWarning, match="'my_remark', which says nothing about the network"):
        translate(old(my_remark=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translate(old())


def test_files_that_are_none(tmp_path):
    with pytest.raises(JaxepiError, match="Cannot read"):
        translate(tmp_path / "params.json")
    (tmp_path / "params.json").write_text("{")
    with pytest.raises(JaxepiError, match="is no JSON"):
        translate(tmp_path / "params.json")
    (tmp_path / "params.json").write_text("[]")
    with pytest.raises(JaxepiError, match="a JSON object was expected"):
        translate(tmp_path / "params.json")
    with pytest.raises(JaxepiError, match="has no section 'model' with a trunk"):
        translate({"train": {}})
    with pytest.raises(JaxepiError, match="lacks 'activation'"):
        translate({"seq_length": 8, "trunk": [{"name": "conv_block"}]})
    with pytest.raises(JaxepiError, match="a path of a params.json|the path of a params.json"):
        translate(3)
