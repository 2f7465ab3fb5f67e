"""What the figures of tracks show."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, QuadMesh

from jaxepi.metrics import exact
from jaxepi.report import genome_plots
from jaxepi.report.genome_plots import Column, along_chromosome, roc_panels, scatter_by_track


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("count", [40, 5_000])
def test_a_scatter_has_a_panel_a_track_with_its_own_numbers(count):
    random = np.random.default_rng(0)
    measured = random.normal(size=(count, 7)) * np.arange(1, 8)
    predicted = measured + random.normal(size=measured.shape)
    measured[3, 2] = np.nan
    figure = scatter_by_track(measured, predicted, [f"t$_{k}" for k in range(7)])
    FigureCanvasAgg(figure).draw()
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(shown) == 7
    for k, ax in enumerate(shown):
        known = np.isfinite(measured[:, k])
        pair = predicted[known, k], measured[known, k]
        assert texts(ax) == [f"r = {exact.pearson(*pair):.3f}\nρ = {exact.spearman(*pair):.3f}"]
        assert ax.get_xlim() == ax.get_ylim()
        kind = PathCollection if count == 40 else QuadMesh
        (drawn,) = [one for one in ax.collections if isinstance(one, kind)]
        if count == 40:
            np.testing.assert_array_equal(drawn.get_offsets(), np.stack([pair[1], pair[0]], 1))
        else:
            assert drawn.get_array().sum() == known.sum()  # extremes are drawn at the edge


def test_a_track_without_values_is_drawn_empty():
    figure = scatter_by_track(np.full((4, 1), np.nan), np.ones((4, 1)), ["a"])
    FigureCanvasAgg(figure).draw()
    assert texts(figure.axes[0]) == ["r = nan\nρ = nan"]


def test_a_course_shows_means_and_ranges_of_bins(monkeypatch):
    monkeypatch.setattr(genome_plots, "PIXELS", 3)
    values = np.array([1.0, 3.0, np.nan, np.nan, 5.0])
    columns = [Column("one", values, 2 * values), Column("two", values, values)]
    figure = along_chromosome("chr14", "track", columns, 1_000_000, scale=0.5, unit="reads")
    FigureCanvasAgg(figure).draw()
    above, below = figure.axes[0], figure.axes[2]
    np.testing.assert_array_equal(above.lines[0].get_xdata(), [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(above.lines[0].get_ydata(), [1.0, np.nan, 2.5])
    np.testing.assert_array_equal(below.lines[0].get_ydata(), [2.0, np.nan, 5.0])
    band = above.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.5, 1.5)
    assert above.get_ylabel() == "measured\nreads" and below.get_xlabel() == "chr14 (Mb)"
    assert len(figure.axes) == 4 and above.get_ylim() == figure.axes[3].get_ylim()


def test_roc_panels_name_their_areas():
    line = np.array([0.0, 1.0])
    figure = roc_panels({"linear": {"test": (line, line, 0.5), "valid": (line, line, np.nan)}}, "LADs")
    FigureCanvasAgg(figure).draw()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["test (0.500)", "valid (one class)"]
