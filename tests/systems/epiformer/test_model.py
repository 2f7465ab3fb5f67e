"""The network against the original's: outputs, activations, its full size, and what its switches change."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import load_into
from jaxepi.registry import get_system
from jaxepi.systems.epiformer.model import Epiformer, EpiformerConfig
from jaxepi.systems.epiformer.weights import table

SMALL = EpiformerConfig(
    window=64, num_cnn_layer=1, embed_size=16, num_heads=2, num_encoder_layers=1, dim_feedforward=12, crop_size=2,
    tracks=2,
)  # fmt: skip


@nnx.jit
def run(model, x, conservation):
    return model(x, conservation, intermediates=True)


@nnx.jit
def called(model, x, conservation, rng=None):
    return model(x, conservation, rng=rng)


def seen_as(array, name):
    """Ours in the layout of a golden activation: channels first in the convolutions."""
    return array.swapaxes(1, 2) if name.startswith(("stem", "tower", "ptw")) else array


@pytest.mark.parametrize("name", ["signal_model", "signal_model_multi", "label_model"])
def test_golden_networks_in_double_precision(golden_file, name):
    content, arrays = golden_file(name)
    x, conservation = arrays["in:seq"].swapaxes(1, 2), arrays["in:seqcons"][:, 0]
    with jax.enable_x64(True):
        model = jaxepi.from_pretrained("epiformer", content, dtype="float64", queries=7)
        nnx.update(model, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(model)))
        model.eval()
        out = run(model, jnp.asarray(x, jnp.float64), jnp.asarray(conservation))
        without = run(model, jnp.asarray(x, jnp.float64), jnp.zeros_like(conservation))
    assert model.config.kind == name.partition("_")[0]
    for made, key in ((out.values, "out:pred_cons"), (without.values, "out:pred_nocons")):
        np.testing.assert_allclose(made.swapaxes(1, 2), arrays[key], rtol=0, atol=2e-6, err_msg=key)
    compared = 0
    for key in arrays.files:
        theirs = key.removeprefix("out:cons/")
        if theirs == key:
            continue
        ours = theirs.replace("ptw_conv", "head").replace("attn_context", "context").replace("attn_probs", "attention")
        made = seen_as(out.intermediates[ours], theirs)
        np.testing.assert_allclose(made, arrays[key], rtol=1e-5, atol=5e-6, err_msg=theirs)
        compared += 1
    assert compared >= 9


def official(golden_path, name="train_signals_default"):
    return json.loads(golden_path("epiformer", "official_checkpoint.json").read_text())["models"][name]


def formula_weights(told, seed):
    """Weights of the full-size network as its golden file was made, see manifest.json."""
    random, arrays = np.random.RandomState(seed), {}
    for weight in told["weights"]:
        name, shape = weight["name"], tuple(weight["shape"])
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            arrays[name] = np.zeros((), np.int64)
            continue
        bounds = {"running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5), "bias": (-0.2, 0.2)}.get(leaf)
        if bounds is None and name.endswith("distance_embedding.weight"):
            bounds = (-1, 1)
        elif bounds is None:
            bounds = (0.7, 1.3) if len(shape) == 1 else (3 / np.prod(shape[1:])) ** 0.5 * np.array([-1, 1])
        arrays[name] = random.uniform(*bounds, size=shape).astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def full_size(golden_path, golden):
    """The full-size network with formula weights, its input (1, L, 4) and the golden arrays."""
    told, arrays = official(golden_path), golden("epiformer", "full_size_formula_weights.npz")
    weights = formula_weights(told, 2024)
    random = np.random.RandomState(2025)
    base = random.randint(0, 4, 98_304)
    conservation = random.uniform(0, 1, 98_304) ** 2
    np.testing.assert_array_equal(base[:50], arrays["in:base_index_head"])
    np.testing.assert_array_equal(conservation[:50], arrays["in:cons_head"])
    x = np.eye(4, dtype=np.float32)[base] * np.exp(conservation)[:, None].astype(np.float32)
    config = EpiformerConfig()
    model = get_system("epiformer").abstract(config)
    load_into(model, weights, table(config))
    model.eval()
    return model, x[None], arrays, weights


def test_full_size_weights_and_the_tower_on_the_first_bases(full_size):
    """The recipe gives the golden weights; positions 0 and 96 of the tower depend on the first 12.5 kb alone."""
    model, x, arrays, weights = full_size
    sums = [(array.sum(dtype=np.float64), (array.astype(np.float64) ** 2).sum()) for array in weights.values()]
    np.testing.assert_allclose(sums, arrays["out:weight_fingerprint"], rtol=1e-9, atol=1e-9)

    @nnx.jit
    def tower(model, x):
        y = model.stem(x)
        for stage in model.tower:
            y = stage(y)
        return y[:, ::96, ::96]

    made = tower(model, jnp.asarray(x[:, : 101 * 128]))
    np.testing.assert_allclose(made.swapaxes(1, 2), arrays["out:conv_subsample"][:, :, :2], rtol=1e-4, atol=2e-5)


@pytest.mark.slow
def test_golden_full_size_network(full_size):
    model, x, arrays, _ = full_size
    out = run(model, jnp.asarray(x), jnp.zeros(x.shape[:2]))
    np.testing.assert_allclose(out.values.swapaxes(1, 2), arrays["out:pred"], rtol=0, atol=2e-5)
    made = out.intermediates["tower_5"][:, ::96, ::96].swapaxes(1, 2)
    np.testing.assert_allclose(made, arrays["out:conv_subsample"], rtol=1e-4, atol=2e-5)
    made = out.intermediates["encoder_7"][:, ::96, ::96]
    np.testing.assert_allclose(made, arrays["out:transformer_subsample"], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def small():
    """A network with statistics of its own, one-hot windows and their conservation."""
    model, random = Epiformer(SMALL, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    for norm in (model.stem.pointwise.norm, model.head.norm):
        norm.mean[...] = jnp.asarray(random.normal(size=norm.mean.shape), jnp.float32)
    model.eval()
    x = np.eye(4, dtype=np.float32)[random.integers(0, 4, (4, 64))]
    return model, jnp.asarray(x), jnp.asarray(random.random((4, 64)), jnp.float32)


def with_config(model, **changes):
    """The same weights in a network with another config."""
    other = Epiformer(dataclasses.replace(model.config, **changes), rngs=nnx.Rngs(1))
    nnx.update(other, nnx.state(model))
    other.eval()
    return other


def test_bfloat16_changes_little_and_parameters_stay_float32(small):
    model, x, conservation = small
    whole, half = (called(m, x, conservation) for m in (model, with_config(model, dtype="bfloat16")))
    assert half.values.dtype == jnp.float32 and half.trunk.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.values, whole.values, rtol=0.1, atol=0.05)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(with_config(model, dtype="bfloat16")))} == {"float32"}


def training_step(model, x, conservation, rng):
    """Loss, gradients and the new statistics of one step in training mode."""

    @nnx.jit
    def step(model, x, conservation):
        model.train()
        loss = nnx.value_and_grad(lambda model: (model(x, conservation, rng=rng).values ** 2).mean())(model)
        return loss, nnx.state(model, nnx.BatchStat)

    return step(nnx.clone(model), x, conservation)


def test_remat_gives_the_same_step(small):
    model, x, conservation = small
    one, other = (training_step(m, x, conservation, jax.random.key(3)) for m in (model, with_config(model, remat=True)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, other)


def test_dropout_acts_with_a_key_alone_and_before_the_softplus(small):
    model, x, conservation = small
    heavy = with_config(model, head_dropout=0.5)
    plain, again, dropped = (
        np.asarray(called(heavy, x, conservation, key).values) for key in (None, None, jax.random.key(0))
    )
    np.testing.assert_array_equal(plain, again)
    share = np.isclose(dropped, np.log(2), rtol=0, atol=1e-6).mean()
    assert 0.3 < share < 0.7 and not np.isclose(plain, np.log(2), rtol=0, atol=1e-6).any()


def test_conservation_multiplies_bases_by_its_exponential(small):
    model, x, conservation = small
    one = called(model, x, conservation).values
    gated, plain = called(model, x * jnp.exp(conservation)[..., None], None).values, called(model, x, None).values
    np.testing.assert_allclose(one, gated, rtol=1e-5)
    assert np.abs(one - plain).max() > 1e-3


def test_sizes_that_make_no_network_are_refused():
    for sizes, told in (
        ({"kind": "counts"}, "kind is 'counts'"),
        ({"position_attention": "absolute"}, "position_attention is 'absolute'"),
        ({"num_heads": 5}, "the 5 heads of config.model.num_heads divide"),
        ({"window": 98_300}, "multiples of 128 bp"),
        ({"window": 131_072}, r"1024 positions, but config.model.embed_size allows 768"),
        ({"embed_size": 1536, "window": 131_072}, "config.model.max_len allows 768"),
        ({"window": 16_384}, "crop_size = 64 at both ends leave none"),
    ):
        with pytest.raises(JaxepiError, match=told):
            EpiformerConfig(**sizes)
    with pytest.raises(JaxepiError, match=r"one-hot input of shape \(batch, length, 4\), but got \(1, 4, 128\)"):
        Epiformer(SMALL, rngs=nnx.Rngs(0))(jnp.zeros((1, 4, 128)))
