"""Files of the original in and out: names and shapes, what `param` says, what is guessed, and what is refused."""

import json

import numpy as np
import pytest
import torch

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import original_shapes
from jaxepi.registry import get_system
from jaxepi.systems.epiformer.model import EpiformerConfig
from jaxepi.systems.epiformer.weights import ORIGINAL, SAID_OTHERWISE, table

NAMES = ["signal_model", "label_model"]


@pytest.mark.parametrize("name", ["train_signals_default", "wide_multi_output_of_the_notebooks"])
def test_full_size_networks_have_the_official_tensors(golden_path, name):
    """Names, their order, shapes and counts, on abstract shapes."""
    told = json.loads(golden_path("epiformer", "official_checkpoint.json").read_text())["models"][name]
    sizes = {ORIGINAL[field]: value for field, value in told["config"].items() if field in ORIGINAL}
    if name.startswith("wide"):
        sizes |= {"num_encoder_layers": 1}  # every layer is like the others, and tracing all of them takes long
        layers = tuple(f"trans.layers.{layer}." for layer in range(1, 11))
        told["weights"] = [weight for weight in told["weights"] if not weight["name"].startswith(layers)]
    config = EpiformerConfig(**sizes)
    shapes = original_shapes(get_system("epiformer").abstract(config), table(config))
    assert list(shapes) == [weight["name"] for weight in told["weights"]]
    assert list(shapes.values()) == [tuple(weight["shape"]) for weight in told["weights"]]
    if name == "train_signals_default":
        trained = [shape for tensor, shape in shapes.items() if "running" not in tensor and "batches" not in tensor]
        assert sum(int(np.prod(shape)) for shape in trained) == told["total_parameters"] == 54_819_693
        assert len(shapes) == 222 and config == EpiformerConfig()


@pytest.fixture(scope="module")
def predicted(golden_file):
    """predicted(name, source, **options): values (B, K, T) with and without conservation, beside the golden ones."""

    def check(name, source, conservation=True, **options):
        _, arrays = golden_file(name)
        predictor = jaxepi.load(source, **options)
        assert predictor.system.name == "epiformer"
        given = {"conservation": arrays["in:seqcons"][:, 0]} if conservation else {}
        made = predictor.predict(arrays["in:seq"].swapaxes(1, 2), **given).swapaxes(1, 2)
        expected = arrays["out:pred_cons" if conservation else "out:pred_nocons"]
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-5)
        return predictor

    return check


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_the_original_is_predicted_and_written_back(golden_file, predicted, tmp_path, name):
    """.pth.tar with an optimizer beside, wrapped names and double precision; out again with the same bits."""
    content, _ = golden_file(name)
    tensors = {
        f"module.{key}": torch.from_numpy(np.array(array)).to(torch.float64 if array.ndim else torch.int64)
        for key, array in content["state_dict"].items()
    }
    path, out = tmp_path / "best_corr.pth.tar", tmp_path / "again.pth.tar"
    beside = {"optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]}}
    torch.save({"state_dict": tensors, "param": content["param"], "current_model_loss": 0.3, **beside}, path)
    predictor = predicted(name, path)
    assert predictor.model.config.kind == name.partition("_")[0]
    assert predictor.window == content["param"]["seq_len"] and predictor.grid.bin == content["param"]["bin_size"]
    predicted(name, path, conservation=False)
    jaxepi.export(predictor.model, out, tracks=predictor.tracks)
    written = torch.load(out, weights_only=True)
    assert list(written["state_dict"]) == list(content["state_dict"])
    for key, array in content["state_dict"].items():
        back = written["state_dict"][key].numpy()
        assert back.shape == array.shape and back.dtype == array.dtype
        if "batches" not in key:
            np.testing.assert_array_equal(back, array, err_msg=key)
    assert written["param"] == content["param"]
    again = jaxepi.load(out)
    assert again.model.config == predictor.model.config and again.digest() == predictor.digest()


def test_sizes_without_param_are_derived_or_arguments(golden_file, predicted):
    """Heads come from the distances; the original's names of sizes are understood; a small network is not cropped."""
    content, _ = golden_file("label_model")
    bare = {f"module.{key}": array for key, array in content["state_dict"].items()}
    with pytest.warns(UserWarning, match=r"windows of 2048 bp were given to a model of 6144 bp: it predicts 12 bins"):
        predicted("signal_model", golden_file("signal_model")[0]["state_dict"], crop_size=2)
    predictor = predicted("label_model", bare, kind="label", crop_size=3)
    assert predictor.model.config.num_heads == 4
    asked = {name: value for name, value in content["param"].items()}
    assert predicted("label_model", bare, **asked).model.config == jaxepi.from_pretrained(content).config
    assert jaxepi.from_pretrained(bare).config.crop_size == 0 and jaxepi.from_pretrained(bare).config.kind == "signal"
    older = {"state_dict": content["state_dict"], "param": content["param"] | {"seq_len": 1024}}
    del older["param"]["crop_size"]
    assert jaxepi.from_pretrained(older).config.crop_size == 0
    assert set(SAID_OTHERWISE) | set(ORIGINAL) >= set(content["param"])


def test_a_network_without_distances_is_recognised(golden_file):
    content, _ = golden_file("label_model")
    kept = {key: array for key, array in content["state_dict"].items() if "distance" not in key}
    config = jaxepi.from_pretrained("epiformer", {"state_dict": kept, "param": content["param"]}).config
    assert config.position_attention == "none" and config.num_heads == 4
    assert jaxepi.from_pretrained("epiformer", content, position_attention="relative_key_query")


def test_what_does_not_fit_is_told(golden_file):
    content, _ = golden_file("label_model")
    weights, param = content["state_dict"], content["param"]
    for changed, told in (
        ({"state_dict": weights, "param": param | {"embed_size": 48}}, "says in its param that embed_size is 48"),
        ({key: a for key, a in weights.items() if key != "ptw.linear.0.bias"}, "missing 1: ptw.linear.0.bias"),
        (weights | {"ptw.extra.weight": np.zeros(3)}, "unexpected 1: ptw.extra.weight"),
        (weights | {"conv.stem.0.bias": np.zeros(3)}, r"conv.stem.0.bias is \(3,\) where \(16,\) was expected"),
        (weights | {"ptw.conv.0.bias": np.full(32, np.nan)}, "holds NaN or infinity"),
    ):
        with pytest.raises(JaxepiError, match=told):
            jaxepi.from_pretrained("epiformer", changed)
    with pytest.raises(JaxepiError, match="holds a model with num_heads 4, but num_heads=8 was asked for"):
        jaxepi.from_pretrained("epiformer", content, num_heads=8)
    with pytest.raises(JaxepiError, match=r"Unknown size 'heads'"):
        jaxepi.from_pretrained("epiformer", content, heads=8)
