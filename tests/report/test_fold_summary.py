"""Folds side by side: means, spreads, values over all of them, files and figures, for classes and for numbers."""

import dataclasses
import json
import types

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from jaxepi.errors import JaxepiError
from jaxepi.evaluate.evaluator import evaluate
from jaxepi.evaluate.result import EvalResult
from jaxepi.metrics import exact
from jaxepi.metrics import standard as metrics
from jaxepi.metrics.standard import Density, ErrorSums, PearsonSums, standard_metrics
from jaxepi.report import fold_plots
from jaxepi.report.fold_report import write_fold_report
from jaxepi.report.fold_summary import Row, summarize_folds
from jaxepi.task import Options

SIZES = {"a": 30, "b": 20, "c": 25}


class Summarizer:
    def summarize(self, sums):
        return metrics.summarize(sums)


def values(fold, classes):
    """Predicted and measured values (n,) of a fold."""
    random = np.random.default_rng(sum(map(ord, fold)))
    n = SIZES.get(fold, 4000)
    target = (random.random(n) < 0.4).astype(np.float32) if classes else random.gamma(2, 2, n).astype(np.float32)
    prediction = target + random.normal(0, 0.6, n)
    return (1 / (1 + np.exp(1 - 2 * prediction)) if classes else prediction).astype(np.float32), target


def evaluation(prediction, target, classes, split="fold"):
    batch = {"prediction": prediction[:, None, None], "target": target[:, None, None]}
    batch["mask"] = np.ones_like(batch["target"], bool)

    def step(batch):
        own = (batch["prediction"], batch["target"], batch["mask"])
        if classes:
            return standard_metrics(*own, region="gene"), batch
        sums = {"gene/pearson": PearsonSums.from_values(*own), "gene/error": ErrorSums.from_values(*own)}
        return sums | {"gene/density": Density.from_values(*own, low=0.0, high=16.0)}, batch

    unit = "" if classes else "u"
    threshold = 0.5 if classes else None
    options = Options(region="gene", label_threshold=threshold, windows=0, unit=unit, system="chromoformer")
    return evaluate(
        step, [batch], Summarizer(), ["expression"], split, options=options, progress=lambda text: None, step=7
    )


@pytest.fixture
def folds():
    """folds(classes, *names): evaluations by fold."""

    def make(classes, *names):
        return {name: evaluation(*values(name, classes), classes, name) for name in names or SIZES}

    return make


def one_class(result):
    """The same evaluation with positive records only."""
    keep = result.samples.target[:, 0] > 0.5
    return evaluation(result.samples.prediction[keep, 0], result.samples.target[keep, 0], True, result.split)


@pytest.mark.parametrize("classes", [True, False])
def test_means_spreads_and_values_of_all_records(folds, classes):
    results = folds(classes)
    summary = summarize_folds(results)
    prediction, target = (np.concatenate(parts) for parts in zip(*(values(f, classes) for f in results), strict=True))
    for name, row in summary.rows.items():
        own = [result.summary[f"{name}_per_track_mean"] for result in results.values()]
        assert row.values == tuple(own)
        np.testing.assert_allclose([row.mean, row.sd], [np.mean(own), np.std(own, ddof=1)])
    expected = {
        "pearson_gene": exact.pearson(prediction, target),
        "spearman_gene": exact.spearman(prediction, target),
        "mse_gene": np.mean((prediction - target) ** 2),
        "r2_gene": 1 - np.mean((prediction - target) ** 2) / target.var(),
    }
    if classes:
        expected |= {
            "auc_sampled_gene": exact.auc(prediction, target > 0.5),
            "average_precision_sampled_gene": exact.average_precision(prediction, target > 0.5),
            "accuracy_gene": np.mean((prediction > 0.5) == (target > 0.5)),
        }
    for name, value in expected.items():
        np.testing.assert_allclose(summary.rows[name].together, value, rtol=1e-5)
    names = ["auc", "average_precision", "accuracy"] if classes else ["pearson", "spearman", "r2", "mse"]
    assert list(summary.headlines()) == [f"{name}_gene" for name in names]
    assert list(summary.rows)[: len(names)] == [f"{name}_gene" for name in names]


