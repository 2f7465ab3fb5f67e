import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
import jaxepi.data
from jaxepi.config import monitors
from jaxepi.errors import JaxepiError
from jaxepi.metrics.sense import sense
from jaxepi.pretrained.table import weights_of
from jaxepi.registry import make_task
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.runs.impute import impute_run
from jaxepi.runs.mutagenesis import effects_run
from jaxepi.runs.site_run import open_run
from jaxepi.systems.deepcpg.losses import LossRules, label_weights
from jaxepi.systems.deepcpg.original_metrics import evaluate
from jaxepi.train.loop import train
from jaxepi.trained import restore_model

ROOT = Path(__file__).parents[3]
CODE_OF_ATGC = np.array([0, 3, 2, 1, 4], np.uint8)
ATGC_OF_ACGT = [0, 3, 2, 1]


def get_config(name, variant="default"):
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"configs.{name}").get_config(variant)
    finally:
        sys.path.remove(str(ROOT))


def small(config, dataset):
    config.dataset.path = str(dataset)
    config.model.hidden, config.model.joint_hidden = 8, 8
    config.batch_size = config.eval_batch_size = 32
    config.steps, config.log_every, config.report = 2, 4, False
    return config


def record(**fields):
    empty = {
        "sequence": np.full(41, 4, np.uint8),
        "state": np.full((3, 6), 255, np.uint8),
        "distance": np.full((3, 6), 65535, np.uint16),
        "cell": np.zeros(0, np.uint16),
        "value": np.zeros(0, np.uint8),
        "statistics": np.full(4, np.nan, np.float32),
    }
    return {**empty, **fields}


def toy_task(manifest, variant="default", name="deepcpg_joint", **changes):
    config = get_config(name, variant)
    for path, value in changes.items():
        section, _, field = path.partition("__")
        config[section][field] = value
    return make_task(config, manifest)


def test_sparse_labels_become_columns_and_missing_ones_are_masked(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, task__outputs=("cpg/.*", "mean", "cat_var"))
    assert task.tracks == [
        *("cpg/cellA", "cpg/cellB", "cpg/cellC"),
        *("cpg_stats/cat_var/0", "cpg_stats/cat_var/1", "cpg_stats/cat_var/2", "cpg_stats/mean"),
    ]
    seen = record(
        cell=np.array([0, 2], np.uint16), value=np.array([1, 0], np.uint8),
        statistics=np.array([2, 0.6, 0.5, 0.25], np.float32),
    )  # fmt: skip
    batch = task.collate([seen, record(), None])
    np.testing.assert_array_equal(batch["row_mask"], [1, 1, 0])
    np.testing.assert_array_equal(batch["label"][0], [1, np.nan, 0, 2, 0.5])
    assert np.isnan(batch["label"][1:]).all()
    inputs, targets = task.prepare(batch, jax.random.key(0), train=True)
    np.testing.assert_array_equal(targets["mask"], [[1, 0, 1, 1, 1], [0] * 5, [0] * 5])
    assert not np.isnan(targets["label"]).any() and "rng" not in inputs


def test_n_is_zero_and_padding_is_nothing(deepcpg_manifest):
    task = toy_task(deepcpg_manifest)
    sequence = np.array([0, 1, 2, 3, 4] * 8 + [0], np.uint8)
    inputs, _ = task.prepare(task.collate([record(sequence=sequence), None]), jax.random.key(0), train=False)
    np.testing.assert_array_equal(inputs["dna"][0, :5], np.vstack([np.eye(4), np.zeros((1, 4))]))
    assert inputs["dna"][1].sum() == 0


@pytest.mark.parametrize(
    ("variant", "fractional", "expected"),
    [("default", False, [0.5, 0.5, 0.5]), ("paper", False, [0, 0, 0]), ("paper", True, [0, 0, 0.5])],
)
def test_missing_neighbours(deepcpg_manifest, variant, fractional, expected):
    manifest = {**deepcpg_manifest, "binary_cells": [True, True, not fractional]}
    task = toy_task(manifest, variant, "deepcpg_cpg")
    state = np.full((3, 6), np.nan if fractional else 255, np.float16 if fractional else np.uint8)
    state[:, 3] = 1
    distance = np.full((3, 6), 65535, np.uint16)
    distance[:, 3] = 5_000
    batch = task.collate([record(state=state, distance=distance)])
    inputs, _ = task.prepare(batch, jax.random.key(0), train=False)
    np.testing.assert_array_equal(inputs["state"][0, :, 0], expected)
    np.testing.assert_array_equal(inputs["state"][0, :, 3], [1, 1, 1])
    np.testing.assert_allclose(inputs["distance"][0, 0], [1, 1, 1, 0.2, 1, 1], rtol=1e-6)


