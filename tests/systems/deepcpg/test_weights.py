import json

import jax
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import original_shapes, weights_of
from jaxepi.released import load_released
from jaxepi.sequence import one_hot
from jaxepi.systems.deepcpg import SYSTEM
from jaxepi.systems.deepcpg.keras_file import Description
from jaxepi.systems.deepcpg.model import DeepCpGConfig
from jaxepi.systems.deepcpg.weight_names import canonical
from jaxepi.systems.deepcpg.weights import RELEASED

ACGT_OF_ATGC = [0, 3, 2, 1]
SMALL = {"network": "JointL1h512_CnnL1h128_RnnL1", "hidden": 4, "window": 41, "neighbours": 4}


def small_model(**sizes):
    """Random weights, without compiling an initialiser for each shape."""
    return random_model(DeepCpGConfig(**{**SMALL, "joint_hidden": 8, "outputs": ("cpg/b", "cpg/a.1"), **sizes}))


def random_model(config):
    model, random = SYSTEM.abstract(config), np.random.default_rng(0)
    fresh = jax.tree.map(
        lambda leaf: random.random(leaf.shape, np.float32), nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    )
    nnx.update(model, fresh)
    return model


def run(model, *given):
    return nnx.jit(lambda model, *given: model(*given))(model, *given)


def same_weights(one, other):
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    return all(np.array_equal(a[key].get_value(), b[key].get_value()) for key in a)


def golden_weights(arrays):
    return {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}


@pytest.mark.parametrize(
    ("layout", "part"),
    [("keras1_zoo_layout", part) for part in ("dna", "cpg", "joint")]
    + [("keras2_layout", part) for part in ("cpg", "joint")],
)
def test_original_files_predict_what_the_original_does(golden, golden_path, layout, part):
    expected = golden("deepcpg", f"{layout}/expected.npz")
    model = jaxepi.from_pretrained("deepcpg", golden_path("deepcpg", f"{layout}/{part}"))
    given = [] if part == "cpg" else [expected["in:dna"][..., ACGT_OF_ATGC]]
    given += [] if part == "dna" else [expected["in:cpg/state"], expected["in:cpg/dist"]]
    out = run(model, *(np.asarray(array, np.float32) for array in given))
    outputs = [key.removeprefix(f"out:{part}:") for key in expected.files if key.startswith(f"out:{part}:")]
    assert sorted(model.config.outputs) == sorted(outputs)
    for output in outputs:
        np.testing.assert_allclose(out.heads[output], expected[f"out:{part}:{output}"][:, 0], rtol=0, atol=2e-5)


def test_the_description_tells_what_tensors_do_not(golden_path):
    dna = jaxepi.from_pretrained("deepcpg", golden_path("deepcpg", "keras1_zoo_layout/dna")).config
    assert (dna.network, dna.window, dna.hidden, dna.dna_dropout, dna.l1) == ("CnnL2h128", 51, 16, 0.4, 0.0)
    joint = jaxepi.from_pretrained("deepcpg", golden_path("deepcpg", "keras2_layout/joint")).config
    assert (joint.network, joint.neighbours, joint.l2) == ("JointL1h512_CnnL2h128_FcAvg", 10, 1e-4)
    assert joint.outputs == ("cpg/cellA", "cpg/cellB", "cpg/cellC", "cpg/cellD")


def test_a_mapping_and_a_file_without_description_do_as_well(golden_path, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = golden_path("deepcpg", "keras2_layout/joint") / "model_weights_val.h5"
    whole = jaxepi.from_pretrained("deepcpg", path)
    with h5py.File(path) as old, h5py.File(tmp_path / "bare.h5", "w") as new:
        for key in old["model_weights"]:
            old.copy(f"model_weights/{key}", new)
        new.attrs["layer_names"] = old["model_weights"].attrs["layer_names"]
    bare = jaxepi.from_pretrained("deepcpg", tmp_path / "bare.h5", network="jointl1h512", window=41)
    assert same_weights(whole, bare)
    arrays = {}
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda name, item: arrays.update({f"model_weights/{name}": item[()]}) if hasattr(item, "shape") else None
        )
    arrays["optimizer_weights/Adam/iterations:0"] = np.zeros(())
    mapped = jaxepi.from_pretrained("deepcpg", arrays, window=41)
    assert same_weights(whole, mapped)


STUDIES = ["Smallwood2014_serum", "Smallwood2014_2i", "Hou2016_HCC", "Hou2016_HepG2", "Hou2016_mESC"]


