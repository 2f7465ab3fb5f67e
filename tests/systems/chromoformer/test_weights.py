import collections
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import original_shapes, weights_digest
from jaxepi.released import load_released
from jaxepi.systems.chromoformer import SYSTEM
from jaxepi.systems.chromoformer.model import INPUTS, ChromoformerConfig
from jaxepi.systems.chromoformer.weights import current_name

OFFICIAL = json.loads((Path(__file__).parents[2] / "golden" / "chromoformer" / "official_checkpoint.json").read_text())


@pytest.fixture
def weights(golden):
    """Original name -> array of the small golden classifier, in the original order."""
    file = golden("chromoformer", "model_clf.npz")
    return {key[6:]: file[key] for key in file.files if key.startswith("param:")}


@pytest.mark.parametrize(("kind", "outputs"), [("classifier", 2), ("regressor", 1)])
def test_names_order_and_shapes_are_the_official_ones(kind, outputs):
    config = ChromoformerConfig(outputs=outputs)
    official = OFFICIAL["models"][kind]
    shapes = original_shapes(SYSTEM.abstract(config), SYSTEM.weights.table(config))
    assert list(shapes.items()) == [(w["name"], tuple(w["shape"])) for w in official["weights"]]
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == official["total_parameters"]


def test_every_size_is_read_from_the_tensors(weights):
    assert jaxepi.from_pretrained("chromoformer", weights).config == ChromoformerConfig(
        marks=7, width=24, embedding_hidden=20, pairwise_heads=3, pairwise_hidden=28, regulation_layers=3,
        regulation_heads=4, regulation_inner=40, regulation_hidden=18, head_width=10,
    )  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module."])
def test_original_file_to_ours_and_back_is_bit_equal(tmp_path, weights, prefix):
    torch = pytest.importorskip("torch")
    state = collections.OrderedDict((prefix + name, torch.from_numpy(array)) for name, array in weights.items())
    saved = {
        "net": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 3e-5, "params": [0]}]},
        "epoch": 9,
        "last_val_loss": torch.tensor(0.3),
        "last_val_auc": 93.2,
        "val_score": np.random.default_rng(0).random(5, np.float32),
        "val_label": np.arange(5),
    }
    assert set(saved) == set(OFFICIAL["file_structure"]["keys_classifier"])
    torch.save(saved, tmp_path / "original.pt")
    jaxepi.export(jaxepi.from_pretrained("chromoformer", tmp_path / "original.pt"), tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)["net"]
    assert list(back) == list(weights)
    for name, array in weights.items():
        assert back[name].dtype == torch.float32
        assert back[name].numpy().tobytes() == array.tobytes(), name


def test_a_state_dict_is_recognised_in_any_format(tmp_path, weights):
    np.savez(tmp_path / "weights.npz", **weights)
    model, system, _ = load_released(tmp_path / "weights.npz")
    assert system is SYSTEM
    np.testing.assert_array_equal(model.head_out.kernel[...], weights["fc_head.2.weight"].T)


