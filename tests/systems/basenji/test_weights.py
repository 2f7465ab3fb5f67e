"""Weights in the original's layouts: every file, each recognised, refused or written back bit by bit."""

import json
import shutil
import warnings

import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_digest
from jaxepi.sequence import one_hot
from jaxepi.systems.basenji.keras_layers import layers_of, names_of
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import AKITA, BASENJI2, BASSET
from jaxepi.systems.basenji.torch_port import name_of
from jaxepi.systems.basenji.weights import open_source

h5py = pytest.importorskip("h5py")

TOLERANCE = {"basenji2_small": 5e-5, "basset_small": 1e-5, "akita_small": 1e-4}


@pytest.fixture(scope="module")
def predictors(golden_path, original_params):
    """Name -> predictor of its .h5 file, the first head."""
    return {
        name: jaxepi.load(
            golden_path("basenji", f"{name}_model.h5"), system="basenji", params=original_params(name), head=0
        )
        for name in TOLERANCE
    }


@pytest.mark.parametrize("name", TOLERANCE)
def test_a_keras_file_predicts_what_the_original_does(predictors, golden, name):
    """Values, features, and means over strands and shifts; the strand's places are turned back."""
    predictor, arrays = predictors[name], golden("basenji", f"{name}.npz")
    x = one_hot(arrays["in:sequence_index"], n_value=0.0)
    shifts = tuple(arrays["in:ensemble_shifts"].tolist())
    close = {"rtol": 1e-4, "atol": TOLERANCE[name]}
    plain = predictor.predict(x)
    np.testing.assert_allclose(plain, arrays["out:head0"], **close)
    np.testing.assert_allclose(plain, arrays["out:head0_float32"], **close)
    np.testing.assert_array_equal(predictor.predict(arrays["in:sequence_index"]), plain)
    both = predictor.predict(x, rc=True, shifts=shifts)
    np.testing.assert_allclose(both, arrays["out:head0_ensemble_rc_shifts"], **close)
    if name == "akita_small":  # of the others each is tested below
        np.testing.assert_allclose(predictor.predict(x, rc=True), arrays["out:head0_ensemble_rc"], **close)
        assert predictor.grid.at == "pair"


def test_strands_and_shifts_by_themselves(golden, golden_path, original_params):
    arrays = golden("basenji", "basenji2_small.npz")
    x, shifts = arrays["in:sequence_index"], tuple(arrays["in:ensemble_shifts"].tolist())
    predictor = jaxepi.load(
        golden_path("basenji", "basenji2_small_model.h5"), system="basenji", params=original_params("basenji2_small"),
        task={"strand_pair": arrays["in:strand_pair_head0"].tolist()},
    )  # fmt: skip
    close = {"rtol": 1e-4, "atol": 5e-5}
    np.testing.assert_allclose(predictor.predict(x, shifts=shifts), arrays["out:head0_ensemble_shifts"], **close)
    made = predictor.predict(x, rc=True, shifts=shifts)
    np.testing.assert_allclose(made, arrays["out:head0_ensemble_rc_shifts_strandpair"], **close)


@pytest.fixture(scope="module")
def files(golden_path):
    return lambda part="": golden_path("basenji", f"basenji2_small_model{part}.h5")


def digest(source, **options) -> str:
    return weights_digest(jaxepi.from_pretrained("basenji", source, **options))


def test_the_head_that_a_file_holds(files, original_params, golden_weights):
    params = original_params("basenji2_small")
    one = jaxepi.from_pretrained("basenji", files("_head1"), params=params, head=1)
    assert one.config.head_names == ("head_mouse",) and one.config.units(0) == 9
    assert digest(files("_head1"), params=params) == weights_digest(one)  # the only head that fits
    every = jaxepi.from_pretrained("basenji", golden_weights("basenji2_small"), params=params, gelu="tanh")
    assert every.config.head_names == ("head_human", "head_mouse")
    same = jaxepi.from_pretrained("basenji", golden_weights("basenji2_small"), params=params, gelu="tanh", head=1)
    assert weights_digest(same) == weights_digest(one)
    trunk = jaxepi.load(files("_trunk"), system="basenji", params=params)
    assert trunk.model.config.heads == () and trunk.grid.values(trunk.window) == 112 and len(trunk.tracks) == 48
    assert digest(files(), params=params, head=None) == trunk.digest()
    with pytest.raises(JaxepiError, match="head=2 was asked for, but the network of .* has 2 head"):
        digest(files(), params=params, head=2)
    with pytest.raises(JaxepiError, match="head is -1, but must be the number of a head"):
        digest(files(), params=params, head=-1)
    with pytest.raises(JaxepiError, match=r"has 60 layers with weights, but the network has 61: .*head"):
        digest(files("_trunk"), params=params, head=0)
    with pytest.raises(JaxepiError, match=r"misshapen 2: dense/kernel:0 is \(48, 17\) where \(48, 9\) was expected"):
        digest(files(), params=params, head=1)