def of_shapes(shapes):
    return {key: np.broadcast_to(np.float32(0.5), shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def official(golden_path):
    """What is published of the released models."""
    return json.loads(golden_path("deepcpg", "official_checkpoint.json").read_text())


def multimolecule_name(study):
    return f"deepcpgdna-{study.lower().replace('_', '-')}"


def check_released(told, model, absent=0):
    """Number of parameters, and that names and shapes that go out are those that came in (Keras 1 as Keras 2)."""
    assert model.config.network == told["arch"]
    assert sum(w.get_value().size for w in weights_of(model).values()) == told["n_params"] - absent
    came = canonical(of_shapes(told["weights"]), model.config.outputs, {})
    assert original_shapes(model, SYSTEM.weights.table(model.config)) == {
        name: array.shape for name, array in came.items()
    }


def test_these_are_all_released_models(official):
    assert sorted(official["dna"]) == sorted(f"{study}_dna" for study in STUDIES)
    assert sorted(official["multimolecule"]) == sorted(map(multimolecule_name, STUDIES))
    assert {"cpg_expected", "joint_expected"} == {kind for kind in official if kind.endswith("_expected")}


@pytest.mark.parametrize("study", STUDIES)
def test_released_dna_models(official, study):
    told = official["dna"][f"{study}_dna"]
    model = jaxepi.from_pretrained("deepcpg", of_shapes(told["weights"]), network=told["arch"])
    check_released(told, model)
    assert model.config.window == told["dna_wlen"]
    assert list(model.config.outputs) == [f"cpg/{cell}" for cell in told["cells"]]
    assert RELEASED[told["arch"], len(told["cells"])] == model.config.outputs


@pytest.mark.parametrize("study", STUDIES)
def test_released_multimolecule_models(official, study):
    told = official["multimolecule"][multimolecule_name(study)]
    model = jaxepi.from_pretrained("deepcpg", of_shapes(told["weights"]))
    check_released(told, model, absent=11 * 128)  # of the channel N
    cells = official["dna"][f"{study}_dna"]["cells"]
    assert list(model.config.outputs) == [f"cpg/{cell}" for cell in cells] and model.config.window == 1001


@pytest.mark.parametrize("kind", ["cpg_expected", "joint_expected"])
def test_released_cpg_and_joint_models(official, kind):
    model = jaxepi.from_pretrained("deepcpg", of_shapes(official[kind]["weights"]))
    check_released(official[kind], model)
    cells = official["dna"]["Smallwood2014_serum_dna"]["cells"]
    assert list(model.config.outputs) == [f"cpg/{cell}" for cell in cells] and model.config.neighbours == 50


@pytest.mark.parametrize("network", ["CnnL2h128", "CnnL3h128"])
def test_multimolecule_golden(golden, network):
    arrays = golden("deepcpg", f"multimolecule_{network}.npz")
    model = jaxepi.from_pretrained("deepcpg", golden_weights(arrays), network=network, window=101)
    x = one_hot(arrays["in:input_ids"].astype(np.uint8), n_value=0.0)
    out = run(model, x)
    np.testing.assert_allclose(out.logits, arrays["out:logits"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(out.cells, arrays["out:probs"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(out.features, arrays["out:pooler_output"], rtol=0, atol=2e-5)
    masked = run(model, x * arrays["in:attention_mask"][..., None].astype(np.float32))
    np.testing.assert_allclose(masked.logits, arrays["out:logits_masked"], rtol=0, atol=2e-5)


@pytest.mark.slow
def test_multimolecule_itself_with_random_weights_and_n(tmp_path):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("multimolecule")
    config = package.DeepCpgDnaConfig(sequence_length=101, num_labels=7)
    torch.manual_seed(0)
    original = package.DeepCpgDnaForSequencePrediction(config).eval()
    codes = np.random.default_rng(0).integers(0, 5, (6, 101))
    with torch.no_grad():
        logits = original(input_ids=torch.from_numpy(codes)).logits.numpy()
    state = {name: tensor.numpy() for name, tensor in original.state_dict().items()}
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(state, tmp_path / "model.safetensors")
    for source in (state, tmp_path / "model.safetensors"):
        model = jaxepi.from_pretrained("deepcpg", source, network="CnnL2h128", window=101)
        ours = run(model, one_hot(codes.astype(np.uint8), n_value=0.0)).logits
        np.testing.assert_allclose(ours, logits, rtol=0, atol=1e-5 * np.abs(logits).max())


def test_multimolecule_cells_can_be_named(golden):
    arrays = golden_weights(golden("deepcpg", "multimolecule_CnnL3h128.npz"))
    names = ("cpg/x", "cpg/y", "cpg/z")
    assert jaxepi.from_pretrained("deepcpg", arrays, outputs=names, window=101).config.outputs == names
    unnamed = jaxepi.from_pretrained("deepcpg", arrays, window=101).config.outputs
    assert unnamed == ("cpg/cell_0", "cpg/cell_1", "cpg/cell_2")


NETWORKS = [
    "CnnL3h256",
    "CnnRnn01",
    "ResNet01",
    "ResConv01",
    "ResAtrous01",
    "FcAvg",
    "RnnL2",
    "JointL3h512_CnnL1h128_RnnL1",
]
OUTPUTS = ("cpg/a", "cpg_stats/var", "cpg_stats/cat_var", "win_stats/1001/var", "cpg_stats/entropy", "bulk/b")


@pytest.mark.parametrize("network", NETWORKS)
def test_ours_to_keras_and_back_is_bit_equal(tmp_path, network):
    config = DeepCpGConfig(network=network, window=60, neighbours=4, outputs=OUTPUTS, l1=0.5, cpg_dropout=0.0)
    model = random_model(config)
    jaxepi.export(model, tmp_path / "model_weights.h5")
    again = jaxepi.from_pretrained("deepcpg", tmp_path, hidden=model.config.hidden_units)
    assert same_weights(model, again)
    assert again.config.outputs == OUTPUTS and again.config.network == network
    if network != "FcAvg":
        assert again.config.l1 == 0.5


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pth"])
def test_other_formats_go_out_and_come_back(tmp_path, suffix):
    pytest.importorskip({"pth": "torch", "safetensors": "safetensors"}.get(suffix, "numpy"))
    model = small_model(network="JointL3h512_CnnL3h128_RnnL2", window=60)
    jaxepi.export(model, tmp_path / f"model.{suffix}", tracks=model.config.outputs)
    again = jaxepi.from_pretrained("deepcpg", tmp_path / f"model.{suffix}", window=60)
    assert again.config.outputs == model.config.outputs and same_weights(model, again)


@pytest.mark.parametrize("part", ["cpg", "joint"])
def test_the_written_description_is_the_originals(golden_path, part):
    folder = golden_path("deepcpg", f"keras2_layout/{part}")
    original = json.loads((folder / "model.json").read_text())
    ours = json.loads(Description(jaxepi.from_pretrained("deepcpg", folder).config).to_json())
    for layer in original["config"]["layers"]:
        if layer["name"] in ("cpg/state", "cpg/dist"):  # ours leave the number of cells open
            layer["config"]["batch_input_shape"][1] = None
    assert ours == original


def test_layers_and_weights_are_written_in_keras_order(golden_path, tmp_path):
    h5py = pytest.importorskip("h5py")
    folder = golden_path("deepcpg", "keras2_layout/joint")
    jaxepi.export(jaxepi.from_pretrained("deepcpg", folder), tmp_path / "model_weights.h5")
    with h5py.File(folder / "model_weights_val.h5") as a, h5py.File(tmp_path / "model_weights.h5") as b:
        old, new = a["model_weights"], b["model_weights"]
        assert list(old.attrs["layer_names"]) == list(new.attrs["layer_names"])
        for layer in map(bytes.decode, old.attrs["layer_names"]):
            pairs = zip(old[layer].attrs["weight_names"], new[layer].attrs["weight_names"], strict=True)
            for one, other in pairs:
                kind = one.rsplit(b"/", 1)[-1]
                assert other.rsplit(b"/", 1)[-1] == kind
                np.testing.assert_array_equal(old[layer][one.decode()][()], new[layer][other.decode()][()])


def test_unnamed_heads_are_found_by_the_order_of_outputs(golden):
    arrays = golden("deepcpg", "heads_losses.npz")
    outputs = [key.removeprefix("in:label:") for key in arrays.files if key.startswith("in:label:")]
    model = jaxepi.from_pretrained("deepcpg", golden_weights(arrays), outputs=outputs, window=51)
    out = run(model, arrays["in:dna"][..., ACGT_OF_ATGC].astype(np.float32))
    assert list(model.config.outputs) == outputs
    for output in outputs:
        predicted = np.asarray(out.heads[output]).reshape(24, -1)
        np.testing.assert_allclose(predicted, arrays[f"out:{output}"], rtol=0, atol=2e-5)


def keras_arrays(**sizes):
    from jaxepi.pretrained.table import to_original

    model = small_model(**sizes)
    return to_original(model, SYSTEM.weights.table(model.config))


@pytest.mark.parametrize(
    ("change", "sizes", "message"),
    [
        ({"dna/dense_1/dense_1/bias:0": None}, {"network": SMALL["network"]}, "missing 1: dna/dense_1/dense_1/bias:0"),
        ({"cpg/c/cpg/c/kernel:0": np.ones((8, 1))}, {}, "missing 1: cpg/c/cpg/c/bias:0"),
        ({"dna/batchnorm/x:0": np.ones(3)}, {}, "unexpected 1: dna/batchnorm/x:0"),
        ({"joint/dense_1/joint/dense_1/kernel:0": np.ones((7, 8))}, {}, r"is \(7, 8\) where \(516, 8\) was expected"),
        ({"cpg/b/cpg/b/bias:0": np.array([np.nan])}, {}, "holds NaN or infinity"),
        ({}, {"network": "JointL1h512_CnnL2h128_RnnL1"}, "but network=JointL1h512_CnnL2"),
        ({}, {"outputs": ("cpg/a.1",)}, "but outputs="),
        ({}, {"neighbours": 6}, "neighbours 4, but neighbours=6"),
        ({}, {"windows": 41}, r"Unknown size 'windows' of deepcpg \(did you mean 'window'\?\)"),
        ({"cpg/b/cpg/b_2/bias:0": np.zeros(1)}, {}, "both stand for cpg/b/cpg/b/bias:0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, sizes, message):
    arrays = {**keras_arrays(), **change}
    arrays = {key: array for key, array in arrays.items() if array is not None}
    with pytest.raises(JaxepiError, match=message):
        jaxepi.from_pretrained("deepcpg", arrays, **{"window": 41, "hidden": 4, **sizes})


def test_a_missing_gate_of_keras_1_is_named():
    gates = {
        f"cpg/bidirectional_1/{way}_gru_1_{kind}_{gate}:0": np.zeros(shape)
        for way in ("forward", "backward")
        for kind, shape in (("W", (3, 2)), ("U", (2, 2)), ("b", (2,)))
        for gate in "zrh"
    }
    whole = canonical(gates, (), {})
    assert {name: array.shape for name, array in whole.items()} == {
        f"cpg/bidirectional_1/bidirectional_1/{way}_gru_1/{role}:0": shape
        for way in ("forward", "backward")
        for role, shape in (("kernel", (3, 6)), ("recurrent_kernel", (2, 6)), ("bias", (6,)))
    }
    del gates["cpg/bidirectional_1/backward_gru_1_U_r:0"]
    left = canonical(gates, (), {})
    assert "cpg/bidirectional_1/backward_gru_1_U_z:0" in left


def test_gates_lie_in_the_order_of_keras_2():
    parts = {f"cpg/bidirectional_1/forward_gru_1_b_{gate}:0": np.full(1, i) for i, gate in enumerate("rhz")}
    (bias,) = canonical(parts, (), {}).values()
    assert bias.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not that of a Keras model"), ('{"config": {"layers": []}}', "not that of a Keras model")],
)
def test_a_bad_description_is_told(tmp_path, text, message):
    jaxepi.export(small_model(), tmp_path / "weights.npz")
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(JaxepiError, match=message):
        jaxepi.from_pretrained("deepcpg", tmp_path / "weights.npz")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(JaxepiError, match="holds no DeepCpG model: expected one of model_weights.h5"):
        jaxepi.from_pretrained("deepcpg", tmp_path)


def test_load_recognises_the_file_and_predicts_probabilities(golden, golden_path):
    expected = golden("deepcpg", "keras1_zoo_layout/expected.npz")
    predictor = jaxepi.load(golden_path("deepcpg", "keras1_zoo_layout/dna") / "model_weights.h5")
    assert predictor.tracks == ["cpg/BS27_1_SER", "cpg/BS27_3_SER"] and predictor.window == 51
    values = predictor.predict(expected["in:dna"][..., ACGT_OF_ATGC].astype(np.float32))
    assert values.shape == (3, 1, 2)
    for k, track in enumerate(predictor.tracks):
        np.testing.assert_allclose(values[:, 0, k], expected[f"out:dna:{track}"][:, 0], rtol=0, atol=2e-5)


def test_variance_classes_are_tracks_of_their_own(golden):
    arrays = golden("deepcpg", "heads_losses.npz")
    outputs = [key.removeprefix("in:label:") for key in arrays.files if key.startswith("in:label:")]
    predictor = jaxepi.load(golden_weights(arrays), outputs=outputs, window=51)
    values = predictor.predict(arrays["in:dna"][..., ACGT_OF_ATGC].astype(np.float32))
    columns = [predictor.tracks.index(f"cpg_stats/cat_var/{k}") for k in range(3)]
    np.testing.assert_allclose(values[:, 0, columns], arrays["out:cpg_stats/cat_var"], rtol=0, atol=2e-5)


def test_a_cpg_model_says_that_sequence_is_not_enough(golden_path):
    predictor = jaxepi.load(golden_path("deepcpg", "keras2_layout/cpg") / "model.h5")
    with pytest.raises(JaxepiError, match="FcAvg needs the neighbouring CpG sites"):
        predictor.predict(np.zeros((1, 1001), np.uint8))


@pytest.mark.parametrize("network", ["CnnL2h128", "ResConv01", "JointL2h512_ResNet02_RnnL2"])
def test_the_table_covers_every_weight_once(network):
    config = DeepCpGConfig(network=network, outputs=("cpg/a", "cpg_stats/cat_var"))
    model = SYSTEM.abstract(config)
    shapes = original_shapes(model, SYSTEM.weights.table(config))
    sizes = [int(np.prod(variable.shape)) for variable in weights_of(model).values()]
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == sum(sizes)


def test_a_deepcpg_mapping_is_no_melody(golden):
    arrays = golden_weights(golden("deepcpg", "cpg_FcAvg.npz"))
    _, system, content = load_released(arrays)
    assert system.name == "deepcpg" and list(content.arrays)[-1] == "cpg/c2/cpg/c2/bias:0"


CELLS = tuple(f"cpg/cell_{i}" for i in (10, 2, 1, 3, 4, 5))


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pth", "h5"])
def test_heads_keep_their_names_and_order_in_every_format(tmp_path, suffix):
    """Also where names are those of nobody's cells and as many as a released model has."""
    needs = {"pth": "torch", "safetensors": "safetensors", "h5": "h5py"}
    pytest.importorskip(needs.get(suffix, "numpy"))
    model = small_model(network="CnnL3h128", outputs=CELLS, window=61, dna_dropout=0.25)
    jaxepi.export(model, tmp_path / f"model.{suffix}")
    for _ in range(3):
        again = jaxepi.from_pretrained("deepcpg", tmp_path / f"model.{suffix}")
        assert again.config.outputs == CELLS and same_weights(model, again)
        assert (again.config.window, again.config.dna_dropout) == (61, 0.25)
    jaxepi.export(model, tmp_path / f"named.{suffix}", tracks=list("abcdef"))
    predictor = jaxepi.load(tmp_path / f"named.{suffix}")
    assert predictor.tracks == list("abcdef") and predictor.model.config.outputs == CELLS


def test_heads_of_a_foreign_safetensors_file_are_ordered_by_name(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = keras_arrays(network="CnnL3h128", outputs=CELLS, window=61)
    safetensors.save_file(arrays, tmp_path / "w.safetensors")
    for _ in range(3):
        config = jaxepi.from_pretrained("deepcpg", tmp_path / "w.safetensors", window=61).config
        assert config.outputs == ("cpg/cell_1", "cpg/cell_2", "cpg/cell_3", "cpg/cell_4", "cpg/cell_5", "cpg/cell_10")
    assert jaxepi.from_pretrained("deepcpg", arrays, window=61).config.outputs == CELLS  # a mapping has its own order


def test_a_window_that_nothing_tells_is_asked_for(tmp_path):
    arrays = keras_arrays(network="CnnL2h128", outputs=("cpg/a",), window=151)
    with pytest.raises(JaxepiError, match=r"the given mapping does not tell its window, and 14\d to 15\d bp all fit"):
        jaxepi.load(arrays)
    bare = jaxepi.from_pretrained("deepcpg", arrays)  # computes with each of them
    windows = np.random.default_rng(0).random((2, 151, 4), np.float32)
    named = jaxepi.from_pretrained("deepcpg", arrays, window=151)
    assert named.config.window == 151
    np.testing.assert_array_equal(bare(windows).heads["cpg/a"], named(windows).heads["cpg/a"])
    assert jaxepi.load(arrays, window=151).window == 151
    usual = keras_arrays(network="CnnL2h128", outputs=("cpg/a",), window=1001)
    assert jaxepi.from_pretrained("deepcpg", usual).config.window == 1001


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"[]", b'{"config": {"layers": [1], "output_layers": [["a"]]}}']
)
def test_a_broken_description_is_never_passed_over(tmp_path, text):
    jaxepi.export(small_model(), tmp_path / "weights.npz")
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(JaxepiError, match=r"model\.json"):
        jaxepi.from_pretrained("deepcpg", tmp_path / "weights.npz")
