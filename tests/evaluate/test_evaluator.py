"""The evaluator: the same result for any batch size, one step late, bounded samples, and the files it writes."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy import stats

from jaxepi.evaluate import evaluator
from jaxepi.evaluate.evaluator import evaluate, local_rows
from jaxepi.evaluate.result import EvalResult
from jaxepi.metrics import standard as metrics
from jaxepi.task import Options


def everything(split):
    rows = [split.record(number) for number in range(split.records)]
    return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in rows[0]}


def assert_same(left, right, rtol=1e-12):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=1e-12, err_msg=name)


def test_summary_equals_one_shot_over_all_values(split, run):
    result, whole = run(split), everything(split)
    values = (whole["prediction"], whole["target"], whole["mask"])
    expected = metrics.summarize(metrics.standard_metrics(*values))
    expected.pop("per_track"), expected.pop("undefined")
    assert_same({name: result.summary[name] for name in expected}, expected, rtol=1e-9)
    assert result.records == split.records and result.tracks == split.names


def test_complete_sample_gives_exact_rank_values(split, run):
    result, whole = run(split), everything(split)
    for track in range(split.tracks):
        keep = whole["mask"][..., track] > 0
        expected = stats.spearmanr(whole["prediction"][keep, track], whole["target"][keep, track])[0]
        assert result.per_track["spearman_cpg"][track] == pytest.approx(expected, abs=1e-12)
    assert result.summary["sample_complete_cpg"] == 1.0
    np.testing.assert_allclose(result.per_track["auc_sampled_cpg"], result.per_track["auc_cpg"], atol=1e-3)


@pytest.mark.parametrize("sample_positions", [50, 300_000])
def test_batch_size_changes_nothing(split, run, sample_positions):
    options = Options(sample_positions=sample_positions, windows=4)
    one, other = (run(split, size, options=options) for size in (4, 13))
    assert_same(one.summary, other.summary, rtol=1e-9)
    assert_same(one.curves, other.curves, rtol=1e-9)
    np.testing.assert_array_equal(one.samples.prediction, other.samples.prediction)
    assert [w.window.record for w in one.windows] == [w.window.record for w in other.windows]


def test_sample_is_bounded_and_says_so(split, run):
    result = run(split, options=Options(sample_positions=50))
    assert result.samples.prediction.shape == (50, 3) and not result.samples.complete
    assert result.summary["sample_positions_cpg"] == 50 and result.summary["sample_complete_cpg"] == 0.0
    whole = everything(split)
    assert result.samples.seen == whole["mask"].any(-1).sum()


def test_device_arrays_and_jit_give_the_host_values(split, run):
    def step(batch):
        batch = {name: jax.numpy.asarray(value) for name, value in batch.items()}
        return jitted(batch)

    @jax.jit
    def jitted(batch):
        values = [batch[name] for name in ("prediction", "target", "mask")]
        return metrics.standard_metrics(*values), {n: batch[n] for n in ("prediction", "target", "mask", "offset")}

    assert_same(run(split, step=step).summary, run(split).summary, rtol=1e-5)


def test_the_host_takes_a_batch_in_only_after_the_next_was_started(split, run, monkeypatch):
    events = []
    take = evaluator._Intake.take

    def spied(self, *arguments):
        events.append("take")
        return take(self, *arguments)

    def step(batch):
        events.append("step")
        values = [batch[name] for name in ("prediction", "target", "mask")]
        return metrics.standard_metrics(*values), {n: batch[n] for n in ("prediction", "target", "mask")}

    monkeypatch.setattr(evaluator._Intake, "take", spied)
    run(split, step=step)
    assert events == ["step", "step", "take", "step", "take", "step", "take", "take"]


def test_rows_of_a_sharded_batch_keep_their_numbers(split):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    rows = jax.device_put(np.arange(8.0).reshape(4, 2, 1), jax.NamedSharding(mesh, jax.P("data")))
    numbers, values, size = local_rows({"mask": rows, "other": np.arange(4)})
    assert numbers.tolist() == [0, 1, 2, 3] and size == 4
    np.testing.assert_array_equal(values["mask"][3], [[6.0], [7.0]])


def test_windows_know_their_place_and_reason(split, run):
    windows = run(split).windows
    assert [shown.window.choice for shown in windows].count("varied") == 2
    assert [shown.window.choice for shown in windows].count("random") == 2
    for shown in windows:
        record = split.record(shown.window.record)
        at = np.isin(record["offset"], shown.window.offset)
        assert (shown.chrom, shown.start) == ("chr20", 10_000 * shown.window.record)
        kept = record["mask"][at]
        np.testing.assert_allclose(shown.window.target[kept], record["target"][at][kept], rtol=1e-6)
        assert np.isnan(shown.window.target[~kept]).all()


def test_files_are_written_and_read_again(split, run, tmp_path):
    result = run(split, output=tmp_path / "eval" / "test")
    folder = tmp_path / "eval" / "test"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "per_track.tsv", "plots_data.npz"]
    again = EvalResult.load(folder)
    assert_same(again.summary, result.summary)
    assert_same(again.curves, result.curves)
    assert (again.tracks, again.records, again.undefined) == (result.tracks, result.records, result.undefined)
    assert again.windows[1].chrom == "chr20"
    np.testing.assert_array_equal(again.windows[1].window.prediction, result.windows[1].window.prediction)
    table = (folder / "per_track.tsv").read_text().splitlines()
    assert len(table) == 4 and table[0].split("\t")[0] == "track" and "pearson_cpg" in table[0]


def test_undefined_values_are_null_with_a_reason(split, run, tmp_path):
    def step(batch):
        mask = batch["mask"] & (np.arange(3) != 1)
        predictions = {"prediction": batch["prediction"], "target": batch["target"], "mask": mask}
        return metrics.standard_metrics(batch["prediction"], batch["target"], mask), predictions

    result = run(split, step=step, output=tmp_path)
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert saved["per_track"]["pearson_cpg"][1] is None and saved["summary"]["pearson_cpg_n_tracks"] == 2
    assert saved["undefined"]["pearson_cpg"] == {"1": "fewer than two values"}
    assert saved["undefined"]["spearman_cpg"].keys() == {"1"}
    assert EvalResult.load(tmp_path).undefined == result.undefined


def test_no_batch_is_an_error(split, run):
    empty = dataclasses.replace(split, records=0)
    with pytest.raises(ValueError, match="'test' gave no batch"):
        run(empty)


def test_progress_goes_to_the_given_place(split, run):
    lines = []
    run(split, progress=lines.append, total=4)
    assert lines and lines[-1].startswith("evaluate test: batch 4/4")


def test_thousands_of_tracks_keep_pooled_curves_only(run, split):
    many = dataclasses.replace(split, tracks=70, records=3)
    result = run(many)
    assert {name for name in result.curves if not name.endswith("_flat")} == set()
    assert result.curves["cpg/density_flat"].shape[0] == 1


def test_default_offset_and_options(split):
    class Task:
        def summarize(self, sums):
            return metrics.summarize(sums)

    def step(batch):
        values = [batch[name] for name in ("prediction", "target", "mask")]
        return metrics.standard_metrics(*values), {n: batch[n] for n in ("prediction", "target", "mask")}

    result = evaluate(step, split.batches(5), Task(), split.names, "valid", progress=lambda text: None)
    assert result.split == "valid" and result.windows[0].chrom == ""
