"""The four heads against the original's classes, at reduced widths and with the released weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.layers.torch_like import softplus
from jaxepi.systems.cs282a.model import ConvPerceptron, Cs282a, Cs282aConfig, LinearProbe, SelfAttention

HEADS = {
    "linear": "probe",
    "conv": "conv_perceptron",
    "maxpool": "maxpool_perceptron",
    "transformer": "transformer",
}
SMALL = {"channels": 12, "bins": 6, "tracks": 3, "hidden": 5, "heads": 3}


@pytest.fixture(scope="module")
def small(golden):
    return golden("cs282a", "heads_small.npz")


def golden_model(arrays, head, **sizes):
    """One of the original's reduced heads."""
    start = f"param:{HEADS[head]}/"
    weights = {key.removeprefix(start): arrays[key] for key in arrays.files if key.startswith(start)}
    return jaxepi.from_pretrained("cs282a", weights, **sizes)


def run(model, x, **given):
    return jax.jit(lambda x: model(x, **given))(x)


@pytest.mark.parametrize("head", ["linear", "conv", "maxpool"])
def test_heads_compute_what_the_original_does(small, head):
    model = golden_model(small, head)
    out = run(model, small["in:embeddings"].astype(np.float32))
    expected = small[f"out:{HEADS[head]}"]
    expected = expected if head == "linear" else expected[:, None]
    assert out.values.dtype == np.float32
    np.testing.assert_allclose(out.values, expected, rtol=2e-5, atol=2e-5)
    if head != "linear":
        gelu = small[f"out:{HEADS[head]}/gelu1"].transpose(0, 2, 1)
        np.testing.assert_allclose(out.intermediates["gelu"], gelu, rtol=2e-5, atol=2e-5)


def test_the_transformer_attends_over_the_batch_or_along_the_genome(small):
    x = small["in:embeddings"].astype(np.float32)
    released = golden_model(small, "transformer")
    assert released.config.attention_axis == "batch"
    mixed, single = run(released, x, rows=jnp.ones(3)), run(released, x)
    along = run(golden_model(small, "transformer", attention_axis="sequence"), x)
    for out, name in ((mixed, "batched"), (single, "single"), (along, "batch_first")):
        np.testing.assert_allclose(out.values, small[f"out:transformer_{name}"], rtol=2e-5, atol=2e-5)
    expected = small["out:transformer_batched/attention"]
    np.testing.assert_allclose(mixed.intermediates["attended"], expected, rtol=2e-5, atol=2e-5)
    weights = mixed.intermediates["attention"].mean(axis=1)
    expected = small["out:transformer_batched/attention_weights_mean_over_heads"]
    np.testing.assert_allclose(weights, expected, rtol=2e-5, atol=2e-5)
    assert np.abs(mixed.values - single.values).max() > 1e-3 < np.abs(along.values - single.values).max()