@pytest.mark.parametrize(("file", "expected"), [("model_clf.npz", "prob_softmax"), ("model_reg.npz", "output")])
def test_released_weights_predict_genes(golden, file, expected):
    """Inputs of the original's own reader through `jaxepi.load` give the original's predictions."""
    arrays = golden("chromoformer", file)
    predictor = jaxepi.load({key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")})
    inputs = {name: {size: arrays[f"in:{name}/{size}"] for size in (2000, 500, 100)} for name in INPUTS[:5]}
    values = predictor.predict(inputs | {"interaction_freq": arrays["in:interaction_freq"]}, batch_size=2)
    np.testing.assert_allclose(values[:, 0, 0], arrays[f"out:{expected}"].ravel(), rtol=1e-4, atol=2e-5)


def test_names_of_older_versions(weights):
    """The flat class of the package, and checkpoints before it; the table is that of official_checkpoint.json."""
    flat = {"embed.": "embed", "pairwise_interaction.": "pw_int", "regulation.": "reg"}
    oldest = {"embed.": ("embed", "_a"), "pairwise_interaction.": ("embed", "_b")}

    def to_flat(name):
        kind = next((kind for kind in flat if name.startswith(kind)), None)
        return name if kind is None else flat[kind] + name.removeprefix(kind)

    def to_oldest(name):
        for kind, (word, ending) in oldest.items():
            if name.startswith(kind):
                size, rest = name.removeprefix(kind).split(".", 1)
                return f"{word}{size}{ending}.{rest}".replace("lin_proj_pcre", "lin_proj_c")
        return name.replace("regulation.", "transformer").replace(".transformer.", ".", 1)

    reference = jaxepi.from_pretrained("chromoformer", weights)
    for rename in (to_flat, to_oldest):
        renamed = {rename(name): array for name, array in weights.items()}
        assert sum(a != b for a, b in zip(renamed, weights, strict=True)) == len(weights) - 4
        assert [current_name(name) for name in renamed] == list(weights)
        model = jaxepi.from_pretrained("chromoformer", renamed)
        for ours, theirs in zip(
            nnx.to_flat_state(nnx.state(model)), nnx.to_flat_state(nnx.state(reference)), strict=True
        ):
            np.testing.assert_array_equal(ours[1][...], theirs[1][...])


def test_missing_extra_misshapen_and_double_tensors_are_each_named(weights):
    name = "pairwise_interaction.500.transformer.layers.1.self_att.c_att.weight"
    with pytest.raises(JaxepiError, match=rf"missing 1: {name}"):
        jaxepi.from_pretrained("chromoformer", {key: value for key, value in weights.items() if key != name})
    with pytest.raises(JaxepiError, match=r"unexpected 1: fc_head\.4\.weight"):
        jaxepi.from_pretrained("chromoformer", {**weights, "fc_head.4.weight": np.zeros((1, 2), np.float32)})
    with pytest.raises(JaxepiError, match=r"misshapen 1: embed\.500\.lin_proj\.weight is \(24, 6\) where \(24, 7\)"):
        jaxepi.from_pretrained("chromoformer", {**weights, "embed.500.lin_proj.weight": np.zeros((24, 6), np.float32)})
    with pytest.raises(JaxepiError, match=r"holds embed\.500\.lin_proj\.weight twice"):
        jaxepi.from_pretrained("chromoformer", {**weights, "embed500.lin_proj.weight": np.zeros((24, 7), np.float32)})
    with pytest.raises(JaxepiError, match="width 24, but width=32"):
        jaxepi.from_pretrained("chromoformer", weights, width=32)


def test_it_computes_what_the_package_does(weights):
    """Both classes of the package, where it is installed (it is no dependency: its licence is the GPL)."""
    torch = pytest.importorskip("torch")
    net = pytest.importorskip("chromoformer.net") if importlib.util.find_spec("chromoformer") else None
    if net is None:
        pytest.skip("the package chromoformer is not installed")
    sizes = {"n_layers": 1, "n_heads": 2, "d_model": 16, "d_ff": 8}
    package = net.ChromoformerRegressor(
        n_feats=3, d_emb=16, d_head=8, embed_kws=dict(sizes), pairwise_interaction_kws=dict(sizes),
        regulation_kws=dict(sizes), binsizes=[400, 200, 100],
    )  # fmt: skip
    arrays = {name: value.detach().numpy() for name, value in package.state_dict().items()}
    random = np.random.default_rng(0)
    inputs = {"interaction_freq": random.random((2, 4, 4), np.float32)}
    for name in ("promoter_feats", "promoter_pad_masks", "pcre_feats", "pcre_pad_masks", "interaction_masks"):
        inputs[name] = {}
    for size in (400, 200, 100):
        nb = 2000 // size
        inputs["promoter_feats"][size] = random.random((2, 1, nb, 3), np.float32)
        inputs["promoter_pad_masks"][size] = np.zeros((2, 1, 1, nb, nb), bool)
        inputs["pcre_feats"][size] = random.random((2, 3, nb, 3), np.float32)
        inputs["pcre_pad_masks"][size] = np.zeros((2, 3, 1, nb, nb), bool)
        inputs["pcre_pad_masks"][size][..., :1] = True
        inputs["interaction_masks"][size] = np.zeros((2, 1, 4, 4), bool)
    before, torch.Tensor.cuda = torch.Tensor.cuda, lambda tensor: tensor  # it asks for a GPU even on the CPU
    try:
        names = ("promoter_feats", "promoter_pad_masks", "pcre_feats", "pcre_pad_masks", "interaction_masks")
        tensors = [{size: torch.from_numpy(array) for size, array in inputs[name].items()} for name in names]
        expected = package(*tensors, torch.from_numpy(inputs["interaction_freq"])).detach().numpy()
    finally:
        torch.Tensor.cuda = before
    values = nnx.jit(jaxepi.from_pretrained("chromoformer", arrays))(inputs).values
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=2e-6)


SIZES = (2000, 500, 100)


def shuffled(weights, seed=0):
    names = list(weights)
    np.random.default_rng(seed).shuffle(names)
    return {name: weights[name] for name in names}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_bin_sizes_does_not_depend_on_that_of_an_unordered_source(tmp_path, weights, seed):
    safetensors = pytest.importorskip("safetensors.numpy")
    mapping = shuffled(weights, seed)
    assert jaxepi.from_pretrained("chromoformer", mapping).config.bin_sizes == SIZES
    safetensors.save_file(mapping, tmp_path / "foreign.safetensors")
    assert jaxepi.from_pretrained("chromoformer", tmp_path / "foreign.safetensors").config.bin_sizes == SIZES


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_an_unusual_order_of_bin_sizes_goes_out_and_comes_back(tmp_path, weights, suffix):
    pytest.importorskip({".pt": "torch", ".safetensors": "safetensors"}.get(suffix, "numpy"))
    order = (100, 2000, 500)
    model = jaxepi.from_pretrained("chromoformer", weights, bin_sizes=order, empty_rows="uniform")
    assert model.config.bin_sizes == order  # a permutation of what the file tells wins
    jaxepi.export(model, tmp_path / f"out{suffix}")
    back, _, content = load_released(tmp_path / f"out{suffix}")
    assert back.config == model.config and content.sizes["bin_sizes"] == order
    assert weights_digest(back) == weights_digest(model)
    again = jaxepi.from_pretrained("chromoformer", tmp_path / f"out{suffix}", bin_sizes=SIZES, empty_rows="zero")
    assert (again.config.bin_sizes, again.config.empty_rows) == (SIZES, "zero")
    with pytest.raises(JaxepiError, match="but bin_sizes=.* was asked for"):
        jaxepi.from_pretrained("chromoformer", tmp_path / f"out{suffix}", bin_sizes=(2000, 500))


def test_a_file_with_an_order_of_its_own_keeps_it(tmp_path, weights):
    order = ("100", "2000", "500")
    first = sorted(weights, key=lambda name: order.index(name.split(".")[1]) if name.startswith("embed.") else 3)
    np.savez(tmp_path / "w.npz", **{name: weights[name] for name in first})
    assert jaxepi.from_pretrained("chromoformer", tmp_path / "w.npz").config.bin_sizes == (100, 2000, 500)
    ordered = collections.OrderedDict((name, weights[name]) for name in first)
    assert jaxepi.from_pretrained("chromoformer", ordered).config.bin_sizes == (100, 2000, 500)


def test_what_a_file_says_beside_its_tensors_may_not_contradict_them(tmp_path, weights):
    np.savez(tmp_path / "w.npz", **weights, sizes=json.dumps({"bin_sizes": [2000, 500]}))
    with pytest.raises(JaxepiError, match=r"w\.npz says that its model has bin_sizes \(2000, 500\), but its tensors"):
        jaxepi.from_pretrained("chromoformer", tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz", **weights, sizes="[1")
    with pytest.raises(JaxepiError, match=r"w\.npz has an entry 'tracks' or 'sizes' that no export"):
        jaxepi.from_pretrained("chromoformer", tmp_path / "w.npz")


def test_the_number_of_names_of_tracks_is_that_of_the_model(tmp_path, weights):
    model = jaxepi.from_pretrained("chromoformer", weights)
    with pytest.raises(JaxepiError, match="tracks has 2 names, but the model predicts 1 tracks"):
        jaxepi.export(model, tmp_path / "w.npz", tracks=["a", "b"])
    jaxepi.export(model, tmp_path / "w.npz", tracks=["liver"])
    assert jaxepi.load(tmp_path / "w.npz").tracks == ["liver"] and not (tmp_path / "x.npz").exists()
