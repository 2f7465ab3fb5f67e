"""Released heads in and out: recognised by their tensors, strict, bit-equal."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.released import load_released
from jaxepi.systems.cs282a import SYSTEM
from jaxepi.systems.cs282a.model import HEADS
from jaxepi.systems.cs282a.tracks import TRACKS

OFFICIAL = json.loads((Path(__file__).parents[2] / "golden/cs282a/official_checkpoint.json").read_text())["checkpoints"]
SMALL = {1536: 24, 500: 10, 448000: 60, 4608: 72, 3072: 48, 18: 3, 1: 1}  # official size -> reduced one, of 6 bins


@pytest.fixture(scope="module")
def states():
    """Head -> a reduced state dict with its names."""
    random, names = np.random.default_rng(0), dict(zip(HEADS, OFFICIAL, strict=True))
    return {
        head: {
            tensor: random.normal(size=[SMALL[size] for size in told["shape"]]).astype(np.float32)
            for tensor, told in OFFICIAL[names[head]]["weights"].items()
        }
        for head in HEADS
    }


@pytest.mark.parametrize("head", HEADS)
def test_original_file_to_ours_and_back_is_bit_equal(tmp_path, states, head):
    torch = pytest.importorskip("torch")
    state = states[head]
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "original.pth")
    predictor = jaxepi.load(tmp_path / "original.pth")
    assert predictor.system is SYSTEM and predictor.model.config.head == head and predictor.window is None
    jaxepi.export(predictor.model, tmp_path / "back.pth", tracks=["a", "b", "c"])
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert list(back) == list(state)
    assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in state.items())
    again = jaxepi.load(tmp_path / "back.pth")
    assert again.tracks == ["a", "b", "c"] and again.model.config == predictor.model.config
    x = np.random.default_rng(1).normal(size=(2, 6, 24)).astype(np.float16)
    values = again.predict(x)
    assert values.shape == (2, 6 if head == "linear" else 1, 3)
    np.testing.assert_array_equal(values, predictor.predict(x))


def test_a_conv_head_reads_channel_after_channel(states):
    state = dict(states["conv"])
    hidden, bin_number = 4, 2
    one = np.zeros_like(state["layers.fc1.weight"])
    one[:, hidden * 6 + bin_number] = 1.0
    state |= {"layers.fc1.weight": one, "layers.fc1.bias": np.zeros(3, np.float32)}
    model = jaxepi.from_pretrained("cs282a", state)
    out = model(np.random.default_rng(1).normal(size=(2, 6, 24)).astype(np.float32))
    expected = out.intermediates["gelu"][:, bin_number, hidden]
    np.testing.assert_allclose(out.values[:, 0, 0], expected, rtol=1e-6)


def test_what_the_tensors_of_a_transformer_do_not_tell(tmp_path, states):
    model, _, _ = load_released(states["transformer"], heads=4, attention_axis="sequence")
    assert (model.config.heads, model.config.attention_axis, model.config.expansion) == (4, "sequence", 2)
    for ending in (".npz", ".safetensors"):
        jaxepi.export(model, tmp_path / f"out{ending}")
        assert load_released(tmp_path / f"out{ending}")[0].config == model.config
    assert load_released(states["transformer"])[0].config.attention_axis == "batch"  # as the original's


def test_published_heads_and_their_tracks():
    known = jaxepi.list_pretrained("cs282a")
    assert [one.parameters for one in known] == [told["total_parameters"] for told in OFFICIAL.values()]
    assert all(one.tracks == TRACKS and one.window is None for one in known) and len(set(TRACKS)) == 18
    assert "reads no sequence" in str(known[0]) and known[3].sizes["attention_axis"] == "batch"
    wide = {"conv_layer.weight": np.ones((18, 1536, 1), np.float32), "conv_layer.bias": np.zeros(18, np.float32)}
    assert tuple(jaxepi.load(wide).tracks) == TRACKS
    assert jaxepi.load({**wide, "conv_layer.weight": np.ones((18, 24, 1))}).tracks[0] == "track_0"


def test_what_does_not_fit_is_told(states):
    probe, conv = states["linear"], states["conv"]
    with pytest.raises(JaxepiError, match=r"do not fit the model: missing 1: conv_layer.bias"):
        jaxepi.load({"conv_layer.weight": probe["conv_layer.weight"]})
    with pytest.raises(JaxepiError, match=r"misshapen 1: conv_layer.weight is \(3, 24, 2\) where \(3, 24, 1\)"):
        jaxepi.load({**probe, "conv_layer.weight": np.ones((3, 24, 2), np.float32)})
    with pytest.raises(JaxepiError, match="reads 61 values, which are no whole number of bins of the 10 channels"):
        jaxepi.load({**conv, "layers.fc1.weight": np.ones((3, 61), np.float32)})
    with pytest.raises(JaxepiError, match="holds a model with head linear, but head=conv was asked for"):
        jaxepi.load(probe, head="conv")
    with pytest.raises(JaxepiError, match="unexpected 1: more"):
        jaxepi.load({**probe, "more": np.ones(3)})


def test_embeddings_in_every_form(states):
    predictor = jaxepi.load(states["linear"])
    x = np.random.default_rng(1).normal(size=(2, 4, 24)).astype(np.float16)
    expected = predictor.predict(x)
    for form in (x.astype(np.float32), x.astype(np.float64), {"embedding": x}, x.tolist()):
        np.testing.assert_allclose(predictor.predict(form), expected, rtol=1e-6)
    np.testing.assert_allclose(predictor.predict(x[1])[0], expected[1], rtol=1e-6)
    import ml_dtypes

    np.testing.assert_allclose(predictor.predict(x.astype(ml_dtypes.bfloat16)), expected, rtol=0.1, atol=0.2)
    np.testing.assert_array_equal(predictor.features(x), x)
    assert predictor.predict([]).shape[0] == 0
    for wrong, told in (
        (x.swapaxes(1, 2), r"has its channels before its bins.*np.swapaxes\(x, 1, 2\)"),
        (x[..., :9], "9 channels, but this head was made for 24: they come from another trunk"),
        (np.where(x > 1, np.nan, x), "hold NaN or infinity"),
        (x.astype(int), r"embeddings \(B, T, 24\) of a float type were expected"),
        (["ACGT"], r"embeddings \(B, T, 24\) of a float type"),
        ([x[0], x[0, :3]], "all windows must have as many bins"),
    ):
        with pytest.raises(JaxepiError, match=told):
            predictor.predict(wrong)
    with pytest.raises(JaxepiError, match="made for 6 bins, but the embeddings have 4"):
        jaxepi.load(states["conv"]).predict(x)