def test_a_trunk_gives_its_channels(files, original_params, golden):
    arrays = golden("basenji", "basenji2_small.npz")
    trunk = jaxepi.load(files("_trunk"), system="basenji", params=original_params("basenji2_small"))
    made = trunk.predict(arrays["in:sequence_index"])
    np.testing.assert_allclose(made, arrays["out:embedding_trunk"], rtol=1e-4, atol=5e-5)


def rewritten(source, target, rename, split: bool = False, text=str) -> None:
    """A copy of a Keras file with other layer names, which Keras also splits and writes as bytes."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        before, root = old["model_weights"], new.create_group("model_weights")
        new.create_dataset("optimizer_weights/SGD/momentum:0", data=np.zeros(4))
        names = [rename(str(layer)) for layer in before.attrs["layer_names"]]
        listed = {"layer_names": names}
        if split:
            listed = {"layer_names0": names[:5], "layer_names1": names[5:]}
        for key, part in listed.items():
            root.attrs[key] = [text(name) for name in part]
        for layer, name in zip(before.attrs["layer_names"], names, strict=True):
            group, weights = root.create_group(name), [str(w) for w in before[layer].attrs["weight_names"]]
            group.attrs["weight_names"] = [text(w.replace(layer, name)) for w in weights]
            for weight in weights:
                group[weight.replace(layer, name)] = before[layer][weight][()]


def test_numbers_in_names_say_nothing_and_attributes_may_be_split(files, original_params, tmp_path):
    def later(name: str) -> str:
        stem, _, number = name.rpartition("_")
        number, stem = (int(number), stem) if number.isdigit() else (0, name)
        return f"{stem}_{number + 96}"  # some have two digits, some three

    params = original_params("basenji2_small")
    rewritten(files(), tmp_path / "later.h5", later, split=True)
    rewritten(files(), tmp_path / "bytes.h5", str, text=str.encode)
    expected = digest(files(), params=params)
    with pytest.warns(UserWarning, match="does not tell which GELU .*: tanh is taken"):
        assert digest(tmp_path / "later.h5", params=params) == expected
    assert digest(tmp_path / "bytes.h5", params=params, gelu="tanh") == expected


def test_the_graph_tells_the_gelu(files, original_params, tmp_path, monkeypatch):
    params = original_params("basenji2_small")
    assert jaxepi.from_pretrained("basenji", files(), params=params).config.gelu == "tanh"
    shutil.copy(files(), tmp_path / "old.h5")
    (tmp_path / "old.h5").chmod(0o600)
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        graph = json.loads(file.attrs["model_config"])
        for layer in graph["config"]["layers"]:
            layer["class_name"] = layer["class_name"].replace("TFOpLambda", "GELU")
        file.attrs["model_config"] = json.dumps(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jaxepi.from_pretrained("basenji", tmp_path / "old.h5", params=params).config.gelu == "sigmoid1702"
        asked = jaxepi.from_pretrained("basenji", tmp_path / "old.h5", params=params, gelu="erf")
    assert asked.config.gelu == "erf"


@pytest.mark.parametrize("ending", [".h5", ".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("name", TOLERANCE)
def test_a_round_trip_is_bit_equal(predictors, golden_path, tmp_path, name, ending):
    if ending == ".pth":
        pytest.importorskip("torch")
    model = predictors[name].model
    jaxepi.export(model, tmp_path / f"out{ending}", tracks=predictors[name].tracks)
    back = jaxepi.load(tmp_path / f"out{ending}")
    assert back.digest() == weights_digest(model) and back.model.config == model.config
    assert back.tracks == predictors[name].tracks and back.grid == predictors[name].grid
    if ending == ".h5":  # the same datasets, bit by bit, as the original wrote
        with h5py.File(golden_path("basenji", f"{name}_model.h5")) as old, h5py.File(tmp_path / "out.h5") as new:
            layers = [str(n) for n in old["model_weights"].attrs["layer_names"]]
            weighted = [n for n in layers if len(old["model_weights"][n].attrs["weight_names"])]
            assert [n.decode() for n in new["model_weights"].attrs["layer_names"]] == weighted
            for layer in weighted:
                for weight in old["model_weights"][layer].attrs["weight_names"]:
                    one, other = (file["model_weights"][layer][weight][()] for file in (old, new))
                    np.testing.assert_array_equal(one, other)
                    assert one.dtype == other.dtype


def test_the_port_to_pytorch(golden_path, golden_weights, original_params, golden, tmp_path):
    told = json.loads(golden_path("basenji", "official_checkpoint.json").read_text())["torch_port_basenji2"]
    weights, state = golden_weights("basenji2_small"), {}
    for name, port in told["keras_to_torch_name_small_model"].items():
        state[port] = weights[name].T if "kernel" in name else weights[name]
        if port.endswith("running_var"):
            state[port.replace("running_var", "num_batches_tracked")] = np.array(7)
    params = original_params("basenji2_small")
    predictor = jaxepi.load(state, system="basenji", params=params, head=0)
    assert predictor.model.config.gelu == "erf" and predictor.model.config.head_names == ("head_human",)
    arrays = golden("basenji", "basenji2_small.npz")
    made = predictor.predict(arrays["in:sequence_index"])
    np.testing.assert_allclose(made, arrays["out:head0_gelu_erf"], rtol=1e-4, atol=5e-5)
    torch = pytest.importorskip("torch")
    jaxepi.export(predictor.model, tmp_path / "out.pth")
    written = torch.load(tmp_path / "out.pth")["state_dict"]
    assert list(written) == [name for name in told["tensors"]] and len(written) == 182
    for name, tensor in written.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(tensor.numpy(), state[name])
    with pytest.raises(JaxepiError, match="has 62 layers with weights, but the network has 61"):
        jaxepi.from_pretrained("basenji", {**state, "model.head.extra": np.zeros(3)}, params=params, head=0)


def zeros(config: BasenjiConfig) -> dict[str, np.ndarray]:
    """A file of a network with weights that take no memory."""
    layers = layers_of(config)
    return {
        f"model_weights/{name}/{name}/{weight.name}:0": np.broadcast_to(np.float32(0), weight.shape)
        for name, layer in zip(names_of(layers), layers, strict=True)
        for weight in layer.weights
    }


@pytest.mark.parametrize(
    ("preset", "head", "names", "gelu"),
    [
        (BASENJI2, 0, ("head_human",), "sigmoid1702"),
        (BASENJI2, 1, ("head_mouse",), "sigmoid1702"),
        (BASENJI2, None, (), "sigmoid1702"),
        (BASSET, 0, ("head",), "tanh"),
        (AKITA, 0, ("head",), "tanh"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*which GELU")
def test_published_files_are_known_by_their_shapes(preset, head, names, gelu):
    """Without params; only shapes are looked at here, so that full size costs nothing."""
    fields = translate(preset).model
    part = slice(0, 0) if head is None else slice(head, head + 1)
    own = {**fields, "heads": fields["heads"][part], "head_names": fields["head_names"][part]}
    _, told = open_source(zeros(BasenjiConfig(**own)), {})
    config = BasenjiConfig(**told)
    assert config.head_names == names and config.gelu == gelu
    assert config.geometry() == BasenjiConfig(**own).geometry() and config.heads == BasenjiConfig(**own).heads


def test_the_published_port_is_known_by_its_shapes(golden_path):
    told = json.loads(golden_path("basenji", "official_checkpoint.json").read_text())["torch_port_basenji2"]
    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in told["tensors"].items()}
    _, sizes = open_source(state, {})
    config = BasenjiConfig(**sizes)
    assert config.head_names == ("head_human",) and config.units(0) == 5313 and config.gelu == "erf"
    names = [f"model.{name_of(weight)}" for layer in layers_of(config) for weight in layer.weights]
    assert names == [name for name in told["tensors"] if not name.endswith("num_batches_tracked")]


def test_files_of_other_networks_are_told(files, original_params, tmp_path):
    with pytest.raises(JaxepiError, match="holds no published network .*: give params="):
        jaxepi.load(files())
    with pytest.raises(JaxepiError, match="layer .* with weights is .*, but the network has .* there: give the params"):
        jaxepi.from_pretrained("basenji", files(), params=original_params("basset_small"))
    with pytest.raises(JaxepiError, match=r"Unknown size 'parms' of basenji \(did you mean 'params'\?\)"):
        jaxepi.from_pretrained("basenji", files(), params=original_params("basenji2_small"), parms=1)


def test_published_models_are_listed():
    listed = {model.name: model for model in jaxepi.list_pretrained("basenji")}
    assert set(listed) == {"Basenji2-human", "Basenji2-mouse", "Basenji2-human-PyTorch", "Akita"}
    human = listed["Basenji2-human"]
    assert len(human.tracks) == 5313 and human.window == 131_072
    for model in listed.values():
        layers = layers_of(BasenjiConfig(**model.sizes))
        assert model.parameters == sum(int(np.prod(w.shape)) for layer in layers for w in layer.weights)


def test_several_heads_are_written_and_one_is_read_again(tmp_path):
    config = BasenjiConfig(
        window=256, trunk=({"name": "conv_block", "filters": 4, "kernel_size": 3, "pool_size": 2},),
        heads=({"name": "final", "units": 2}, {"name": "final", "units": 3}), head_names=("head_a", "head_b"),
    )  # fmt: skip
    model = Basenji(config, rngs=nnx.Rngs(0))
    jaxepi.export(model, tmp_path / "both.h5")
    both = jaxepi.from_pretrained(tmp_path / "both.h5")
    assert both.config == config and weights_digest(both) == weights_digest(model)
    second = jaxepi.load(tmp_path / "both.h5", head=1)
    assert second.model.config.head_names == ("head_b",) and len(second.tracks) == 3
    np.testing.assert_array_equal(second.model.heads[0][0].dense.kernel[...], model.heads[1][0].dense.kernel[...])


def test_a_unet_with_attention_is_written_and_read(tmp_path):
    """Weights of an attention layer are found by their names, in whatever order a file lists them."""
    params = {
        "seq_length": 128, "activation": "gelu", "norm_type": "batch", "kernel_initializer": "lecun_normal",
        "trunk": [
            {"name": "conv_dna", "filters": 6, "kernel_size": 3, "norm_type": None, "activation": "linear",
             "pool_size": 2},
            {"name": "res_tower", "filters_init": 8, "filters_end": 8, "repeat": 3, "num_convs": 1, "pool_size": 2},
            {"name": "transformer_tower", "key_size": 4, "heads": 2, "num_position_features": 6, "repeat": 1},
            {"name": "fpn_unet", "kernel_size": 3},
            {"name": "Cropping1D", "cropping": 4},
        ],
        "head": {"name": "final", "units": 3, "activation": "softplus"},
    }  # fmt: skip
    config = BasenjiConfig(**translate(params).model)
    model = Basenji(config, rngs=nnx.Rngs(0))
    jaxepi.export(model, tmp_path / "unet.h5")
    back = jaxepi.load(tmp_path / "unet.h5")
    assert back.digest() == weights_digest(model) and back.grid.bin == 8 and back.grid.crop == 32
    with h5py.File(tmp_path / "unet.h5", "r+") as file:
        del file.attrs["sizes"]
        group = file["model_weights/multihead_attention"]
        names = [name.decode() for name in group.attrs["weight_names"]]
        assert names[:3] == [f"multihead_attention/{name}:0" for name in ("r_w_bias", "r_r_bias", "q_layer/kernel")]
        inner = group["multihead_attention"]
        for name in ("r_w_bias:0", "r_r_bias:0"):  # Keras puts the layer's name before what has it already
            inner.move(name, f"multihead_attention/{name}")
        doubled = [n.replace("/r_", "/multihead_attention/r_") if "bias" in n else n for n in names]
        group.attrs["weight_names"] = [name.encode() for name in reversed(doubled)]
    assert digest(tmp_path / "unet.h5", params=params, gelu="tanh") == weights_digest(model)
