"""Effects of base changes: closed forms, brute force, and parity of gradients with the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxepi
from jaxepi.analysis.filter_motifs import convolution
from jaxepi.analysis.mutagenesis import exact_effects, gradient_effects
from jaxepi.errors import JaxepiError
from jaxepi.sequence import one_hot

ACGT_TO_ATGC = [0, 3, 2, 1]


@pytest.fixture
def linear():
    """Outputs that are linear in the sequence: effects are differences of weights."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(9, 4, 3)).astype(np.float32)
    codes = rng.integers(0, 4, (5, 9)).astype(np.uint8)
    codes[0, 3] = 4
    return lambda dna: jnp.einsum("blc,lck->bk", dna, weights), weights, codes


@pytest.mark.parametrize("batch_size", [2, 128])
def test_linear_models(linear, batch_size):
    predict, weights, codes = linear
    gradient = gradient_effects(predict, codes, batch_size=batch_size)
    np.testing.assert_allclose(gradient, np.broadcast_to(weights.mean(axis=2), (5, 9, 4)), rtol=1e-5)
    exact = exact_effects(predict, codes, target=1, batch_size=batch_size)
    hot = one_hot(codes, n_value=0.0)
    there = np.einsum("blc,lc->bl", hot, weights[:, :, 1])
    np.testing.assert_allclose(exact, weights[None, :, :, 1] - there[:, :, None], atol=2e-6)
    np.testing.assert_allclose(exact_effects(predict, codes, target=1, width=3), exact[:, 3:6], atol=2e-6)


def test_gradient_approximates_the_exact_effect_of_a_small_model():
    rng = np.random.default_rng(1)
    weights = (rng.normal(size=(7, 4, 4)) * 0.01).astype(np.float32)
    codes = rng.integers(0, 4, (3, 7)).astype(np.uint8)
    others = [rng.normal(size=(3, 2)).astype(np.float32)]

    def predict(dna, other):
        return jax.nn.sigmoid(jnp.einsum("blc,lck->bk", dna, weights) + other.sum(axis=1, keepdims=True))

    for target in ("mean", "var"):
        exact = exact_effects(predict, codes, others, target)
        gradient = gradient_effects(predict, codes, others, target)
        hot = one_hot(codes)
        difference = gradient - (gradient * hot).sum(axis=2, keepdims=True)
        np.testing.assert_allclose(exact, difference, atol=2e-4 if target == "mean" else 2e-5)
        for site in range(3):  # brute force
            for place, base in ((0, 0), (3, 2), (6, 1)):
                changed = hot[[site]].copy()
                changed[0, place] = np.eye(4)[base]
                reduce = np.mean if target == "mean" else np.var
                after = reduce(np.asarray(predict(changed, others[0][[site]]), np.float64))
                before = reduce(np.asarray(predict(hot[[site]], others[0][[site]]), np.float64))
                assert exact[site, place, base] == pytest.approx(after - before, abs=3e-7)


def test_nothing_and_wrong_targets(linear):
    predict, _, codes = linear
    assert gradient_effects(predict, codes[:0]).shape == exact_effects(predict, codes[:0]).shape == (0, 9, 4)
    with pytest.raises(JaxepiError, match="target is 'median': 'mean', 'var' or the number"):
        gradient_effects(predict, codes, target="median")


@pytest.fixture(scope="module")
def original(golden, golden_path):
    """The golden joint model, the inputs that it read, and what the original's tools gave."""
    folder = golden_path("deepcpg", "eval_pipeline")
    arrays = golden("deepcpg", "eval_pipeline/expected.npz")
    model = jaxepi.from_pretrained("deepcpg", folder / "model_weights.h5")
    inputs = {name: arrays[f"out:reader:batch0:inputs:{name}"] for name in ("dna", "cpg/state", "cpg/dist")}
    hot = inputs["dna"][..., ACGT_TO_ATGC]
    codes = np.where(hot.sum(axis=2) > 0, hot.argmax(axis=2), 4).astype(np.uint8)
    dna_model = jaxepi.from_pretrained("deepcpg", folder / "dna_model" / "model_weights.h5")
    return model, dna_model, codes, inputs["cpg/state"], inputs["cpg/dist"], arrays


@pytest.mark.parametrize("target", ["mean", "var"])
def test_gradients_of_the_original(original, target):
    model, _, codes, state, distance, arrays = original
    want = arrays[f"out:snp:{target}"][..., ACGT_TO_ATGC]
    assert len(want) <= len(codes)
    inputs = [state[: len(want)], distance[: len(want)]]
    got = gradient_effects(lambda *x: model(*x).cells, codes[: len(want)], inputs, target)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_activations_of_the_original(original):
    _, model, codes, _, _, arrays = original
    layer = model.dna.convs[0]
    got = convolution(layer.kernel[...], layer.bias[...])(codes[:8])
    np.testing.assert_allclose(got, arrays["out:filter_act:act"], atol=1e-5)
