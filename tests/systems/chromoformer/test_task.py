import dataclasses
import functools
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toys.demo_genes import MARKS, make_task, record

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.systems.chromoformer.bins import Layout, contact_bins, promoter_bins
from jaxepi.systems.chromoformer.model import INPUTS, ChromoformerOutputs
from jaxepi.train.optimizer import OptimizerConfig, make_optimizer, make_schedule

PARITY = {"centre_tss": False, "orient_pcres": False, "more_pcres": "refuse"}
QUICK = {"xla_backend_optimization_level": "0"}  # compiled in half the time
TINY = {"bin_sizes": (1000, 400, 250), "full_evaluation": True}


def prepared(task, records):
    return jax.jit(lambda batch: task.prepare(batch, jax.random.key(0), False))(task.collate(records))


def gene(contacts=2, minus=0, seed=0, marks=2):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 2000, contacts)
    return {
        "key": f"G{seed}",
        "minus": minus,
        "expression": 3.0,
        "label": seed % 2,
        "promoter_sum": random.integers(0, 900, (40, marks)).astype(np.float32),
        "promoter_span": np.array([0, 4000]),
        "pcre_length": lengths,
        "pcre_sum": random.integers(0, 900, (sum(-(-lengths // 100)), marks)).astype(np.float32),
        "score": 3.0 - np.arange(contacts, dtype=np.float32) / 10,
    }


def small_task(**task):
    model = {"bin_sizes": (400, 100), "width": 8, "regulation_inner": 8, "regulation_layers": 1, "head_width": 4}
    task = {"promoter_width": 4000, "region_width": 4000, "max_pcres": 3, **task}
    return make_task(model, task, marks=["a", "b"], promoter_length=4000)


def compare_items(arrays, genes, inputs):
    for row, name in enumerate(genes):
        keys = [key for key in arrays.files if key.startswith(f"out:{name}/") and "label" not in key]
        assert len(keys) == 1 + 5 * 3
        for key in keys:
            _, what, *size = key.split("/")
            value = inputs[what][int(size[0])][row] if size else inputs[what][row]
            if "mask" in what:
                np.testing.assert_array_equal(value, arrays[key], err_msg=key)
            else:
                np.testing.assert_allclose(value, arrays[key], rtol=1e-5, atol=1e-6, err_msg=key)


def compare_targets(arrays, genes, task, records):
    """Both targets of the golden genes."""
    for target, suffix, rtol in (("label", "label", 0), ("expression", "label_regression", 1e-6)):
        other = make_task({**TINY, "bin_sizes": task.model_config.bin_sizes}, dataclasses.asdict(task.objective)
                          | {"target": target}, marks=task.marks, resolution=task.resolution)  # fmt: skip
        targets = prepared(other, records)[1]
        expected = [float(arrays[f"out:{name}/{suffix}"]) for name in genes]
        np.testing.assert_allclose(targets["value"], expected, rtol=rtol)
        assert np.all(targets["counts"])


def test_golden_items_of_made_up_genes(golden):
    arrays = golden("chromoformer", "dataset_items_tiny.npz")
    columns = {key[8:]: arrays[key].astype(str) for key in arrays.files if key.startswith("in:meta/")}
    regions = {key[7:]: arrays[key] for key in arrays.files if key.startswith("in:npy/")}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    records = [record(row, regions, resolution=50) for row in rows]
    goal = {**PARITY, "max_pcres": 4, "promoter_width": 8000, "region_width": 10_000}
    task = make_task(TINY, goal, marks=["a", "b", "c"], resolution=50)
    compare_items(arrays, [row["gene_id"] for row in rows], prepared(task, records)[0])
    compare_targets(arrays, [row["gene_id"] for row in rows], task, records)


def test_golden_items_of_demo_genes(golden, demo_genes):
    arrays = golden("chromoformer", "dataset_items_demo.npz")
    genes = sorted({key[4:].split("/")[0] for key in arrays.files if key.startswith("out:")})
    records = demo_genes(genes)
    task = make_task({"full_evaluation": True}, PARITY)
    compare_items(arrays, genes, prepared(task, records)[0])
    compare_targets(arrays, genes, task, records)


def formula_weights(shapes, seed=2024):
    """Full-size weights of the golden recipe, by the leaf of the name."""
    random, weights = np.random.RandomState(seed), {}
    for name, shape in shapes.items():
        leaf = name.rpartition(".")[2]
        if leaf == "gamma_f":
            low, high = 0.5, 1.5
        elif leaf == "bias":
            low, high = -0.2, 0.2
        elif len(shape) == 1:
            low, high = 0.7, 1.3
        else:
            high = np.sqrt(3 / np.prod(shape[1:]))
            low = -high
        weights[name] = random.uniform(low, high, size=shape).astype(np.float32)
    return weights


def fingerprint(weights):
    return [(w.astype(np.float64).sum(), (w.astype(np.float64) ** 2).sum()) for w in weights.values()]


def full_size_shapes(outputs):
    from jaxepi.pretrained.table import original_shapes
    from jaxepi.systems.chromoformer import SYSTEM
    from jaxepi.systems.chromoformer.model import ChromoformerConfig

    config = ChromoformerConfig(outputs=outputs)
    return original_shapes(SYSTEM.abstract(config), SYSTEM.weights.table(config))


def values_of(weights, target, records):
    """Records through task and model with the given weights: the outputs (B, outputs) and the predictions."""
    task = make_task({}, {**PARITY, "target": target, "probability": "sigmoid"})
    model = jaxepi.from_pretrained("chromoformer", weights, empty_rows="uniform")

    @nnx.jit
    def run(model, batch):
        inputs, targets = task.prepare(batch, jax.random.key(0), False)
        outputs = task.apply(model, inputs)
        return outputs.values, task.predictions(outputs, targets)["prediction"][:, 0, 0]

    parts = [run(model, task.collate(records[i : i + 25])) for i in range(0, len(records), 25)]
    return tuple(np.concatenate([np.asarray(part[i]) for part in parts]) for i in range(2))


@pytest.mark.parametrize(("kind", "outputs", "target"), [("clf", 2, "label"), ("reg", 1, "expression")])
def test_full_size_formula_weights_on_demo_genes(golden, demo_genes, kind, outputs, target):
    arrays = golden("chromoformer", "full_size_formula_weights.npz")
    weights = formula_weights(full_size_shapes(outputs))
    np.testing.assert_allclose(fingerprint(weights), arrays[f"out:{kind}/weight_fingerprint"], rtol=1e-12)
    values, _ = values_of(weights, target, demo_genes(arrays["in:genes"].astype(str).tolist()))
    np.testing.assert_allclose(values, arrays[f"out:{kind}"], rtol=0, atol=2e-5)


def torch_weights(shapes, outputs):
    """What torch draws for the original's layers with seed 123."""
    pytest.importorskip("torch")
    path = Path(__file__).parents[3] / "benchmarks" / "torch_chromoformer.py"
    return runpy.run_path(str(path))["seeded_weights"](shapes, outputs)


@pytest.mark.parametrize(("kind", "outputs", "target"), [("clf", 2, "label"), ("reg", 1, "expression")])
def test_full_size_seed_123_on_all_demo_genes(golden, demo_genes, kind, outputs, target):
    arrays = golden("chromoformer", "full_size_seed123.npz")
    weights = torch_weights(full_size_shapes(outputs), outputs)
    np.testing.assert_allclose(fingerprint(weights), arrays[f"out:{kind}/weight_fingerprint"], rtol=1e-9, atol=1e-9)
    values, prediction = values_of(weights, target, demo_genes(arrays["in:genes"].astype(str).tolist()))
    assert len(values) == 100
    np.testing.assert_allclose(values, arrays[f"out:{kind}"], rtol=0, atol=5e-6)
    if kind == "clf":
        np.testing.assert_allclose(prediction, arrays["out:clf/prob_sigmoid"], rtol=0, atol=2e-6)
        np.testing.assert_allclose(prediction, arrays["out:published_random_prediction"], rtol=0, atol=2e-6)


def loop_inputs(arrays, batch):
    inputs = {name: {} for name in INPUTS[:5]}
    for key in arrays.files:
        name, _, size = key.removeprefix(f"in:batch{batch}/").partition("/")
        if key.startswith(f"in:batch{batch}/") and name in inputs:
            inputs[name][int(size)] = arrays[key]
    return inputs | {"interaction_freq": arrays[f"in:batch{batch}/interaction_freq"]}


@pytest.mark.parametrize(("kind", "target"), [("clf", "label"), ("reg", "expression")])
def test_golden_training_loop(golden, kind, target):
    """Three epochs of two batches: losses, learning rates, first gradient, final weights and validation loss."""
    arrays = golden("chromoformer", f"train_loop_{kind}.npz")
    initial = {key[11:]: arrays[key] for key in arrays.files if key.startswith("param:init/")}
    with jax.enable_x64(True):
        model = jaxepi.from_pretrained("chromoformer", initial, dtype="float64", empty_rows="uniform")
        task = small_task(target=target)
        config = OptimizerConfig(
            name="adamw", learning_rate=1e-3, weight_decay=0.01, schedule="step", decay_steps=2, decay_rate=0.87
        )
        optimizer, schedule = make_optimizer(config, 6), make_schedule(config, 6)
        graph, params, kept = nnx.split(model, nnx.Param, ...)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
        state = optimizer.init(params)

        @functools.partial(jax.jit, compiler_options=QUICK)
        def step(params, state, inputs, targets):
            def objective(params):
                outputs = nnx.merge(graph, params, kept)(inputs)
                return task.loss(outputs, targets)[0], outputs.values

            (loss, values), gradient = jax.value_and_grad(objective, has_aux=True)(params)
            updates, state = optimizer.update(gradient, state, params)
            return jax.tree.map(jnp.add, params, updates), state, loss, gradient, values

        batches = []
        for number in range(2):
            label = arrays[f"in:batch{number}/label"].astype(np.float64)
            batches.append((loop_inputs(arrays, number), {"value": label, "counts": np.ones(2, bool)}))
        rates = []
        for number in range(6):
            rates.append(float(schedule(number)))
            params, state, loss, gradient, _ = step(params, state, *batches[number % 2])
            np.testing.assert_allclose(loss, arrays["loss:per_step"][number], rtol=1e-6)
            if number == 0:
                compare_weights(arrays, "out:grad_step0/", graph, gradient, kept, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(rates[::2], arrays["out:learning_rates"], rtol=1e-6)
        compare_weights(arrays, "out:final/", graph, params, kept, rtol=1e-5, atol=1e-8)
        values = np.concatenate([step(params, state, *batch)[-1] for batch in batches])
    np.testing.assert_allclose(values, arrays["out:val_output"], rtol=1e-5, atol=1e-7)
    label = np.concatenate([targets["value"] for _, targets in batches])
    targets = {"value": jnp.asarray(label, jnp.float32), "counts": jnp.ones(4, bool)}
    outputs = ChromoformerOutputs(jnp.asarray(values, jnp.float32))

    def validation_loss(**task):
        task = small_task(target=target, **task)
        return task.summarize(task.metrics(outputs, targets))["loss_gene_flat"]

    if kind == "clf":
        np.testing.assert_allclose(validation_loss(), arrays["loss:val_as_coded"], rtol=1e-6)
    else:
        np.testing.assert_allclose(validation_loss(), arrays["loss:val_elementwise"], rtol=1e-6)
        np.testing.assert_allclose(validation_loss(validation_loss="all_pairs"), arrays["loss:val_as_coded"], rtol=1e-6)


def compare_weights(arrays, prefix, graph, params, kept, **tolerance):
    from jaxepi.pretrained.table import to_original
    from jaxepi.systems.chromoformer import SYSTEM

    model = nnx.merge(graph, params, kept)
    ours = to_original(model, SYSTEM.weights.table(model.config))
    expected = {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}
    assert len(expected) > 100
    for name, array in expected.items():
        np.testing.assert_allclose(ours[name], array, err_msg=name, **tolerance)


def test_padding_rows_and_unknown_labels_count_nowhere():
    for target in ("label", "expression"):
        task = small_task(target=target)
        unknown = gene(seed=3) | {"label": -1, "expression": np.nan}
        graph, weights = nnx.split(task.build_model(nnx.Rngs(0)))
        few, many = ([gene(seed=1), gene(seed=2)], [gene(seed=1), None, unknown, gene(seed=2)])

        @functools.partial(jax.jit, compiler_options=QUICK)
        def step(weights, batch, task=task, graph=graph):
            inputs, targets = task.prepare(batch, jax.random.key(0), False)
            outputs = task.apply(nnx.merge(graph, weights), inputs)
            return task.loss(outputs, targets)[0], task.metrics(outputs, targets)

        def evaluate(records, task=task, step=step, weights=weights):
            loss, metrics = step(weights, task.collate(records))
            return float(loss), task.summarize(metrics)["loss_gene_flat"]

        loss, validation = evaluate(few)
        assert np.isfinite(loss)
        np.testing.assert_allclose(evaluate(many), (loss, validation), rtol=1e-5)
        np.testing.assert_allclose(loss, validation, rtol=1e-5)


def test_the_best_contacts_are_kept_or_the_gene_refused():
    many = gene(contacts=5)
    batch = small_task().collate([many])
    np.testing.assert_array_equal(batch["pcre_length"][0], many["pcre_length"][:3])
    np.testing.assert_array_equal(batch["score"][0], many["score"][:3])
    n = -(-int(many["pcre_length"][0]) // 100)
    np.testing.assert_array_equal(batch["pcre"][0, 0, :n], many["pcre_sum"][:n])
    np.testing.assert_array_equal(batch["pcre"][0, 0, n:], 0)
    with pytest.raises(JaxepiError, match="Gene G0 has 5 contacts, more than config.task.max_pcres=3"):
        small_task(more_pcres="refuse").collate([many])
    with pytest.raises(
        JaxepiError, match="Gene G0 has a contact of 5000 bp, longer than config.task.region_width=4000"
    ):
        small_task().collate([gene() | {"pcre_length": np.array([5000, 10])}])


def test_marks_are_chosen_by_name():
    task = small_task(marks=("b",))
    assert task.model_config.marks == 1
    record = gene()
    np.testing.assert_array_equal(task.collate([record])["promoter"][0], record["promoter_sum"][:, 1:])
    with pytest.raises(JaxepiError, match="config.task.marks names 'c', but the dataset has a, b"):
        small_task(marks=("c",))


def test_without_contacts_nothing_but_the_promoter_is_read():
    task = small_task(max_pcres=0)
    inputs, _ = prepared(task, [gene(contacts=2), gene(contacts=0, seed=1)])
    assert inputs["pcre_feats"][100].shape == (2, 0, 40, 2)
    assert np.isfinite(task.apply(task.build_model(nnx.Rngs(0)), inputs).values).all()


def test_the_centre_row_of_the_masks_is_what_the_full_evaluation_has():
    record = gene(contacts=2)
    short = prepared(small_task(), [record])[0]
    model = {"bin_sizes": (400, 100), "full_evaluation": True}
    goal = {"promoter_width": 4000, "region_width": 4000, "max_pcres": 3}
    full = prepared(make_task(model, goal, marks=["a", "b"], promoter_length=4000), [record])[0]
    for name in ("promoter_pad_masks", "pcre_pad_masks"):
        for size in (400, 100):
            nb = 4000 // size
            assert full[name][size].shape[-2:] == (nb, nb)
            np.testing.assert_array_equal(short[name][size], full[name][size][..., [nb // 2], :])


@pytest.mark.parametrize("size", [400, 100, 1000])
def test_the_tss_lies_in_the_centre_bin_of_both_strands(size):
    """One read at the TSS: only the corrected regions have it in the bin that the model reads."""
    plus, minus = np.zeros((40, 1), np.float32), np.zeros((40, 1), np.float32)
    plus[20], minus[20] = 1, 1  # both: the stretch that begins at the TSS
    sums, span, strand = np.stack([plus, minus]), np.array([[0, 4000]] * 2), np.array([0, 1])
    layout = Layout(size, 100, 4000)
    features, known = promoter_bins(jnp.asarray(sums), jnp.asarray(span), jnp.asarray(strand), 4000, layout, True)
    assert np.all(features[:, layout.centre] > 0)
    assert np.count_nonzero(features) == 2
    if 4000 // size % 2 == 0:
        parity, whole = promoter_bins(jnp.asarray(sums), jnp.asarray(span), jnp.asarray(strand), 4000, layout, False)
        assert parity[0, layout.centre] > 0 and parity[1, layout.centre] == 0 and parity[1, layout.centre - 1] > 0
        assert np.all(whole)
        np.testing.assert_array_equal(known.sum(axis=1), [layout.bins, layout.bins - 1])


def test_bases_beyond_the_chromosome_are_not_averaged():
    sums = jnp.full((1, 40, 1), 100.0).at[:, :3].set(0.0).at[:, 3].set(50.0)
    layout = Layout(200, 100, 4000)
    features, known = promoter_bins(sums, jnp.array([[350, 4000]]), jnp.zeros(1), 4000, layout, False)
    np.testing.assert_array_equal(known[0, :3], [False, True, True])
    np.testing.assert_allclose(features[0, 1:, 0], np.log(2), rtol=1e-6)


def test_a_contact_lies_in_the_middle_of_its_bins_by_hand():
    sums = jnp.zeros((1, 1, 10, 1)).at[0, 0, :3, 0].set(jnp.array([100.0, 300.0, 25.0]))
    features, known = contact_bins(sums, jnp.array([[225]]), jnp.zeros(1), Layout(200, 100, 1000), True)
    np.testing.assert_array_equal(known[0, 0], [False, False, True, True, False])  # 2 of 5 bins, 2 before and 1 behind
    np.testing.assert_allclose(features[0, 0, :, 0], [0, 0, np.log(3), np.log(2), 0], rtol=1e-6)


def test_contacts_of_the_minus_strand_are_reversed_with_their_padding_unless_parity_is_asked():
    sums = jnp.zeros((2, 2, 10, 1)).at[:, 0, :3, 0].set(jnp.array([100.0, 300.0, 25.0])).at[:, 1, 0, 0].set(100.0)
    length, minus, layout = jnp.array([[225, 100]] * 2), jnp.array([0, 1], jnp.uint8), Layout(200, 100, 1000)
    features, known = contact_bins(sums, length, minus, layout, True)
    np.testing.assert_array_equal(known[0], [[0, 0, 1, 1, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(known[1], [[0, 1, 1, 0, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_allclose(features[1, 0, :, 0], [0, np.log(2), np.log(3), 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(features[0, ..., 0][:, ::-1], features[1, ..., 0])
    parity, same = contact_bins(sums, length, minus, layout, False)
    np.testing.assert_array_equal(parity[1], features[0])
    np.testing.assert_array_equal(same[1], known[0])


def test_orientation_reaches_inputs_and_masks_of_the_minus_strand_only():
    records = [gene(contacts=2, minus=strand, seed=4) for strand in (0, 1)]
    oriented, parity = (prepared(small_task(orient_pcres=choice), records)[0] for choice in (True, False))
    assert oriented.keys() == parity.keys()
    for size in (400, 100):
        for name in ("pcre_feats", "pcre_pad_masks"):
            np.testing.assert_array_equal(oriented[name][size][0], parity[name][size][0])
        bins = oriented["pcre_feats"][size][1]
        np.testing.assert_array_equal(bins, parity["pcre_feats"][size][1][:, ::-1])
        np.testing.assert_array_equal(oriented["pcre_pad_masks"][size][1], parity["pcre_pad_masks"][size][1][..., ::-1])
        assert np.any(bins != parity["pcre_feats"][size][1])
        np.testing.assert_array_equal(oriented["promoter_feats"][size], parity["promoter_feats"][size])


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ({"bin_sizes": (150,)}, {}, "multiples of the dataset's resolution, 100 bp"),
        ({"bin_sizes": (300,)}, {}, "config.task.region_width is 4000, but must be a multiple of each bin size"),
        ({"bin_sizes": (4000,)}, {}, "more than half of config.task.promoter_width"),
        ({}, {"promoter_width": 6000}, "config.task.promoter_width is 6000"),
        ({}, {"promoter_width": 2100}, "config.task.promoter_width is 2100"),
        ({}, {"target": "expressions"}, r"config.task.target is 'expressions' \(did you mean 'expression'\?\)"),
        ({}, {"max_pcres": -1}, "config.task.max_pcres is -1"),
        ({}, {"max_pcre": 1}, r"Unknown config field config.task.max_pcre \(did you mean 'max_pcres'\?\)"),
        ({"marks": 3, "widht": 3}, {}, r"Unknown config field config.model.widht"),
    ],
)
def test_configs_that_do_not_fit(model, task, message):
    model = {"bin_sizes": (400, 100), **model}
    with pytest.raises(JaxepiError, match=message):
        make_task(model, {"promoter_width": 4000, "region_width": 4000, **task}, marks=["a"], promoter_length=4000)


class DemoGenes(list):
    """Records with what describes them."""

    manifest = {"system": "chromoformer", "marks": MARKS[::-1], "resolution": 100, "promoter_length": 40_000}


def test_released_weights_read_records_as_the_original_does(golden, demo_genes):
    """`jaxepi.load` alone, without a config, gives the original's predictions for a dataset's records."""
    arrays = golden("chromoformer", "full_size_formula_weights.npz")
    predictor = jaxepi.load(formula_weights(full_size_shapes(2)))
    records = demo_genes(arrays["in:genes"].astype(str).tolist())
    assert {gene["minus"] for gene in records} == {0, 1}
    # marks are found by name
    genes = DemoGenes(r | {key: r[key][:, ::-1] for key in ("promoter_sum", "pcre_sum")} for r in records)
    expected = np.exp(arrays["out:clf"])
    np.testing.assert_allclose(
        predictor.predict(genes)[:, 0, 0], (expected / expected.sum(1, keepdims=True))[:, 1], atol=2e-5
    )