def test_sampled_missing_states_follow_each_cells_share_of_ones(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, name="deepcpg_cpg", task__missing_state="sample")
    state = np.full((2_000, 3, 6), 255, np.uint8)
    state[:, 0, :3], state[:, 1, :3] = 1, 0  # half of the entries of cell 0 are ones, none of the others
    drawn, _ = task.neighbours(state, np.zeros(state.shape, np.uint16), jax.random.key(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn[:, :, 3:].mean(axis=(0, 2)), [0.5, 0, 0], atol=0.02)


def test_smaller_windows_and_fewer_neighbours_are_cut_from_the_middle(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, model__window=31, model__neighbours=4)
    assert task.window == 31 and task.model_config.neighbours == 4
    sequence = (np.arange(41) % 4).astype(np.uint8)
    distance = np.tile(np.arange(6, dtype=np.uint16), (3, 1))
    inputs, _ = task.prepare(task.collate([record(sequence=sequence, distance=distance)]), jax.random.key(0), False)
    np.testing.assert_array_equal(inputs["dna"][0].argmax(axis=1), sequence[5:36])
    np.testing.assert_allclose(inputs["distance"][0, 0] * 25_000, [1, 2, 3, 4], rtol=1e-6)


def test_replicates_choose_whose_neighbours_are_read(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, name="deepcpg_cpg", task__replicates=("A$", "C$"))
    distance = np.tile(np.array([[1], [2], [3]], np.uint16), (1, 6))
    assert task.collate([record(distance=distance)])["distance"][0, :, 0].tolist() == [1, 3]
    assert len(task.outputs) == 3


def test_rounding_is_half_to_even_and_only_of_cells(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, task__labels="rounded", task__outputs=("cellA", "cellB", "mean"))
    seen = record(
        cell=np.array([0, 1], np.uint16), value=np.array([0.5, 0.51], np.float32),
        statistics=np.full(4, 0.505, np.float32),
    )  # fmt: skip
    _, targets = task.prepare(task.collate([seen]), jax.random.key(0), train=True)
    np.testing.assert_allclose(targets["label"][0], [0, 1, 0.505], rtol=1e-6)


def test_dropout_draws_anew_in_training_only(deepcpg_manifest):
    task = toy_task(deepcpg_manifest, name="deepcpg_cpg", model__cpg_dropout=0.5)
    model, batch = task.build_model(nnx.Rngs(0)), task.collate([record()] * 4)
    runs = [
        task.apply(model, task.prepare(batch, jax.random.key(key), train)[0]).outputs.features
        for key, train in ((0, True), (0, True), (1, True), (0, False), (1, False))
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    np.testing.assert_array_equal(runs[3], runs[4])


@pytest.mark.parametrize(
    ("changes", "manifest", "message"),
    [
        ({"task__outputs": ("cpg/cellD",)}, {}, r"\('cpg/cellD',\) finds none of the dataset's outputs cpg/cellA"),
        ({"task__outputs": ("cov",)}, {"tracks": ["cpg_stats/cov"]}, "cpg_stats/cov, a count of cells"),
        ({"task__replicates": ("D",)}, {}, r"\('D',\) finds none of the 3 cells"),
        ({"task__masking": "kears"}, {}, r"config.task.masking is 'kears' \(did you mean 'keras'\?\)"),
        ({"task__distance_scale": 30_000}, {}, "is 30000, but the dataset keeps distances up to 25000 bp"),
        ({"model__window": 43}, {}, "config.model.window is 43, but the dataset has 41 bp"),
        ({"model__window": 40}, {}, "as many must be left out on both sides"),
        ({}, {"window": 0}, "needs sequence, but the dataset was prepared without --fasta"),
        ({}, {"neighbours": 0}, "needs neighbours, but the dataset was prepared without"),
    ],
)
def test_what_does_not_fit_is_told(deepcpg_manifest, changes, manifest, message):
    with pytest.raises(JaxepiError, match=message):
        toy_task({**deepcpg_manifest, **manifest}, **changes)


@pytest.mark.parametrize("name", ["deepcpg_dna", "deepcpg_cpg", "deepcpg_joint"])
def test_frozen_networks_normalise_as_they_predict_unless_as_in_the_paper(name):
    statistics = [get_config(name, variant).frozen_statistics for variant in ("default", "paper")]
    assert statistics == ["running", "batch"]


def test_monitor_and_its_sense(deepcpg_manifest):
    task = toy_task(deepcpg_manifest)
    assert (task.monitor, sense(task.monitor)) == ("auc_cpg_per_track_mean", "max")
    (watched,) = monitors(get_config("deepcpg_dna", "paper").monitor, task.monitor)
    assert (watched, sense(watched)) == ("loss_total", "min")
    task = toy_task(deepcpg_manifest, task__outputs=("stats/mean",))
    assert (task.monitor, sense(task.monitor)) == ("loss_total", "min")


@pytest.mark.parametrize("variant", ["default", "paper"])
def test_merged_evaluation_loss_is_that_of_one_batch(deepcpg_manifest, deepcpg_dataset, variant):
    """Batches with padding rows, merged, give the loss of all rows at once, with every label weighing 1."""
    task = toy_task(deepcpg_manifest, variant, "deepcpg_cpg", task__outputs=(".*",), task__output_weights=("cpg/=2",))
    model = task.build_model(nnx.Rngs(0))
    split = jaxepi.data.open_dataset(deepcpg_dataset).split("test")
    records = [split[i] for i in range(len(split))]

    @jax.jit
    def metrics(batch):
        inputs, targets = task.prepare(batch, jax.random.key(0), train=False)
        return task.metrics(task.apply(model, inputs), targets)

    padded = [*records, *[None] * 22]
    parts = [metrics(task.collate(padded[i : i + 24])) for i in range(0, 72, 24)]
    merged = {name: parts[0][name].merge(parts[1][name]).merge(parts[2][name]) for name in parts[0]}
    unbalanced = toy_task(
        {**deepcpg_manifest}, variant, "deepcpg_cpg", task__outputs=(".*",), task__output_weights=("cpg/=2",),
        task__balance_classes=False,
    )  # fmt: skip
    inputs, targets = unbalanced.prepare(unbalanced.collate(records), jax.random.key(0), train=False)
    expected, _ = unbalanced.loss(unbalanced.apply(model, inputs), targets)
    summary = task.summarize(merged)
    np.testing.assert_allclose(summary["loss_total"], expected, rtol=1e-5)
    assert all(len(values) == len(task.tracks) for values in summary["per_track"].values())
    assert summary["auc_cpg_n_tracks"] == 3
    assert np.isnan(summary["per_track"]["auc_cpg"][3:]).all()


def original_rows(arrays):
    """The sites that the original prepared, as records, and the manifest to match."""
    cells, files = (
        ["cellA", "cellB", "cellC", "cellD"],
        sorted({key.split(":")[1] for key in arrays.files if ".h5" in key}),
    )

    def joined(name):
        return np.concatenate([arrays[f"out:{file}:/{name}"] for file in files])

    state = [joined(f"inputs/cpg/{cell}/state") for cell in cells]
    distance = np.stack([joined(f"inputs/cpg/{cell}/dist") for cell in cells], axis=1)
    label = np.stack([joined(f"outputs/cpg/{cell}") for cell in cells], axis=1)
    merged = np.stack([np.where(values == -1, np.nan, values) for values in state], axis=1).astype(np.float16)
    distance = np.where(distance == -1, 65535, np.minimum(distance, 25_000)).astype(np.uint16)
    codes = CODE_OF_ATGC[joined("inputs/dna")]
    records = [
        record(
            sequence=codes[i], state=merged[i], distance=distance[i], cell=np.flatnonzero(label[i] != -1),
            value=label[i][label[i] != -1].astype(np.float32), statistics=np.zeros(0, np.float32),
        )
        for i in range(len(codes))
    ]  # fmt: skip
    manifest = {
        "window": 41, "neighbours": 10, "max_distance": 25_000, "cells": cells, "statistics": [],
        "binary_cells": [values.dtype == np.int8 for values in state], "class_counts": {},
        "tracks": [f"cpg/{cell}" for cell in cells],
    }  # fmt: skip
    return records, manifest, label


def test_inputs_and_predictions_of_the_originals_pipeline(golden, golden_path):
    """From prepared sites to predictions: the original's reader batches, its predictions, gradients and activations."""
    expected = golden("deepcpg", "eval_pipeline/expected.npz")
    records, manifest, label = original_rows(golden("deepcpg", "data_pipeline/expected_A.npz"))
    task = toy_task(manifest, "paper")
    inputs, targets = task.prepare(task.collate(records), jax.random.key(0), train=False)
    for number in range(2):
        rows = slice(32 * number, 32 * number + 32)
        read = {key.split(":", 3)[3]: expected[key] for key in expected.files if f"batch{number}:" in key}
        np.testing.assert_array_equal(inputs["dna"][rows][..., ATGC_OF_ACGT], read["inputs:dna"])
        np.testing.assert_array_equal(inputs["state"][rows], read["inputs:cpg/state"])
        np.testing.assert_allclose(inputs["distance"][rows], read["inputs:cpg/dist"], rtol=1e-6)
        balanced = {output: (0.25, 0.75) for output in task.outputs}
        rules = LossRules(task.outputs, "keras", class_weights=balanced)
        weights = label_weights(targets["label"][rows], targets["mask"][rows], rules)
        for column, output in enumerate(task.outputs):
            np.testing.assert_array_equal(label[rows, column], read[f"outputs:{output}"])
            np.testing.assert_allclose(weights[:, column], read[f"weights:{output}"], rtol=1e-6)
    model = jaxepi.from_pretrained("deepcpg", golden_path("deepcpg", "eval_pipeline"))
    out = nnx.jit(lambda model, *given: model(*given))(model, inputs["dna"], inputs["state"], inputs["distance"])
    for output in task.outputs:
        np.testing.assert_array_equal(expected[f"out:eval:outputs/{output}"], label[:, task.outputs.index(output)])
        np.testing.assert_allclose(out.heads[output], expected[f"out:eval:preds/{output}"], rtol=0, atol=1e-5)
    first = [inputs[name][:20] for name in ("dna", "state", "distance")]
    for target, reduce in (("mean", jnp.mean), ("var", jnp.var)):
        effect = jax.grad(lambda dna, reduce=reduce: reduce(model(dna, *first[1:]).cells, axis=1).sum())(first[0])
        np.testing.assert_allclose(effect[..., ATGC_OF_ACGT], expected[f"out:snp:{target}"], rtol=0, atol=1e-5)
    dna_model = jaxepi.from_pretrained("deepcpg", golden_path("deepcpg", "eval_pipeline/dna_model"))
    seen = dna_model(inputs["dna"][:8], intermediates=True)
    activations = np.maximum(seen.intermediates["dna/conv1d_1"], 0)
    np.testing.assert_allclose(activations, expected["out:filter_act:act"], rtol=0, atol=1e-5)
    for output in dna_model.config.outputs:
        np.testing.assert_allclose(seen.heads[output], expected[f"out:filter_act:preds/{output}"], rtol=0, atol=1e-5)
        labels = expected[f"out:filter_act:outputs/{output}"]
        np.testing.assert_array_equal(labels, label[:8, task.outputs.index(output)])
    kept = np.asarray(inputs["dna"][:8])[..., ATGC_OF_ACGT].argmax(axis=2)  # the original keeps an N as A
    np.testing.assert_array_equal(expected["out:filter_act:inputs/dna"], kept)
    for what in ("pos", "chromo"):
        for tool, count in (("snp", 20), ("filter_act", 8)):
            np.testing.assert_array_equal(expected[f"out:{tool}:{what}"], expected[f"out:eval:{what}"][:count])


@pytest.mark.slow
def test_staged_training_learns_keeps_frozen_weights_and_resumes(deepcpg_dataset, tmp_path):
    """DNA, CpG, then the joint network from both with their weights frozen; interrupted and gone on with."""
    for name in ("dna", "cpg"):
        config = small(get_config(f"deepcpg_{name}"), deepcpg_dataset)
        config.optimizer.learning_rate = 1e-3
        assert train(config, tmp_path / name) == "finished"
    check_passes(tmp_path / "dna", batches=8, rate=1e-3)
    sources = (f"{tmp_path / 'dna'}::dna.*", f"{tmp_path / 'cpg'}::cpg.*")

    def joint(workdir, epochs):
        config = small(get_config("deepcpg_joint"), deepcpg_dataset)
        config.init_from, config.steps, config.optimizer.learning_rate = sources, epochs, 1e-3
        assert train(config, workdir) == "finished"
        return weights_of(restore_model(workdir, "last").model)

    whole = joint(tmp_path / "joint", 3)
    for name in ("dna", "cpg"):
        trained = weights_of(restore_model(tmp_path / name).model)
        for path, weight in trained.items():
            if path.startswith(f"{name}."):
                np.testing.assert_array_equal(whole[path].get_value(), weight.get_value())
    joint(tmp_path / "parts", 1)
    resumed = joint(tmp_path / "parts", 3)
    fresh = weights_of(toy_like(deepcpg_dataset))
    for path, weight in whole.items():
        np.testing.assert_array_equal(weight.get_value(), resumed[path].get_value())
        if path.startswith(("joint.", "heads.")):
            assert (np.asarray(weight.get_value()) != np.asarray(fresh[path].get_value())).any()
    results = evaluate_run(tmp_path / "joint", None, "test", "best", report=False)
    assert results["test"].records == 50
    assert results["test"].summary["auc_cpg_per_track_mean"] > 0.65
    finished = open_run(tmp_path / "joint", None, "best")
    numbers = impute_run(finished, tmp_path / "imputed", formats=["tsv"])
    assert numbers["sites"] == 256 + 96 + 50 and (tmp_path / "imputed" / "imputed.tsv.gz").exists()
    assert effects_run(finished, tmp_path / "effects", split="test", most_sites=3) == 3


def check_passes(workdir, batches, rate):
    """Evaluated once a pass, and the learning rate falls once a pass."""
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [batches, 2 * batches]
    for line in lines:
        if line["kind"] == "train":
            passes = (line["step"] - 1) // batches
            np.testing.assert_allclose(line["terms"]["learning_rate"], rate * 0.975**passes, rtol=1e-6)


def toy_like(dataset):
    config = small(get_config("deepcpg_joint"), dataset)
    return make_task(config, jaxepi.data.open_dataset(dataset).manifest).build_model(
        nnx.Rngs(jax.random.fold_in(jax.random.key(0), 0))
    )


@pytest.mark.parametrize("outputs", [".*", "cpg_stats/.*"])
def test_the_report_of_a_run_with_statistics(deepcpg_dataset, tmp_path, outputs):
    config = small(get_config("deepcpg_cpg", "paper"), deepcpg_dataset)
    config.task.outputs, config.steps, config.model.network = (outputs,), 1, "FcAvg"
    train(config, tmp_path / "run")
    (result,) = evaluate_run(tmp_path / "run", None, "test", "best", report=True).values()
    assert (tmp_path / "run" / "report" / "report.html").exists()
    assert "mse_statistics_per_track_mean" in result.summary
    assert result.region == ("cpg" if outputs == ".*" else "statistics")
    check_kendall(result, tmp_path / "run")


def check_kendall(result, workdir):
    """Tau-b of mean, var and entropy, as the original computes it, in every file."""
    values = dict(zip(result.tracks, result.per_track["kendall_statistics"], strict=True))
    assert {"cpg_stats/mean", "cpg_stats/var"} <= values.keys() and result.samples.complete
    for track, value in values.items():
        if not track.endswith(("/mean", "/var", "/entropy")):
            assert np.isnan(value)
            continue
        k = result.tracks.index(track)
        keep = ~np.isnan(result.samples.target[:, k])
        label, predicted = result.samples.target[keep, k], result.samples.prediction[keep, k]
        assert value == evaluate("cpg_stats/mean", label, predicted)["kendall"]
    mean = result.summary["kendall_statistics_per_track_mean"]
    splits = json.loads((workdir / "metrics.json").read_text())["splits"]
    assert splits["test"]["summary"]["kendall_statistics_per_track_mean"] == mean
    lines = [line.split("\t") for line in (workdir / "eval" / "test" / "per_track.tsv").read_text().splitlines()]
    column = lines[0].index("kendall_statistics")
    table = {line[0]: line[column] for line in lines[1:]}
    assert float(table["cpg_stats/mean"]) == pytest.approx(values["cpg_stats/mean"], rel=1e-6)
    assert table.get("cpg/cellA", "") == ""
    assert "kendall_statistics" in (workdir / "report" / "report.html").read_text()


def test_metrics_by_annotation(deepcpg_manifest):
    manifest = {**deepcpg_manifest, "annotations": ["CGI", "exons"]}
    task = toy_task(manifest, name="deepcpg_cpg", model__network="FcAvg")
    random, sites = np.random.default_rng(0), 64
    records = [
        record(
            annotation=np.array([i % 2, 0], np.uint8), cell=np.arange(3, dtype=np.uint16),
            value=random.integers(0, 2, 3).astype(np.uint8), distance=random.integers(1, 999, (3, 6)).astype(np.uint16),
        )
        for i in range(sites)
    ]  # fmt: skip
    model = task.build_model(nnx.Rngs(0))
    inputs, targets = task.prepare(task.collate([*records, None]), jax.random.key(0), train=False)
    outputs = task.apply(model, inputs)
    summary = task.summarize(task.metrics(outputs, targets))
    groups = summary["groups"]
    assert groups["CGI"]["n_values"] == [32, 32, 32] and groups["exons"]["n_values"] == [0, 0, 0]
    value, predicted = np.array([r["value"] for r in records])[1::2, 0], np.asarray(task.values(outputs))[:, 0]
    called = predicted[1:sites:2, 0] > 0.5
    np.testing.assert_allclose(groups["CGI"]["accuracy"][0], np.mean(called == (value == 1)), rtol=1e-6)
    assert not any("annotation" in name for name in (*summary, *summary["per_track"]))