def test_padding_rows_are_seen_by_no_example_of_the_batch(small):
    x = small["in:embeddings"].astype(np.float32)
    model = golden_model(small, "transformer")
    padded = np.concatenate([x, np.full_like(x[:1], 7.0)])
    out = run(model, padded, rows=jnp.array([1.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(out.values[:3], small["out:transformer_batched"], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("head", "file"), [("linear", "linear_probe"), ("maxpool", "maxpool_perceptron")])
def test_released_weights_predict_what_the_original_does(golden, released_file, head, file):
    arrays = golden("cs282a", "official_weights.npz")
    if head == "linear":
        x, expected = arrays["in:probe_embeddings"], arrays["out:probe"]
    else:
        x, expected = (
            arrays["in:maxpool_embeddings_x16_int8"] / np.float16(16),
            arrays["out:maxpool_perceptron"][:, None],
        )
    path = released_file(file)
    predictor = jaxepi.load(path)
    assert predictor.system.name == "cs282a" and predictor.model.config.head == head
    assert predictor.tracks[9] == "GSM5669232_Liver" and len(predictor.tracks) == 18
    np.testing.assert_allclose(predictor.predict(x), expected, rtol=1e-4, atol=1e-3)
    named = jaxepi.load(path, system="cs282a", dtype="bfloat16")
    np.testing.assert_allclose(named.predict(x), expected, rtol=0.05, atol=0.1)


@pytest.fixture(scope="module")
def released_file():
    from pathlib import Path

    def find(start):
        folder = Path(__file__).parents[4] / "shared" / "data" / "cs282a"
        found = sorted(folder.glob(f"{start}*.pth*"))
        return found[0] if found else pytest.skip("the released weights are not beside the checkout")

    return find


def test_softplus_is_torchs():
    x = np.array([-30.0, 0.0, 19.0, 20.5, 60.0], np.float32)
    np.testing.assert_allclose(softplus(x), [9.357623e-14, 0.6931472, 19.0, 20.5, 60.0], rtol=1e-6)


def test_first_weights_are_spread_as_torch_spreads_them():
    rngs = nnx.Rngs(0)
    probe = LinearProbe(Cs282aConfig(), rngs=rngs).project
    assert np.std(probe.kernel[...]) == pytest.approx((2 / 1536) ** 0.5, rel=0.02)
    assert np.abs(probe.kernel[...]).max() > 3.5 * (2 / 1536) ** 0.5  # the normal distribution is not cut off
    assert not probe.bias[...].any()
    conv = ConvPerceptron(Cs282aConfig(head="conv", channels=64, hidden=20, bins=50), rngs=rngs)
    for layer, reads in ((conv.conv, 64), (conv.out, 1000)):
        for array in (layer.kernel[...], layer.bias[...]):
            assert 0.7 * reads**-0.5 < np.abs(array).max() <= reads**-0.5
    attention = SelfAttention(48, 6, 0.2, dtype=jnp.float32, rngs=rngs)
    assert np.abs(attention.project.kernel[...]).max() == pytest.approx((6 / (4 * 48)) ** 0.5, rel=0.01)
    assert not attention.project.bias[...].any()


def test_bfloat16_and_remat_change_little():
    x = np.random.default_rng(0).normal(size=(2, 6, 12)).astype(np.float16)

    def model(**options):
        return Cs282a(Cs282aConfig(head="transformer", **SMALL, **options), rngs=nnx.Rngs(1))

    def gradient(**options):
        graph, state = nnx.split(model(**options))
        return jax.tree.leaves(jax.jit(jax.grad(lambda s: nnx.merge(graph, s)(x).values.mean()))(state))

    for one, other in zip(gradient(remat=True), gradient(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    narrow = run(model(dtype="bfloat16"), x).values
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, run(model(), x).values, rtol=0.05, atol=0.03)


def test_dropout_acts_only_with_a_key():
    model = Cs282a(Cs282aConfig(head="transformer", **SMALL), rngs=nnx.Rngs(1))
    x = np.random.default_rng(0).normal(size=(2, 6, 12)).astype(np.float32)
    dropped = jax.jit(lambda key: model(x, rng=key).values)
    plain, one, other = run(model, x).values, dropped(jax.random.key(0)), dropped(jax.random.key(1))
    assert np.abs(one - plain).max() > 0 < np.abs(one - other).max()


def test_wrong_sizes_are_told():
    with pytest.raises(JaxepiError, match=r"config.model.head is 'max' .*did you mean 'maxpool'"):
        Cs282aConfig(head="max")
    with pytest.raises(JaxepiError, match="config.model.attention_axis is 'bins', but must be one of"):
        Cs282aConfig(attention_axis="bins")
    with pytest.raises(JaxepiError, match="config.model.heads is 5, which does not divide the 12 channels"):
        Cs282aConfig(head="transformer", channels=12, heads=5)
    model = Cs282a(Cs282aConfig(head="conv", **SMALL), rngs=nnx.Rngs(0))
    with pytest.raises(JaxepiError, match="made for 6 bins, but the embeddings have 7"):
        model(np.zeros((1, 7, 12), np.float32))
    with pytest.raises(JaxepiError, match=r"Embeddings \(B, T, 12\) were expected"):
        model(np.zeros((1, 6, 13), np.float32))


def test_official_sizes(golden_path):
    from jaxepi.pretrained.table import original_shapes
    from jaxepi.systems.cs282a import SYSTEM

    official = json.loads(golden_path("cs282a", "official_checkpoint.json").read_text())["checkpoints"]
    names = {"linear": "linear_probe", "conv": "conv_perceptron", "maxpool": "maxpool_perceptron"}
    for head in HEADS:
        own = official[names.get(head, head)]
        config = Cs282aConfig(head=head)
        shapes = original_shapes(SYSTEM.abstract(config), SYSTEM.weights.table(config))
        assert shapes == {name: tuple(told["shape"]) for name, told in own["weights"].items()}
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == own["total_parameters"]