def test_undefined_values_are_left_out_and_told(folds, tmp_path):
    results = folds(True)
    results["c"] = one_class(results["c"])
    summary = summarize_folds(results)
    row = summary.rows["auc_gene"]
    assert np.isnan(row.values[2]) and row.mean == pytest.approx(np.mean(row.values[:2])) and row.together > 0.5
    summary.write(tmp_path, "last")
    saved = json.loads((tmp_path / "crossval.json").read_text())
    auc = saved["metrics"]["auc_gene_per_track_mean"]
    assert auc["folds"]["c"] is None and auc["n_folds"] == 2
    assert any("auc_gene" in note and "in c (only one class: no negative label)" in note for note in saved["notes"])
    line = (tmp_path / "crossval.tsv").read_text().splitlines()[1].split("\t")
    assert line[0] == "auc_gene_per_track_mean" and line[3] == "" and line[6] == "2" and float(line[4]) > 0.5
    text = summary.text().splitlines()
    assert text[0].split() == ["a", "b", "c", "mean", "±", "sd", "all", "genes"]
    assert text[1].split() == ["genes", "30", "20", str(results["c"].records), str(50 + results["c"].records)]
    assert text[2].split()[:4] == ["auc", *(f"{value:.4f}" for value in row.values[:2]), "–"]
    assert text[-1].startswith("note: auc_gene undefined in c")


def test_one_defined_value_has_no_spread():
    assert np.isnan(Row((0.5, np.nan), np.nan).sd) and Row((0.5, np.nan), np.nan).mean == 0.5
    assert np.isnan(Row((np.nan,), np.nan).mean)


def test_what_the_sample_does_not_tell_has_no_value_over_all(folds):
    results = folds(False)
    summary = summarize_folds({fold: changed(result, "mse_gene_per_track_mean") for fold, result in results.items()})
    assert np.isnan(summary.rows["mse_gene"].together) and np.isfinite(summary.rows["mae_gene"].together)
    few = dataclasses.replace(results["a"].samples, seen=10**6)
    summary = summarize_folds(results | {"a": dataclasses.replace(results["a"], samples=few)})
    assert summary.together is None and all(np.isnan(row.together) for row in summary.rows.values())
    assert "only a sample of them is kept" in summary.text()


def changed(result, name):
    """The result of a task that defines a metric in its own way."""
    return dataclasses.replace(result, summary=result.summary | {name: result.summary[name] + 0.5})


def test_evaluations_of_other_outputs_do_not_mix(folds):
    results = folds(True, "a", "b")
    results["b"] = dataclasses.replace(results["b"], tracks=["other"])
    with pytest.raises(JaxepiError, match="evaluation of b is about other outputs than that of a"):
        summarize_folds(results)


def test_a_summary_of_saved_evaluations_is_the_same_though_a_fold_has_thousands(folds, tmp_path):
    results = folds(True, "a", "many", "more")
    for fold, result in results.items():
        result.save(tmp_path / fold)
    loaded = {fold: EvalResult.load(tmp_path / fold) for fold in results}
    assert loaded["many"].step == 7 and loaded["many"].samples.complete
    assert json.dumps(summarize_folds(loaded).to_json("last")) == json.dumps(summarize_folds(results).to_json("last"))


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_figures_of_classes(folds):
    results = folds(True)
    results["c"] = one_class(results["c"])
    summary = summarize_folds(results)
    assert fold_plots.fold_scatter(summary) is None
    points = fold_plots.fold_values(summary).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(np.ma.filled(points[:, 1], np.nan), summary.rows["auc_gene"].values)
    assert "undefined" in drawn(fold_plots.fold_values(summary))
    texts = drawn(fold_plots.fold_curves(summary))
    assert "c  undefined" in texts and f"all together  {summary.rows['auc_gene'].together:.3f}" in texts


def test_figures_of_numbers(folds):
    few = summarize_folds(folds(False))
    assert fold_plots.fold_curves(few) is None
    axes = fold_plots.fold_scatter(few).axes[0]
    assert [len(points.get_offsets()) for points in axes.collections] == list(SIZES.values())
    assert axes.get_xlabel() == "measured, u"
    many = summarize_folds(folds(False, "a", "many"))
    image = fold_plots.fold_scatter(many).axes[0].images[0].get_array()
    assert image.sum() == 4030


def test_the_page_has_links_notes_and_figures(folds, tmp_path):
    results = folds(True)
    results["c"] = one_class(results["c"])
    dataset = types.SimpleNamespace(folds=("a", "b", "c"))
    config = types.SimpleNamespace(system="<b>", report_checkpoint="best", dataset=dataset)
    page = write_fold_report(tmp_path, summarize_folds(results), config).read_text()
    assert "&lt;b&gt;: cross-validation" in page and "<b>:" not in page
    assert "b+c" in page and 'href="../a/report/report.html"' in page and "optimistic" in page
    assert "undefined in c" in page and "–" in page
    assert sorted(p.name for p in (tmp_path / "report" / "figures").iterdir()) == ["fold_curves.png", "fold_values.png"]
    config.report_checkpoint = "last"
    assert (
        "nothing was chosen on the held-out fold"
        in write_fold_report(tmp_path, summarize_folds(results), config).read_text()
    )
