"""Whole networks against the original's float64 outputs, full-size shapes, and the promises of the interface."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.config import from_section, section_of
from jaxepi.errors import JaxepiError
from jaxepi.sequence import one_hot
from jaxepi.systems.basenji.keras_layers import layers_of, names_of
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import PRESETS
from jaxepi.systems.basenji.toy import TRUNK

# intermediate of ours -> golden array, and what of it was stored
SEEN = {
    "basenji2_small": {
        "trunk_0": ("block0_conv_block_first64", np.s_[:, :64]), "trunk_1": ("block1_conv_tower", ...),
        "trunk_2": ("block2_dilated_residual", ...), "trunk_3": ("block3_cropping", ...),
        "trunk_4": ("block4_conv_block", ...), "trunk": ("embedding_trunk", ...),
        "head_human_0": ("head0", ...), "head_mouse_0": ("head1", ...),
    },
    "basset_small": {
        "trunk_0": ("block0_conv_dna", ...), "trunk_1": ("block1_conv_tower", ...),
        "trunk_2": ("block2_conv_block", ...), "trunk_3": ("block3_dense_block", ...), "trunk": ("trunk", ...),
        "head_0": ("head0", ...),
    },
    "akita_small": {
        "trunk_1": ("block1_conv_tower", ...), "trunk_2": ("block2_dilated_residual", ...),
        "trunk_3": ("block3_conv_block", ...), "trunk": ("trunk", ...),
        "head_hic_0": ("one_to_two_sample0", np.s_[:, :6, :6]),
        "head_hic_1": ("concat_dist_2d_corner", np.s_[:, :6, :6]), "head_hic_3": ("symmetrize_2d", np.s_[:, ::4]),
        "head_hic_5": ("cropped_2d", np.s_[:, ::8]), "head_hic_6": ("upper_tri_first64", np.s_[:, :64]),
        "head_hic_7": ("head0", ...),
    },
}  # fmt: skip
TOLERANCE = {"basenji2_small": 1e-6, "basset_small": 1e-6, "akita_small": 1e-7}


@pytest.mark.parametrize("name", SEEN)
def test_every_block_in_double_precision(golden, golden_weights, original_params, name):
    arrays = golden("basenji", f"{name}.npz")
    with jax.enable_x64(True):
        model = jaxepi.from_pretrained(
            "basenji", golden_weights(name), params=original_params(name), dtype="float64", gelu="tanh"
        )
        state = jax.tree.map(lambda x: x.astype(jnp.float64), nnx.state(model))
        nnx.update(model, state)
        x = one_hot(arrays["in:sequence_index"], np.float64, n_value=0.0)
        out = nnx.jit(lambda model, x: model(x, intermediates=True))(model, x)
        tolerance = TOLERANCE[name]
        for ours, (theirs, part) in SEEN[name].items():
            expected, made = arrays[f"out:{theirs}"], out.intermediates[ours]
            assert made.dtype == jnp.float64
            np.testing.assert_allclose(made[part], expected, rtol=tolerance, atol=tolerance, err_msg=theirs)


@pytest.fixture(scope="module")
def official(golden_path):
    return json.loads(golden_path("basenji", "official_checkpoint.json").read_text())["models"]


@pytest.mark.parametrize(
    ("preset", "head", "published"),
    [
        ("basenji2", 0, "basenji2_human"),
        ("basenji2", 1, "basenji2_mouse"),
        ("basset", 0, "basset"),
        ("akita", 0, "akita"),
    ],
)
def test_full_size_networks_have_the_official_layers(official, preset, head, published):
    """Names, shapes and counts, on abstract shapes."""
    expected, fields = official[published], translate(PRESETS[preset]).model
    fields |= {"heads": fields["heads"][head : head + 1], "head_names": fields["head_names"][head : head + 1]}
    config = BasenjiConfig(**fields)
    layers = layers_of(config)
    shapes = {
        f"{name}/{weight.name}:0": list(weight.shape)
        for name, layer in zip(names_of(layers), layers, strict=True)
        for weight in layer.weights
    }
    assert shapes == expected["weights"] and list(shapes) == list(expected["weights"])
    assert names_of(layers) == expected["layers_with_weights_in_order"]
    counted = sum(int(np.prod(shape)) for shape in shapes.values())
    trained = sum(int(np.prod(shape)) for name, shape in shapes.items() if "moving" not in name)
    told = expected["per_head"][0]
    assert (counted, trained) == (told["total"], told["trainable"])
    assert list(config.geometry().shape) == told["output_shape"][1:]
    model = nnx.eval_shape(lambda: Basenji(config, rngs=nnx.Rngs(0)))
    out = nnx.eval_shape(lambda m: m(jnp.zeros((1, config.window, 4))), model)
    assert out.heads[0].shape == (1, *told["output_shape"][1:])


def test_where_the_outputs_of_the_papers_lie():
    found = {name: BasenjiConfig(**translate(preset).model).geometry() for name, preset in PRESETS.items()}
    assert (found["basenji2"].stride, found["basenji2"].crop, found["basenji2"].channels) == (128, 8192, 1536)
    assert (found["basset"].stride, found["basset"].crop) == (192, 576)
    assert (found["akita"].stride, found["akita"].crop, found["akita"].diagonal) == (2048, 65_536, 2)


FULL_SIZE = """
import resource, jax.numpy as jnp
from flax import nnx
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import BASENJI2
model = Basenji(BasenjiConfig(**translate(BASENJI2).model), rngs=nnx.Rngs(0))
out = nnx.jit(lambda model, x: model(x, head=0).heads[0])(model, jnp.zeros((1, 131_072, 4)))
print(out.shape, bool(jnp.isfinite(out).all()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_000_000)
"""


@pytest.mark.slow
def test_full_size_basenji2_runs_within_8_gb():
    done = subprocess.run([sys.executable, "-c", FULL_SIZE], capture_output=True, text=True, check=True, timeout=600)
    *_, gigabytes = done.stdout.split()
    assert done.stdout.startswith("(1, 896, 5313) True") and int(gigabytes) < 8


HEADS = ({"name": "final", "units": 3, "activation": "softplus"}, {"name": "final", "units": 2})


def small(**fields) -> BasenjiConfig:
    return BasenjiConfig(**{"window": 640, "trunk": TRUNK, "heads": HEADS, "head_names": ("a", "b"), **fields})


def test_a_config_survives_json_config_dicts_and_hashing():
    config = small(l2_scale=1e-4, gelu="erf")
    assert hash(config) == hash(small(l2_scale=1e-4, gelu="erf"))
    text = json.loads(json.dumps(dataclasses.asdict(config)))
    assert from_section(BasenjiConfig, text, "config.model") == config
    section = section_of(BasenjiConfig)
    section.update(dataclasses.asdict(config))
    assert from_section(BasenjiConfig, section, "config.model") == config
    assert BasenjiConfig(**dataclasses.asdict(config)) == config
    as_list = small(heads=[[HEADS[0]], json.dumps([HEADS[1]])], l2_scale=1e-4, gelu="erf")
    assert as_list == config


@pytest.fixture(scope="module")
def windows():
    return one_hot(np.random.default_rng(0).integers(0, 5, (2, 640)).astype(np.uint8), n_value=0.0)


def gradient(config: BasenjiConfig, windows):
    """Loss, gradient of the parameters, statistics behind one step, with dropout."""
    model = Basenji(config, rngs=nnx.Rngs(0))
    model.train()

    @nnx.jit
    def run(model, x):
        def loss(model):
            out = model(x, rng=jax.random.key(1))
            return sum((head**2).mean() for head in out.heads) + model.penalty()

        return nnx.value_and_grad(loss)(model)

    value, grads = run(model, windows)
    return value, grads, nnx.state(model, nnx.BatchStat)


def test_rematerialisation_changes_no_number_and_bfloat16_few(windows):
    trunk = (
        {"name": "conv_block", "filters": 6, "kernel_size": 5, "pool_size": 4},
        {"name": "conv_tower", "filters_init": 6, "filters_mult": 1.0, "repeat": 1, "pool_size": 8},
        {"name": "dilated_residual", "filters": 4, "dropout": 0.3},
    )
    plain = gradient(small(trunk=trunk), windows)
    again = gradient(small(trunk=trunk, remat=True), windows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), plain, again)
    half = gradient(small(trunk=trunk, dtype="bfloat16"), windows)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half))
    np.testing.assert_allclose(half[0], plain[0], rtol=0.05)
    moved = jax.tree.leaves(plain[2])
    assert all(np.ptp(leaf) > 0 for leaf in moved)


def test_penalties_are_those_of_the_kernels():
    one, two = small(l2_scale=0.5), small()
    model, none = Basenji(one, rngs=nnx.Rngs(0)), Basenji(two, rngs=nnx.Rngs(0))
    kernels = [
        leaf for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param)) if str(path[-1]) == "kernel"
    ]  # fmt: skip
    expected = 0.5 * sum(float((kernel.get_value() ** 2).sum()) for kernel in kernels)
    np.testing.assert_allclose(model.penalty(), expected, rtol=1e-5)
    assert float(none.penalty()) == 0


def test_scales_start_at_one_or_as_the_original_draws_them():
    def scale(**fields):
        return np.asarray(Basenji(small(**fields), rngs=nnx.Rngs(0)).trunk[0].norm.scale[...])

    np.testing.assert_array_equal(scale(), 1)
    drawn = scale(glorot_gamma=True)
    assert np.abs(drawn).max() <= (3 / 8) ** 0.5 and drawn.std() > 0.1
    model = Basenji(small(glorot_gamma=True), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(model.trunk[2].steps[0].dilate.norm.scale[...], 1)
    np.testing.assert_array_equal(model.trunk[2].steps[0].back.norm.scale[...], 0)


def test_a_network_takes_any_window_that_it_was_not_flattened_for():
    model = Basenji(small(), rngs=nnx.Rngs(0))
    out = nnx.eval_shape(lambda m: m(jnp.zeros((3, 1280, 4)), head=1), model)
    assert out.heads[0] is None and out.heads[1].shape == (3, 36, 2) and out.trunk.shape == (3, 36, 12)
    with pytest.raises(JaxepiError, match=r"takes one-hot input of shape \(batch, length, 4\), but got \(1, 4, 640\)"):
        model(jnp.zeros((1, 4, 640)))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"trunk": ({"name": "conv_blok"},)}, r"trunk\[0\] has the name 'conv_blok' \(did you mean 'conv_block'\?\)"),
        ({"trunk": ({"name": "conv_block", "filter": 3},)}, r"the argument 'filter' \(did you mean 'filters'\?\)"),
        ({"trunk": ({"name": "conv_block", "filters": 2.5},)}, "filters of conv_block to 2.5, but a whole number"),
        ({"trunk": ({"name": "conv_block", "dropout": 1},)}, "dropout of conv_block to 1, but a number from 0 to"),
        ({"trunk": ({"name": "conv_block", "activation": "gelus"},)}, r"'gelus' \(did you mean 'gelu'\?\)"),
        ({"trunk": ({"name": "conv_tower", "filters_init": 4, "repeat": 2},)}, "neither filters_mult nor filters_end"),
        ({"trunk": ({"name": "dilated_residual"},)}, "lacks the argument 'filters' of dilated_residual"),
        ({"trunk": ("conv_block",)}, r"trunk\[0\] is no block"),
        ({"heads": ((), HEADS[0])}, "a block or a list of blocks was expected"),
        ({"head_names": ("a",)}, "has 1 names, but config.model.heads 2 heads"),
        ({"norm_type": "batchnorm"}, r"norm_type is 'batchnorm'.* must be one of '', 'batch'"),
        ({"gelu": "exact"}, "gelu is 'exact'"),
        ({"activation": "polyrelu", "heads": ({"name": "final", "units": 2}, HEADS[0])}, "reaches final, a layer of K"),
    ],
)
def test_unknown_names_are_told_in_a_sentence(fields, told):
    with pytest.raises(JaxepiError, match=told):
        small(**fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"trunk": ({"name": "one_to_two"}, {"name": "conv_block"})}, r"conv_block takes a sequence \(L, C\), but"),
        ({"trunk": ({"name": "symmetrize_2d"},)}, r"symmetrize_2d takes a map \(L, L, C\), but comes behind"),
        ({"trunk": ({"name": "Cropping1D", "cropping": 320},)}, "too short for this network: Cropping1D"),
        ({"trunk": ({"name": "one_to_two"},)}, "needs upper_tri"),
        ({"heads": ({"name": "final"}, HEADS[0])}, r"heads\[0\] ends without units"),
        ({"trunk": ({"name": "dilated_residual", "filters": 2, "pool_size": 2},)}, "stride and pool_size must be 1"),
    ],
)
def test_blocks_that_do_not_fit_are_told_in_a_sentence(fields, told):
    with pytest.raises(JaxepiError, match=told):
        nnx.eval_shape(lambda: Basenji(small(**fields), rngs=nnx.Rngs(0)))
