"""Figures: what they show, for one, four, thirty-nine and many tracks, and names taken literally."""

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from jaxepi.report import plots
from jaxepi.report.browser import _with_gaps, browser_view
from jaxepi.storage.history import RunHistory
from jaxepi.task import Options

NASTY = "<script>$x^2$</script>"


def drawn_texts(figure):
    """Draws the figure and returns every visible text, as written on it (after `$` was unescaped)."""
    FigureCanvasAgg(figure).draw()
    return [text.get_text().replace(r"\$", "$") for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture(params=[1, 4, 39, 130])
def result(request, run, split):
    many = dataclasses.replace(split, tracks=request.param, records=4, sites=30)
    return run(many, names=[NASTY, *many.names[1:]], options=Options(windows=1))


def test_every_figure_draws_and_names_are_literal(result):
    figures = [plots.per_track_bars(result), plots.predicted_against_measured(result), plots.reliability(result)]
    figures += [plots.roc_and_pr(result), *(browser_view(shown, result.tracks) for shown in result.windows)]
    shown = [drawn_texts(figure) for figure in figures]
    assert all(shown)
    if len(result.tracks) <= plots.MAX_BARS:
        assert NASTY in shown[0] and NASTY in shown[4]


def test_bars_are_the_values_sorted_and_bounded_in_number(result):
    figure = plots.per_track_bars(result)
    pearson = [bar.get_width() for bar in figure.axes[-2].patches]
    values = sorted(result.per_track["pearson_cpg"], reverse=True)
    if len(values) > plots.MAX_BARS:
        values = values[: plots.END_BARS] + values[-plots.END_BARS :]
        counts = [bar.get_height() for bar in figure.axes[0].patches]
        assert sum(counts) == len(result.tracks)
    np.testing.assert_allclose(pearson, values)
    auc = figure.axes[-1].patches
    assert all(bar.get_x() == 0.5 for bar in auc)
    assert figure.get_size_inches()[1] < 13


def test_undefined_tracks_say_so_and_ceilings_are_ticks(run, split):
    result = run(split)
    result.per_track["auc_cpg"][1] = float("nan")
    best = {"Track-0": {"pearson_cpg": 0.93}}
    figure = plots.per_track_bars(result, best)
    assert drawn_texts(figure).count("undefined") == 1
    ticks = np.concatenate([line.get_xdata() for line in figure.axes[0].lines])
    assert np.nanmax(ticks) == 0.93 and np.isfinite(ticks).sum() == 1


def test_all_tracks_undefined_still_draws(run, split):
    result = run(split)
    for name in ("pearson_cpg", "auc_cpg"):
        result.per_track[name] = [float("nan")] * 3
    assert drawn_texts(plots.per_track_bars(result)).count("undefined") == 6


def test_tracks_of_another_region_are_left_out(run, split):
    result = run(split)
    result.per_track["n_values_cpg"][0] = 0
    shown = drawn_texts(plots.per_track_bars(result))
    assert "Track-1" in shown and "Track-0" not in shown


def test_a_density_shows_all_and_extremes(run, split, monkeypatch):
    monkeypatch.setattr(plots, "FEW_VALUES", 100)
    figure = plots.predicted_against_measured(run(split))
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.images]
    assert [title.partition(":")[0] for title in titles] == ["All tracks together", "Best", "Median", "Worst"]
    assert images[0].sum() == run(split).summary["n_values_cpg_total"]


def test_few_values_are_points_on_equal_axes(run, split):
    result = run(dataclasses.replace(split, tracks=1))
    figure = plots.predicted_against_measured(result)
    (points,) = figure.axes[0].collections
    shown = np.ma.getdata(points.get_offsets())
    known = ~np.isnan(result.samples.target)
    np.testing.assert_allclose(np.sort(shown[:, 0]), np.sort(result.samples.target[known]))
    np.testing.assert_allclose(np.sort(shown[:, 1]), np.sort(result.samples.prediction[known]))
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim()
    assert f"spearman = {result.per_track['spearman_cpg'][0]:.3f}" in "".join(drawn_texts(figure))


def classes_step(batch):
    from jaxepi.metrics import standard as metrics

    target = (batch["target"] > 0.5).astype(np.float32)
    values = (batch["prediction"], target, batch["mask"])
    return metrics.standard_metrics(*values), {**batch, "target": target}


