import collections
import datetime
import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import original_shapes
from jaxepi.released import load_released
from jaxepi.systems.melody import SYSTEM
from jaxepi.systems.melody.model import Melody, MelodyConfig
from jaxepi.systems.melody.weights import ATLAS_TRACKS

OFFICIAL = json.loads((Path(__file__).parents[2] / "golden" / "melody" / "official_checkpoint.json").read_text())


@pytest.mark.parametrize(("name", "tracks"), [("melody_st", 1), ("melody_mt39", 39)])
def test_names_order_and_shapes_are_the_official_ones(name, tracks):
    config = MelodyConfig(tracks=tracks)
    official = OFFICIAL["models"][name]["tensors"]
    shapes = original_shapes(SYSTEM.abstract(config), SYSTEM.weights.table(config))
    assert list(shapes.items()) == [(tensor, tuple(shape)) for tensor, shape in official.items()]
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == OFFICIAL["models"][name]["n_params"]


def test_order_is_that_of_the_weight_formula(golden):
    names = golden("melody", "melody_mt39_fullsize_formula.npz")["param_check:names"]
    assert [line.original for line in SYSTEM.weights.table(MelodyConfig())] == names.tolist()


@pytest.mark.parametrize("file", ["melody_mt_w16.npz", "melody_st_w8_L10000.npz"])
def test_the_imported_model_computes_what_the_original_does(golden, file):
    arrays = golden("melody", file)
    weights = {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}
    run = nnx.jit(jaxepi.from_pretrained("melody", weights))
    out = run(arrays["in:x"].astype(np.float32).transpose(0, 2, 1))
    for name in ("logits", "cg_count", "methy_avg"):
        expected = arrays[f"out:{name}"].transpose(0, 2, 1)
        np.testing.assert_allclose(getattr(out, name), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("bare", [True, False])
def test_original_file_to_ours_and_back_is_bit_equal(tmp_path, mt_weights, prefix, bare):
    torch = pytest.importorskip("torch")
    state = collections.OrderedDict((prefix + name, torch.from_numpy(array)) for name, array in mt_weights.items())
    checkpoint = {
        "step": "best",
        "model_state_dict": state,
        "rng_state": torch.get_rng_state(),
        "loss_history": [np.asarray(np.float32(0.5)), np.float32(0.25)],
        "current_time": datetime.datetime.now().isoformat(),
        "start_time": datetime.datetime.now(),
        "next_checkpoint_time": datetime.datetime.now() + datetime.timedelta(minutes=180),
    }
    torch.save(state if bare else checkpoint, tmp_path / "original.pth")
    model = jaxepi.from_pretrained("melody", tmp_path / "original.pth")
    assert (model.config.width, model.config.tracks, model.config.count_classes) == (16, 3, 7)
    jaxepi.export(model, tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model_state_dict"]
    assert list(back) == list(mt_weights)
    for name, array in mt_weights.items():
        assert back[name].dtype == torch.float32
        assert back[name].numpy().tobytes() == array.tobytes(), name


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_other_formats_round_trip_bit_equal_and_keep_track_names(tmp_path, mt_weights, suffix):
    model = jaxepi.from_pretrained("melody", mt_weights)
    path = tmp_path / f"weights{suffix}"
    jaxepi.export(model, path, tracks=["a", "b", "c"])
    again, system, content = load_released(path)
    assert system is SYSTEM and content.tracks == ("a", "b", "c")
    assert all(content.arrays[name].tobytes() == array.tobytes() for name, array in mt_weights.items())
    np.testing.assert_array_equal(again.encoder[1].conv.kernel[...], model.encoder[1].conv.kernel[...])


def test_missing_extra_and_misshapen_tensors_are_each_named(mt_weights):
    missing = {name: array for name, array in mt_weights.items() if name != "upblocks.3.1.conv.3.weight"}
    with pytest.raises(JaxepiError, match=r"missing 1: upblocks\.3\.1\.conv\.3\.weight\."):
        jaxepi.from_pretrained("melody", missing)
    with pytest.raises(JaxepiError, match=r"unexpected 1: final\.9\.bias\."):
        jaxepi.from_pretrained("melody", {**mt_weights, "final.9.bias": np.zeros(3, np.float32)})
    with pytest.raises(JaxepiError, match=r"misshapen 1: uplblocks\.0\.0\.weight is \(17, 4, 17\) where \(16, 4, 17\)"):
        jaxepi.from_pretrained("melody", {**mt_weights, "uplblocks.0.0.weight": np.zeros((17, 4, 17), np.float32)})


def test_sizes_are_read_and_contradictions_refused(mt_weights):
    assert jaxepi.from_pretrained("melody", mt_weights, width=16, dtype="bfloat16").config.dtype == "bfloat16"
    with pytest.raises(JaxepiError, match="width 16, but width=32"):
        jaxepi.from_pretrained("melody", mt_weights, width=32)
    with pytest.raises(JaxepiError, match=r"Unknown size 'track' of melody \(did you mean 'tracks'\?\)"):
        jaxepi.from_pretrained("melody", mt_weights, track=3)
    with pytest.raises(JaxepiError, match=r"Unknown system 'melodi' \(did you mean 'melody'\?\)"):
        jaxepi.from_pretrained("melodi", mt_weights)


def test_a_melody_g_file_is_told_from_a_damaged_one(mt_weights):
    with pytest.raises(JaxepiError, match="is a Melody-G checkpoint"):
        jaxepi.from_pretrained("melody", {"cell_mod.mlp.0.weight": np.zeros((512, 512)), **mt_weights})


def test_files_of_unknown_systems_and_foreign_models(tmp_path):
    np.savez(tmp_path / "other.npz", **{"some_layer.weight": np.zeros(3)})
    with pytest.raises(JaxepiError, match=r"other\.npz holds no weights of .*melody.* \(it has some_layer\.weight\)"):
        load_released(tmp_path / "other.npz")
    with pytest.raises(JaxepiError, match="Linear has no original layout"):
        jaxepi.export(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), tmp_path / "x.npz")


def test_the_published_tracks():
    assert len(set(ATLAS_TRACKS)) == 39
    assert (ATLAS_TRACKS[0], ATLAS_TRACKS[11], ATLAS_TRACKS[26]) == ("Adipocytes", "Cortex-Neuron", "Blood-B")


def test_only_the_layout_of_the_released_file_gives_the_published_names(tmp_path):
    torch = pytest.importorskip("torch")
    model = Melody(MelodyConfig(width=4, tracks=39), rngs=nnx.Rngs(0))
    jaxepi.export(model, tmp_path / "own.pth")
    state = torch.load(tmp_path / "own.pth", weights_only=True)["model_state_dict"]
    unnamed = [f"track_{k}" for k in range(39)]
    assert jaxepi.load(tmp_path / "own.pth").tracks == unnamed
    assert jaxepi.load(state).tracks == unnamed
    released = {"step": "best", "model_state_dict": state, "loss_history": [], "current_time": "2025-01-01"}
    torch.save(released, tmp_path / "released.pth")
    assert jaxepi.load(tmp_path / "released.pth").tracks == list(ATLAS_TRACKS)
    torch.save({**released, "tracks": unnamed[::-1]}, tmp_path / "named.pth")
    assert jaxepi.load(tmp_path / "named.pth").tracks == unnamed[::-1]


def test_names_of_tracks_are_counted_before_anything_is_written(tmp_path, mt_weights):
    model = jaxepi.from_pretrained("melody", mt_weights)
    for tracks in (["a"], "abc"):
        with pytest.raises(JaxepiError, match="tracks has 1 names, but the model predicts 3 tracks"):
            jaxepi.export(model, tmp_path / "w.npz", tracks=tracks)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["model.", "net.", "module.model."])
def test_prefixes_and_wrappers_of_other_programs(mt_weights, prefix):
    prefixed = {prefix + name: array for name, array in mt_weights.items()}
    for source in (prefixed, {"model": prefixed, "epoch": 3}):
        assert jaxepi.from_pretrained(source).config.width == 16
