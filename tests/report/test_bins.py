"""The report of counts in bins: few tracks and many, with assays; what is drawn is what was evaluated."""

import dataclasses
import json
import re

import h5py
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from toys.binned import CountsDataset, counts_predictor

from jaxepi.errors import JaxepiError
from jaxepi.evaluate import evaluator
from jaxepi.evaluate.result import EvalResult
from jaxepi.metrics.standard import regression_metrics
from jaxepi.report import fold_plots, group_plots, plots
from jaxepi.report.browser import browser_view
from jaxepi.report.fold_summary import summarize_folds
from jaxepi.report.run_report import write_report
from jaxepi.runs.saved_predictions import saving
from jaxepi.task import Options

WIDTH = 10
REGRESSION = Options(region="bin", label_threshold=None, unit="counts", windows=1)


def counts_step(batch):
    """Values of three decades out of those of the synthetic split, in bins."""
    kept = {name: batch[name] for name in ("mask", "offset")}
    made = {name: 0.05 * 1000 ** (1 - batch[name]) - 0.05 for name in ("prediction", "target")}
    kept["offset"] = np.broadcast_to(WIDTH * np.arange(batch["offset"].shape[1]), batch["offset"].shape)
    return regression_metrics(made["prediction"], made["target"], batch["mask"]), {**made, **kept}


@pytest.fixture
def evaluated(run, split):
    """(number of tracks) -> EvalResult."""

    def make(tracks, records=4, sites=30, **more):
        many = dataclasses.replace(split, tracks=tracks, records=records, sites=sites)
        about = [f"{('CAGE', 'DNASE')[k % 2]}:tissue {k}" for k in range(tracks)]
        sizes = {"bin_width": WIDTH, "descriptions": about}
        return run(many, step=counts_step, options=REGRESSION, **(sizes | more))

    return make


def drawn_texts(figure):
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("tracks", [1, 130])
def test_every_figure_draws(evaluated, tracks):
    result = evaluated(tracks)
    assert not result.has_classes and plots.reliability(result) is None and plots.roc_and_pr(result) is None
    texts = drawn_texts(plots.predicted_against_measured(result))
    assert "measured, counts" in texts and "0" in texts and "10" in texts  # a logarithmic axis
    assert (group_plots.track_scatters(result) is None) == (tracks < 4)
    bars = drawn_texts(plots.per_track_bars(result))
    assert "R2" in bars and any("DNASE:tissue 1" in text for text in bars) == (tracks > 1)
    assert any(text.startswith("CAGE (") for text in drawn_texts(group_plots.assay_boxes(result)))
    for shown in result.windows:
        names = [plots.title_of(result, k) for k in result.shown]
        assert len(drawn_texts(browser_view(shown, names, WIDTH))) > 2 * len(names)


def test_of_many_tracks_little_is_kept(evaluated, tmp_path):
    result = evaluated(130)
    assert len(result.shown) == evaluator.SHOWN_TRACKS == result.windows[0].window.prediction.shape[1]
    assert result.curves["bin/density"].shape[0] == evaluator.SCATTERED_TRACKS
    pearson = result.per_track["pearson_bin"]
    kept = result.curves["bin/density_track"].tolist()
    assert kept[0] == int(np.argmax(pearson)) and kept[-1] == int(np.argmin(pearson))
    result.save(tmp_path)
    again = EvalResult.load(tmp_path)
    assert again.shown == result.shown and again.track_groups == result.track_groups and again.bin_width == WIDTH
    lines = [line.split("\t") for line in (tmp_path / "per_track.tsv").read_text().splitlines()]
    assert lines[0][:2] == ["track", "description"] and lines[2][:2] == ["Track-1", "DNASE:tissue 1"]
    assert float(lines[2][lines[0].index("r2_bin")]) == pytest.approx(result.per_track["r2_bin"][1], rel=1e-6)
    groups = [line.split("\t") for line in (tmp_path / "per_group.tsv").read_text().splitlines()]
    place = groups[0].index("pearson_bin_per_track_mean")
    assert float(groups[1][place]) == pytest.approx(np.mean(pearson[::2]), rel=1e-6) and groups[1][1] == "65"


