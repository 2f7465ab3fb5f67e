"""The figure of a region: what its axes say and hold."""

import numpy as np
import pytest

from jaxepi.report.pictures import save_figure
from jaxepi.report.region_plots import Mark, Panel, along_region

SPAN, START, WIDTH = ("chr2", 127_068_416, 127_070_976), 127_068_416, 128
PREDICTED = np.linspace(0.0, 4.0, 20)


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_a_panel_a_track_with_its_correlation_and_the_gene(tmp_path):
    measured = np.where(np.arange(20) < 18, 2 * PREDICTED, np.nan)
    panels = [Panel("a$b", PREDICTED, measured, 0.5), Panel("c", PREDICTED, measured, float("nan"))]
    mark = Mark("BIN1", 127_069_700, True)
    figure = along_region(SPAN, START, WIDTH, panels, unit="coverage", mark=mark)
    assert [ax.get_title("left") for ax in figure.axes] == [r"a\$b", "c"]
    assert [ax.get_title("right") for ax in figure.axes] == ["Pearson r = 0.500", "r undefined"]
    assert figure.get_suptitle() == "BIN1, chr2:127068416-127070976" and texts(figure) == ["← BIN1"]
    assert figure.get_supylabel() == "coverage" and figure.axes[-1].get_xlabel() == "position on chr2 (Mb)"
    assert figure.axes[0].get_xlim() == pytest.approx((127.068416, 127.070976))
    assert figure.axes[0].get_ylim()[1] == pytest.approx(measured[17] * 1.08)
    save_figure(tmp_path / "a.png", figure)
    ticks = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert len(set(ticks)) == len(ticks) > 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured", "predicted"]
    again = along_region(SPAN, START, WIDTH, panels, unit="coverage", mark=mark)
    save_figure(tmp_path / "b.png", again)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_prediction_alone_shades_what_was_not_asked_for():
    asked = (127_069_000, 127_070_000)
    figure = along_region(SPAN, START, WIDTH, [Panel("a", PREDICTED)], unit="log2(1 + coverage)", asked=asked)
    assert figure.get_suptitle() == "chr2:127069000-127070000 (white), in chr2:127068416-127070976, predicted"
    shaded = [patch.get_x() for patch in figure.axes[0].patches if hasattr(patch, "get_x")]
    assert shaded == pytest.approx([127.068416, 127.07]) and not figure.legends
    whole = along_region(SPAN, START, WIDTH, [Panel("a", np.zeros(20))], unit="x", bins=16, asked=SPAN[1:])
    assert whole.axes[-1].get_xlabel() == "position on chr2 (Mb), means of 16 bins"
    assert whole.get_suptitle() == "chr2:127068416-127070976, predicted"
    assert whole.axes[0].get_ylim() == (0.0, 1.0)