def test_classes_are_two_histograms_and_fractions_are_not(run, split):
    assert plots.class_histograms(run(split)) is None
    result = run(split, step=classes_step)
    assert plots.predicted_against_measured(result) is None
    figure = plots.class_histograms(result)
    areas = [patch.get_data().values.sum() for patch in figure.axes[0].patches]
    np.testing.assert_allclose(areas, 1.0)
    positives = int(np.nansum(result.samples.target))
    assert f"measured as 1 ({positives:,})" in drawn_texts(figure)


def test_bins_of_the_reliability_are_fewer_where_values_are_few(run, split):
    for records, bins in ((1, 5), (4, 10), (13, 20)):
        result = run(dataclasses.replace(split, tracks=1, records=records, sites=55))
        bars = plots.reliability(result).axes[1].patches
        assert len(bars) == bins
        assert sum(bar.get_height() for bar in bars) == result.summary["n_values_cpg_total"]
    count = result.curves["cpg/calibration_count_flat"][0]
    mean = result.curves["cpg/calibration_prediction_flat"][0]
    merged, means = plots._fewer_bins(count // 50, mean)
    weights = (count // 50).reshape(len(merged), -1)
    known = weights.sum(axis=1) > 0
    expected = (weights * np.nan_to_num(mean).reshape(weights.shape)).sum(axis=1)[known] / weights.sum(axis=1)[known]
    np.testing.assert_allclose(means[known], expected)


def test_browser_axis_counts_from_one(run, split):
    shown = run(split).windows[0]
    figure = browser_view(shown, split.names)
    first = shown.start + shown.window.offset[0] + 1
    assert figure.axes[0].get_title(loc="left").startswith(f"chr20:{first:,}-")
    points = next(line for line in figure.axes[0].lines if line.get_label() == "measured")
    assert points.get_xdata()[0] == first
    np.testing.assert_array_equal(points.get_ydata(), shown.window.target[:, 0])


def test_heat_map_cells_lie_at_their_positions(run, split):
    many = dataclasses.replace(split, tracks=9)
    shown = run(many).windows[0]
    measured = browser_view(shown, many.names).axes[1].collections[0]
    grid = measured.get_array().reshape(9, -1)[:, ::2]
    np.testing.assert_array_equal(np.ma.filled(grid, np.nan), shown.window.target.T)
    edges = measured.get_coordinates()[0, :, 0]
    position = shown.start + shown.window.offset + 1
    assert (edges[::2] <= position).all() and (position <= edges[1::2]).all() and (np.diff(edges) >= 0).all()


def test_lines_break_at_gaps():
    x, y = _with_gaps(np.array([0, 10, 1000]), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(x).tolist() == np.isnan(y).tolist() == [False, False, True, False]


def test_loss_curves_of_short_and_long_runs():
    def history(steps, evals):
        train = {step: {"loss": 1 / step, "terms": {"tracks": 0.5 / step}} for step in range(1, steps)}
        return RunHistory({}, {}, train, evals)

    assert plots.loss_curves(history(0, {}), "auc") is None
    alone = {step: {"loss": 1 / step, "terms": {"entropy": 1 / step}} for step in range(1, 5)}
    assert len(plots.loss_curves(RunHistory({}, {}, alone, {})).axes[0].lines) == 1
    short = plots.loss_curves(history(2, {}), "auc")
    assert len(short.axes) == 1 and len(short.axes[0].lines) == 2
    both = plots.loss_curves(history(400, {"valid": {10: {"auc": 0.7}, 20: {"auc": None}}}), "auc")
    assert len(both.axes) == 2 and both.axes[1].lines[0].get_xdata().tolist() == [10]
    texts = drawn_texts(both)
    assert "loss (all terms)" in texts and "tracks" in texts and "valid" in texts


def test_long_names_keep_both_ends():
    text = plots.literal("GSM5652317_" + "x" * 80 + "_Z000000UB", 30)
    assert len(text) == 30 and text.startswith("GSM5652317_") and text.endswith("_Z000000UB")
    assert plots.literal("a\nb\t$c$") == r"a b \$c\$"
