"""Attention of genes: against the golden activations, the full evaluation, and models whose attention is known."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from flax import nnx
from toys import gene_data
from toys.gene_data import MANIFEST, SIZES, WIDTH, Data, R, gene

import jaxepi
from jaxepi.systems.chromoformer.attention import attend, of_genes
from jaxepi.systems.chromoformer.model import INPUTS, Chromoformer
from jaxepi.systems.chromoformer.task import ChromoformerObjective

HEADS = {"embedding": 2, "pairwise": 2, "regulation": 4}


@nnx.jit(static_argnums=1)
def attention(model, task, batch):
    return attend(model, task, batch)


def attended(predictor, records):
    task = predictor.for_dataset(MANIFEST)
    found = jax.tree.map(np.asarray, attention(predictor.model, task, task.collate(records)))
    return found, of_genes(records, found, task)


@pytest.fixture(scope="module")
def ordinary():
    """A model with random weights, its genes and what it attends to."""
    predictor, records = gene_data.predictor({"empty_rows": "uniform"}), Data().split("fold1+fold2")
    return predictor, records, *attended(predictor, records)


def test_every_row_adds_up_to_one_and_what_is_not_there_gets_nothing(ordinary):
    _, records, found, _ = ordinary
    there = np.array([np.arange(5) < len(record["score"]) for record in records])
    assert 0 < there.sum() < there.size
    for size in SIZES:
        bins = WIDTH // size
        assert found.promoter[size].shape == (8, HEADS["embedding"], bins)
        assert found.contacts[size].shape == (8, 5, 2, HEADS["pairwise"], bins)
        assert found.regulation[size].shape == (8, 2, HEADS["regulation"], 6)
        np.testing.assert_allclose(found.promoter[size].sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(found.regulation[size].sum(-1), 1, rtol=1e-5)
        sums = found.contacts[size].sum(-1)
        np.testing.assert_allclose(sums[there], 1, rtol=1e-5)
        np.testing.assert_array_equal(sums[~there], 0)
        np.testing.assert_array_equal(np.moveaxis(found.regulation[size][..., 1:], -1, 1)[~there], 0)
        for row, record in enumerate(records):
            for contact, length in enumerate(record["pcre_length"]):
                assert np.count_nonzero(found.contacts[size][row, contact, 0, 0]) == -(-length // size)
    np.testing.assert_array_equal(found.effect[~there], 0)


def test_the_full_evaluation_gives_the_same(ordinary):
    predictor, records, found, _ = ordinary
    config = dataclasses.replace(predictor.model.config, full_evaluation=True)
    full = gene_data.predictor_of(Chromoformer(config, rngs=nnx.Rngs(1)), predictor.task.objective, source="full")
    whole, _ = attended(full, records)
    for short, all_bins in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(short, all_bins, rtol=1e-4, atol=1e-6)


def test_the_effect_of_a_contact_is_the_prediction_minus_that_of_the_gene_without_it(ordinary):
    predictor, records, found, genes = ordinary
    record = records[5]
    places = np.cumsum([0, *(-(-record["pcre_length"] // R))])
    shorter = gene_data.Records()
    for number in range(5):
        rest = np.delete(np.arange(5), number)
        sums = np.concatenate([record["pcre_sum"][places[i] : places[i + 1]] for i in rest])
        shorter.append(record | {"pcre_length": record["pcre_length"][rest], "score": record["score"][rest],
                                 "pcre_sum": sums})  # fmt: skip
    expected = found.prediction[5] - predictor.predict(shorter)
    np.testing.assert_allclose(found.effect[5], expected[:, 0, 0], atol=1e-6)
    assert np.abs(expected).max() > 1e-5
    assert [contact.effect for contact in genes[5].contacts] == pytest.approx(
        [found.effect[5][contact.number] for contact in genes[5].contacts]
    )


def norm(x, scale, shift):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def after_attention(weights, name, x, keys, attention, parts):
    """What follows an attention layer by the original's formula: x (B, E), keys (B, n, E), attention (B, H, n)."""
    own = {part: weights[f"{name}.self_att.{part}"] for part in ("ff.weight", "ff.bias", "ln.weight", "ln.bias")}
    heads, size = attention.shape[1], own["ff.weight"].shape[1] // attention.shape[1]
    projection = weights[f"{name}.self_att.{'c_att' if parts == 2 else 'att'}.weight"]
    chunks = np.split(projection, parts)
    value = (keys @ chunks[1 if parts == 2 else 2].T).reshape(*keys.shape[:2], heads, size)
    mixed = np.einsum("bhn,bnhd->bhd", attention, value).reshape(len(x), -1)
    if parts == 4:
        mixed = mixed / (1 + np.exp(-(x @ chunks[3].T)))
    return norm(x + mixed @ own["ff.weight"].T + own["ff.bias"], own["ln.weight"], own["ln.bias"])


