import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.layers.torch_like import sinusoid
from jaxepi.systems.chromoformer.layers import Stream, masked_softmax
from jaxepi.systems.chromoformer.model import INPUTS, Chromoformer, ChromoformerConfig

TINY = ChromoformerConfig(
    marks=3, bin_sizes=(400, 100), width=12, embedding_layers=2, embedding_hidden=10, pairwise_hidden=14,
    regulation_layers=2, regulation_heads=4, regulation_inner=16, regulation_hidden=10, head_width=8,
)  # fmt: skip


def golden_model(arrays, **options):
    weights = {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}
    return jaxepi.from_pretrained("chromoformer", weights, **options)


def golden_inputs(arrays, prefix="in:"):
    inputs = {name: {} for name in INPUTS[:5]}
    for key in arrays.files:
        name, _, size = key.removeprefix(prefix).partition("/")
        if key.startswith(prefix) and name in inputs:
            inputs[name][int(size)] = arrays[key]
    return inputs | {"interaction_freq": arrays[f"{prefix}interaction_freq"]}


@nnx.jit
def run(model, inputs):
    return model(inputs, intermediates=True)


def random_inputs(config, genes=3, contacts=4, bins=8, seed=0):
    """Genes with 0, 1, ... contacts whose regions cover part of the bins."""
    random = np.random.default_rng(seed)
    inputs = {name: {} for name in INPUTS[:5]}
    used = np.arange(contacts + 1)[None] <= np.arange(genes)[:, None]
    for number, size in enumerate(config.bin_sizes):
        n = bins * (number + 1)
        place = np.arange(n)
        promoter = (place >= random.integers(0, 2, genes)[:, None]) & (place < n - 1)
        first = random.integers(0, n // 2, (genes, contacts, 1))
        pcre = (place >= first) & (place < first + random.integers(1, n // 2, (genes, contacts, 1))) & used[:, 1:, None]
        inputs["promoter_feats"][size] = random.random((genes, 1, n, config.marks), np.float32)
        inputs["promoter_pad_masks"][size] = ~(promoter[:, None, None, :, None] & promoter[:, None, None, None])
        inputs["pcre_feats"][size] = random.random((genes, contacts, n, config.marks), np.float32)
        inputs["pcre_pad_masks"][size] = ~(promoter[:, None, None, :, None] & pcre[:, :, None, None])
        inputs["interaction_masks"][size] = ~(used[:, None, :, None] & used[:, None, None])
    frequency = np.zeros((genes, contacts + 1, contacts + 1), np.float32)
    frequency[:, 0, 1:] = 1 + random.random((genes, contacts))
    return inputs | {"interaction_freq": np.where(used[:, None], frequency, 0)}


@pytest.mark.parametrize("file", ["model_clf.npz", "model_reg.npz"])
@pytest.mark.parametrize("full", [False, True])
def test_golden_outputs_in_float32(golden, file, full):
    arrays = golden("chromoformer", file)
    values = run(golden_model(arrays, full_evaluation=full), golden_inputs(arrays)).values
    np.testing.assert_allclose(values, arrays["out:output"], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("file", ["model_clf.npz", "model_reg.npz"])
def test_golden_activations_in_float64(golden, file):
    arrays = golden("chromoformer", file)
    with jax.enable_x64(True):
        model = golden_model(arrays, full_evaluation=True, empty_rows="uniform", dtype="float64")
        outputs = run(model, golden_inputs(arrays))
        short = run(golden_model(arrays, dtype="float64"), golden_inputs(arrays)).values
        projected = model.embedding[0].project(golden_inputs(arrays)["promoter_feats"][2000][:, 0])
    seen, same = outputs.intermediates, {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(outputs.values, arrays["out:output"], **same)
    np.testing.assert_allclose(short, arrays["out:output"], **same)
    compared = 0
    for key in arrays.files:
        name, _, size = key.removeprefix("out:").partition("/")
        if not key.startswith("out:") or name in ("output", "prob_softmax", "prob_sigmoid_demo"):
            continue
        if name == "embed_lin_proj":
            value = projected
        elif name == "embed_tss":
            value = seen[f"embedding/{size}"][:, [arrays[f"in:promoter_feats/{size}"].shape[2] // 2]]
        elif name == "embed_full":
            value = seen[f"embedding/{size}"][:, None]
        elif name.endswith("_layer0_att"):
            value = seen[f"{name.removesuffix('_layer0_att').replace('embed', 'embedding')}_attended/{size}/0"]
        else:
            value = seen[f"{name}/{size}" if size else name]
        np.testing.assert_allclose(np.reshape(value, arrays[key].shape), arrays[key], err_msg=key, **same)
        compared += 1
    assert compared == 17


def test_a_padded_bin_of_the_original_averages_everything(golden):
    """The golden promoter of 5 bins is whole, but genes without a contact have fully masked rows."""
    arrays = golden("chromoformer", "model_clf.npz")
    inputs = golden_inputs(arrays)
    empty = np.asarray(inputs["pcre_pad_masks"][500]).all(axis=(2, 3, 4))
    assert empty.any() and not empty.all()
    for how, expected in (("uniform", 1 / inputs["pcre_feats"][500].shape[2]), ("zero", 0.0)):
        seen = run(golden_model(arrays, empty_rows=how), inputs).intermediates
        np.testing.assert_allclose(seen["pairwise_attention/500/0"][empty], expected, rtol=1e-6)


def both_ways(config):
    model = Chromoformer(config, rngs=nnx.Rngs(1))
    full = Chromoformer(dataclasses.replace(config, full_evaluation=True), rngs=nnx.Rngs(1))
    return model, full


@pytest.mark.parametrize("empty_rows", ["zero", "uniform"])
def test_the_centre_bin_evaluation_gives_the_numbers_of_the_full_one(empty_rows):
    inputs = random_inputs(TINY)
    model, full = both_ways(dataclasses.replace(TINY, empty_rows=empty_rows))
    np.testing.assert_allclose(run(model, inputs).values, run(full, inputs).values, rtol=1e-5, atol=1e-6)


def test_the_centre_bin_evaluation_gives_the_gradients_of_the_full_one():
    config = dataclasses.replace(TINY, bin_sizes=(100,), pairwise_layers=1)
    inputs = random_inputs(config)

    @nnx.jit
    def gradient(model):
        return nnx.grad(lambda m: (m(inputs).values ** 2).sum())(model)

    ours, theirs = (nnx.to_flat_state(gradient(model)) for model in both_ways(config))
    for (path, short), (_, whole) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(short[...], whole[...], rtol=1e-4, atol=1e-5, err_msg=str(path))


def test_attention_weights_are_those_of_the_full_evaluation_at_the_centre():
    inputs = random_inputs(TINY)
    model, full = both_ways(TINY)
    short, whole = (run(m, inputs).intermediates for m in (model, full))
    for number, size in enumerate(TINY.bin_sizes):
        centre = 4 * (number + 1)
        for layer in range(2):
            np.testing.assert_allclose(
                short[f"pairwise_attention/{size}/{layer}"],
                whole[f"pairwise_attention/{size}/{layer}"][:, :, :, centre],
                rtol=1e-5,
                atol=1e-6,
            )
        weights = short[f"regulation_attention/{size}/1"]
        assert weights.shape == (3, 4, 1, 5)
        np.testing.assert_allclose(weights, whole[f"regulation_attention/{size}/1"][:, :, :1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
        np.testing.assert_array_equal(weights[0, ..., 1:], 0)  # the first gene has no contact


def test_one_row_of_a_pad_mask_serves_for_all():
    inputs = random_inputs(TINY)
    model, full = both_ways(TINY)
    centre = {
        **inputs,
        **{
            name: {size: mask[..., [mask.shape[-2] // 2], :] for size, mask in inputs[name].items()}
            for name in ("promoter_pad_masks", "pcre_pad_masks")
        },
    }
    for one in (model, full):
        np.testing.assert_allclose(run(one, centre).values, run(model, inputs).values, rtol=1e-5, atol=1e-6)


def test_what_padding_and_absent_contacts_hold_changes_nothing():
    inputs = random_inputs(TINY)
    model = Chromoformer(TINY, rngs=nnx.Rngs(1))
    noisy = {name: dict(value) if isinstance(value, dict) else value for name, value in inputs.items()}
    for size in TINY.bin_sizes:
        centre = inputs["promoter_feats"][size].shape[2] // 2
        masked = inputs["pcre_pad_masks"][size][:, :, 0, centre]
        noisy["pcre_feats"][size] = np.where(masked[..., None], 50.0, inputs["pcre_feats"][size])
        masked = inputs["promoter_pad_masks"][size][:, :, 0, centre]
        noisy["promoter_feats"][size] = np.where(masked[..., None], -50.0, inputs["promoter_feats"][size])
    np.testing.assert_allclose(run(model, noisy).values, run(model, inputs).values, rtol=1e-6, atol=1e-6)


def test_without_contacts_only_the_promoter_counts():
    values = run(Chromoformer(TINY, rngs=nnx.Rngs(1)), random_inputs(TINY, contacts=0)).values
    assert values.shape == (3, 2) and np.isfinite(values).all()


def test_bfloat16_is_close_and_parameters_stay_float32():
    config = dataclasses.replace(TINY, dtype="bfloat16")
    model, reference = Chromoformer(config, rngs=nnx.Rngs(1)), Chromoformer(TINY, rngs=nnx.Rngs(1))
    inputs = random_inputs(TINY)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}
    values, expected = run(model, inputs).values, run(reference, inputs).values
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, atol=0.1)
    assert not np.array_equal(values, expected)


def test_only_what_is_trained_is_a_parameter():
    model = Chromoformer(ChromoformerConfig(), rngs=nnx.Rngs(0))
    everything = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model)))
    trained = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    kept = 3 * (1 * (2 + 2 * 2) + 2 * 2 + 2 * 128 + 6 * 8 * 2)
    assert (everything, everything - trained) == (5_342_672, kept)


def test_stream_never_builds_what_it_stands_for():
    random = np.random.default_rng(0)
    stream = Stream(*(jnp.asarray(random.normal(size=shape)) for shape in ((2, 5, 3), (3, 4), (5, 4))))
    x, query, weights = stream.dense(), random.normal(size=(2, 6, 4)), random.random((2, 6, 5))
    np.testing.assert_allclose(
        stream.scores(jnp.asarray(query)), np.einsum("bhe,bne->bhn", query, x), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        stream.mixture(jnp.asarray(weights)), np.einsum("bhn,bne->bhe", weights, x), rtol=1e-4, atol=1e-5
    )


def test_masked_softmax_by_hand():
    scores, mask = jnp.log(jnp.array([[1.0, 3.0, 4.0]] * 2)), jnp.array([[False, False, True], [True, True, True]])
    np.testing.assert_allclose(masked_softmax(scores, mask, "zero"), [[0.25, 0.75, 0], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(masked_softmax(scores, mask, "uniform")[1], [1 / 3] * 3, rtol=1e-6)


def test_sinusoid_by_hand():
    table = sinusoid(3, 4)
    np.testing.assert_allclose(table[2], [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)], rtol=1e-6)
    assert table.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("interaction_freq"), "interaction_freq is missing"),
        (lambda x: x["pcre_feats"].pop(400), r"pcre_feats has the bin sizes \[100\]"),
        (lambda x: x["pcre_feats"].update({100: np.zeros((3, 4, 15, 3))}), r"pcre_feats\[100\] has the shape"),
        (lambda x: x["promoter_feats"].update({100: np.zeros((3, 1, 16, 7))}), "3 marks .* was expected"),
        (lambda x: x["promoter_pad_masks"].update({100: np.zeros((3, 1, 1, 3, 16))}), r"promoter_pad_masks\[100\] has"),
    ],
)
def test_inputs_that_do_not_fit_are_named(change, message):
    inputs = random_inputs(TINY)
    change(inputs)
    with pytest.raises(JaxepiError, match=message):
        Chromoformer(TINY, rngs=nnx.Rngs(0))(inputs)


@pytest.mark.parametrize(("field", "value"), [("empty_rows", "zeros"), ("bin_sizes", (100, 100)), ("bin_sizes", ())])
def test_configs_that_do_not_fit(field, value):
    with pytest.raises(JaxepiError, match=f"config.model.{field} is"):
        ChromoformerConfig(**{field: value})


def test_more_heads_than_the_width_that_they_share_are_refused():
    with pytest.raises(JaxepiError, match=r"regulation_heads is 8, but config\.model\.regulation_inner, .* is 4; take"):
        ChromoformerConfig(regulation_inner=4)