def test_folds_share_the_axes_of_all_their_values(evaluated, monkeypatch):
    folds = {name: evaluated(2, records) for name, records in (("a", 2), ("b", 4))}
    summary = summarize_folds(folds)
    known = [~np.isnan(result.samples.target) for result in folds.values()]
    axes = fold_plots.fold_scatter(summary).axes[0]
    assert [len(points.get_offsets()) for points in axes.collections] == [keep.sum() for keep in known]
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["0", "1", "10"]
    monkeypatch.setattr(fold_plots, "FEW_VALUES", 10)
    assert fold_plots.fold_scatter(summary).axes[0].images[0].get_array().sum() == sum(keep.sum() for keep in known)


def test_coverage_lies_in_its_bins(evaluated):
    shown = evaluated(2).windows[0]
    measured, predicted = browser_view(shown, ["a", "b"], WIDTH).axes[2:4]
    for ax, values in ((measured, shown.window.target), (predicted, shown.window.prediction)):
        drawn, edges, _ = ax.patches[0].get_data()
        first = shown.start + shown.window.offset[0] + 1
        place = (shown.window.offset - shown.window.offset[0]) // WIDTH
        assert edges[0] == first and (np.diff(edges) == WIDTH).all()
        np.testing.assert_array_equal(drawn[place], values[:, 1])
        assert np.isnan(np.delete(drawn, place)).all()
    assert measured.get_ylim() == predicted.get_ylim()


def test_the_page_has_assays_headlines_and_no_classes(evaluated, tmp_path):
    result = evaluated(5)
    page = re.sub('base64,[^"]*', "", write_report(tmp_path, {"test": result}, None, {}).read_text())
    for text in ("test r2 at bin, mean over tracks", "test mse at bin", "Assays, means over their tracks", "<td>DNASE"):
        assert text in page
    assert "AUC" not in page and "ROC" not in page and f"{result.track_groups['CAGE']['pearson_bin']:.4f}" in page
    names = {path.name for path in (tmp_path / "report/figures").iterdir()}
    assert {"test_assays.png", "test_density.png", "test_scatters.png", "test_per_track.png"} <= names
    assert json.loads((tmp_path / "metrics.json").read_text())["splits"]["test"]["track_groups"].keys() == {
        "CAGE", "DNASE"
    }  # fmt: skip


def test_thousands_of_undefined_values_do_not_fill_the_page(evaluated, tmp_path):
    result = dataclasses.replace(evaluated(1), windows=[], curves={})
    undefined = {f"v{n}_bin": {0: "again"} for n in range(702)}
    page = write_report(tmp_path, {"test": dataclasses.replace(result, undefined=undefined)}, None, {}).read_text()
    assert "702 undefined values" in page and page.count("<td>again</td>") == 500


def test_saved_predictions_are_there_when_all_went_well(run, split, tmp_path):
    predictor = counts_predictor()
    dataset = CountsDataset(predictor, {"test": 5})
    records, task = dataset.split("test"), predictor.task
    target = np.stack([record["target"] for record in records]).astype(np.float32)
    target[0, 0, 0], mask = 1e6, np.ones((8, *target.shape[1:]), bool)
    padded = np.concatenate([target, np.zeros((3, *target.shape[1:]), np.float32)])
    mask[1, 2, 1] = False
    with pytest.raises(ZeroDivisionError), saving(tmp_path / "out", task, 5):
        1 / 0  # noqa: B018
    assert not list((tmp_path / "out").iterdir())
    with saving(tmp_path / "out", task, 5) as keeper:
        for low in (0, 4):
            rows = slice(low, low + 4)
            keeper.add(np.arange(low, low + 4), None, padded[rows] / 2, padded[rows], mask[rows])
    assert keeper.notes() == ["values beyond the range of float16, written as 65504: 2"]
    with h5py.File(tmp_path / "out/preds.h5") as preds, h5py.File(tmp_path / "out/targets.h5") as targets:
        wanted = np.where(mask[:5], np.minimum(target, 65504), np.nan)
        np.testing.assert_allclose(targets["targets"], wanted, rtol=1e-3)
        np.testing.assert_allclose(preds["preds"], np.minimum(target / 2, 65504), rtol=1e-3, atol=1e-6)
    with pytest.raises(JaxepiError, match="predicts none: leave it out"):
        saving(tmp_path, type("Task", (), {"grid": type("Grid", (), {"at": "site"})}), 5).__enter__()