@pytest.mark.parametrize("file", ["model_clf.npz", "model_reg.npz"])
def test_the_weights_give_the_golden_activations(golden, file):
    """The values of the original's layers are mixed with our weights: its activations must come out."""
    arrays = golden("chromoformer", file)
    weights = {key[6:]: arrays[key].astype(np.float64) for key in arrays.files if key.startswith("param:")}
    inputs = {name: {size: arrays[f"in:{name}/{size}"] for size in (2000, 500, 100)} for name in INPUTS[:5]}
    inputs["interaction_freq"] = arrays["in:interaction_freq"]
    model = jaxepi.from_pretrained("chromoformer", {key: array.astype(np.float32) for key, array in weights.items()})
    target = "label" if model.config.outputs == 2 else "expression"
    task = types.SimpleNamespace(
        prepare=lambda batch, rng, train: (inputs, None), objective=ChromoformerObjective(target=target)
    )
    absent = inputs["pcre_pad_masks"][2000].all(axis=(2, 3, 4))
    found = jax.tree.map(np.asarray, jax.jit(lambda there: attend(model, task, {"pcre_length": there}))(~absent))
    genes, contacts, centre = (*absent.shape, 2)
    table = sinusoid64(5, 24)
    own = inputs["promoter_feats"][2000][:, 0] @ weights["embed.2000.lin_proj.weight"].T + table
    layer = after_attention(
        weights, "embed.2000.transformer.layers.0", own[:, centre], own, found.promoter[2000], parts=3
    )
    np.testing.assert_allclose(layer, arrays["out:embed_layer0_att/2000"][:, centre], atol=2e-5)

    tss = arrays["out:embed_tss/2000"][:, 0] @ weights["pairwise_interaction.2000.lin_proj_p.weight"].T
    others = inputs["pcre_feats"][2000] @ weights["pairwise_interaction.2000.lin_proj_pcre.weight"].T + table
    layer = after_attention(
        weights,
        "pairwise_interaction.2000.transformer.layers.0",
        np.repeat(tss, contacts, axis=0),
        others.reshape(genes * contacts, 5, -1),
        found.contacts[2000][:, :, 0].reshape(genes * contacts, -1, 5),
        parts=2,
    )
    golden_layer = arrays["out:pairwise_layer0_att/2000"][:, centre]
    np.testing.assert_allclose(layer[~absent.ravel()], golden_layer[~absent.ravel()], atol=2e-5)

    for size in (2000, 500, 100):
        tokens = np.concatenate([arrays[f"out:embed_tss/{size}"], arrays[f"out:pairwise/{size}"]], axis=1)
        layer = after_attention(
            weights,
            f"regulation.{size}.transformer.layers.0",
            tokens[:, 0],
            tokens,
            found.regulation[size][:, 0],
            parts=4,
        )
        np.testing.assert_allclose(layer, arrays[f"out:regulation_layer0_att/{size}"][:, 0], atol=2e-5)


def sinusoid64(length, width):
    rate = np.exp(-np.log(10000.0) * np.arange(0, width, 2) / width)
    angle = np.arange(length)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, width)


def planted_model(predictor):
    """Regulation scores are the contacts' frequencies alone, pairwise scores the first mark of a bin alone."""
    model = predictor.model
    for number in range(len(SIZES)):
        for layer in model.regulation[number].transformer.layers:
            layer.projections[0].kernel.set_value(layer.projections[0].kernel[...] * 0)
        pairwise = model.pairwise[number]
        mark = np.zeros((2, 12), np.float32)
        mark[0, 0] = 1000.0  # far more than the positions of bins add
        pairwise.project_pcre.kernel.set_value(mark)
        pairwise.project_promoter.kernel.set_value(np.zeros((12, 12), np.float32))
        for layer in pairwise.layers:
            query, key_value = (np.zeros(layer.projections[i].kernel.shape, np.float32) for i in range(2))
            query[0], key_value[0, :12] = 1.0, 1.0  # both heads compare the first place of query and key
            layer.projections[0].kernel.set_value(query)
            layer.projections[1].kernel.set_value(key_value)
            # nothing of the contact comes back, and what leaves a norm has 1 at its first place
            layer.out.kernel.set_value(layer.out.kernel[...] * 0)
            for part in (layer.norm, layer.feed_forward.norm):
                part.scale.set_value(part.scale[...] * 0)
                part.bias.set_value(np.eye(12, dtype=np.float32)[0])
    return gene_data.predictor_of(model, predictor.task.objective, source="planted")


@pytest.mark.parametrize("minus", [0, 1])
def test_planted_contacts_are_ranked_and_placed(minus):
    """A peak in each contact and scores that differ: ranks, weights, distances and strongest bins are known."""
    record = gene(5, minus=minus)
    record["score"] = np.array([2.0, 3.5, 2.5, 3.0, 1.5], np.float32)
    first, peaks = 0, []
    for number, length in enumerate(record["pcre_length"]):
        stretches = -(-int(length) // R)
        peak = stretches * (number + 1) // 7
        record["pcre_sum"][first : first + stretches, 0] = 5
        record["pcre_sum"][first + peak, 0] = 5000
        peaks.append(peak * R)
        first += stretches
    predictor = gene_data.predictor()
    planted = planted_model(predictor)
    (found,) = attended(planted, [record])[1]
    weights = np.exp([0, *record["score"]])
    weights /= weights.sum()
    assert [contact.number for contact in found.contacts] == [1, 3, 2, 0, 4]
    np.testing.assert_allclose(found.self_attention, weights[0], rtol=1e-5)
    regions = [text.rpartition(":") for text in record["neighbors"].split(";")]
    for contact in found.contacts:
        chrom, start, end = contact.region
        assert (chrom, f"{start}-{end}") == regions[contact.number][::2]
        np.testing.assert_allclose([contact.attention, *contact.by_size], weights[contact.number + 1], rtol=1e-5)
        along = (start + end) // 2 - 100_000
        assert contact.distance == (None if chrom == "chr2" else -along if minus else along)
        assert contact.score == record["score"][contact.number]
        low, bins = start + peaks[contact.number], -(-(end - start) // R)
        assert contact.strongest == (chrom, low, min(low + R, end))
        # the query of the first layer is 0 and takes all bins alike, that of the second sees the peak alone
        assert contact.strongest_attention == pytest.approx((1 + 1 / bins) / 2, rel=1e-3)
