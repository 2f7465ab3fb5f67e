"""Two genomes in one run, a head each: training, resuming, the best of each, evaluation, prediction."""

import json
import shutil

import h5py
import jax
import numpy as np
import pytest
from flax import nnx
from toys.genomes import genomes_config, write_coverage

import jaxepi
from jaxepi.data import open_dataset
from jaxepi.errors import JaxepiError
from jaxepi.registry import make_task
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.train.loop import train
from jaxepi.trained import restore_model
from jaxepi.verbs.command import main

CRITERION = "pearson_plus_quarter_r2_bin_per_track_mean"


@pytest.fixture(scope="module")
def genomes(tmp_path_factory):
    """hg with three tracks and mm with two."""
    folder = tmp_path_factory.mktemp("genomes")
    counts = {"train": 8, "valid": 3, "test": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield write_coverage(folder / "hg", 0, 3, counts), write_coverage(folder / "mm", 1, 2, counts)


@pytest.fixture(scope="module")
def run(genomes, tmp_path_factory):
    """A run of four steps in two starts."""
    workdir, config = tmp_path_factory.mktemp("runs") / "joint", genomes_config(genomes)
    config.monitor = "pearson_bin_per_track_mean@hg,pearson_bin_per_track_mean@mm"
    for config.steps in (2, 4):
        assert train(config, workdir) == "finished"
    return workdir


def records(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_both_genomes_are_trained_and_evaluated_by_their_own_head(run):
    assert [line["step"] for line in records(run, "resume")] == [2]
    assert len(records(run, "train")) == 4
    metrics = records(run, "eval")[-1]["metrics"]
    for name in ("pearson_bin_per_track_mean", CRITERION, "loss_total"):
        assert {f"{name}@hg", f"{name}@mm", f"{name}@datasets_mean"} <= metrics.keys()
    hg = metrics["pearson_bin_per_track_mean@hg"] + metrics["r2_bin_per_track_mean@hg"] / 4
    np.testing.assert_allclose(metrics[f"{CRITERION}@hg"], hg, rtol=1e-6)
    assert (metrics["pearson_bin_n_tracks@hg"], metrics["pearson_bin_n_tracks@mm"]) == (3, 2)
    assert (run / "best").is_dir() and (run / "best_pearson_bin_per_track_mean@mm").is_dir()


def test_a_run_predicts_by_the_head_that_is_asked_for(run, genomes):
    first, again, second = jaxepi.load(run), jaxepi.load(run, head=0), jaxepi.load(run, head=1, which="last")
    assert first.tracks == again.tracks == ["hg_0", "hg_1", "hg_2"] and second.tracks == ["mm_0", "mm_1"]
    for predictor, path, count in ((first, genomes[0], 3), (second, genomes[1], 2)):
        assert predictor.predict(open_dataset(path).split("test")).shape == (2, 16, count)
    with pytest.raises(JaxepiError, match="head is 2, but .* has the heads 0 to 1"):
        jaxepi.load(run, head=2)


def test_each_split_of_each_genome_is_evaluated(run, genomes):
    results = evaluate_run(run, None, "valid", "last", report=True)
    assert {name: result.tracks for name, result in results.items()} == {
        "valid_hg": ["hg_0", "hg_1", "hg_2"], "valid_mm": ["mm_0", "mm_1"],
    }  # fmt: skip
    assert len((run / "eval" / "valid_mm" / "per_track.tsv").read_text().splitlines()) == 3
    logged = records(run, "eval")[-1]["metrics"]
    value = results["valid_mm"].summary["pearson_bin_per_track_mean"]
    np.testing.assert_allclose(value, logged["pearson_bin_per_track_mean@mm"], rtol=1e-5)


def test_a_split_of_each_genome_is_written_by_its_own_head(run, genomes, tmp_path, capsys):
    """By eval --save of all, and by predict --split --head of one."""
    evaluate_run(run, None, "valid", None, report=False, save=True)
    words = ["predict", f"--workdir={run}", "--split=valid"]
    assert main([*words, f"--out={tmp_path / 'x'}"]) == 2
    assert "there are hg, mm: choose one with --head" in capsys.readouterr().err
    assert main([*words, "--head=1", "--rc", f"--out={tmp_path / 'mm'}"]) == 0
    predictor, records = jaxepi.load(run, head=1), open_dataset(genomes[1]).split("valid")
    with h5py.File(tmp_path / "mm/preds.h5") as both, h5py.File(run / "eval/valid_mm/preds.h5") as one:
        np.testing.assert_allclose(both["preds"], predictor.predict(records, rc=True), rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(one["preds"], predictor.predict(records), rtol=2e-3, atol=1e-4)
    with h5py.File(run / "eval/valid_mm/targets.h5") as saved:
        np.testing.assert_array_equal(saved["targets"], [records[n]["target"] for n in range(3)])
    table = (run / "eval/valid_mm/per_track.tsv").read_text().splitlines()
    assert table[1].split("\t")[:2] == ["mm_0", "CAGE:mm"]


def test_a_single_genome_is_evaluated_by_the_head_with_its_tracks(run, genomes, tmp_path):
    config = genomes_config(genomes[1:])
    found = evaluate_run(run, config, "valid", "last", report=False)["valid"]
    logged = records(run, "eval")[-1]["metrics"]
    assert found.tracks == ["mm_0", "mm_1"]
    np.testing.assert_allclose(found.summary["loss_total"], logged["loss_total@mm"], rtol=1e-5)
    other = shutil.copytree(genomes[1], tmp_path / "other")
    (other / "targets.txt").write_text((other / "targets.txt").read_text().replace("mm_", "rn_"))
    config.dataset.paths = (str(other),)
    with pytest.raises(JaxepiError):
        evaluate_run(run, config, "valid", "last", report=False)


def test_the_head_of_the_other_genome_is_left_alone(run, genomes):
    """Of the gradient, the optimizer and the penalty: what a batch of one leaves idle is all of the other head."""
    task = restore_model(run, "last").task
    assert [part.idle for part in task.parts] == [("heads.1.*",), ("heads.0.*",)]
    config = genomes_config(genomes)
    config.model.l2_scale = 0.1
    task = make_task(config, {"kind": "coverage", "datasets": [open_dataset(path).manifest for path in genomes]})
    model = task.build_model(nnx.Rngs(0))
    one, other = model.penalty(0), model.penalty(1)
    kernels = [sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(nnx.state(head, nnx.Param)) if leaf.ndim > 1)
               for head in model.heads]  # fmt: skip
    np.testing.assert_allclose(one - other, 0.1 * (kernels[0] - kernels[1]), rtol=1e-4)


def test_datasets_that_do_not_fit_the_heads_are_refused(genomes, tmp_path):
    config = genomes_config(genomes)
    manifests = [open_dataset(path).manifest for path in genomes]
    with pytest.raises(JaxepiError, match="names 3 datasets, but config.model.heads 2 heads"):
        make_task(config, {"kind": "coverage", "datasets": [*manifests, manifests[0]]})
    config.dataset.tracks = ("hg_0",)
    with pytest.raises(JaxepiError, match="config.dataset.tracks chooses tracks of one dataset"):
        make_task(config, {"kind": "coverage", "datasets": manifests})
    config.dataset.tracks = ()
    with pytest.raises(JaxepiError, match="have 640 and 1280 bp: prepare them alike"):
        make_task(config, {"kind": "coverage", "datasets": [manifests[0], {**manifests[1], "window": 1280}]})
