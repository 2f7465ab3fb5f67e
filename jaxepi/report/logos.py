"""Sequence logos, drawn letter by letter: the height of a column is what it tells in bits."""

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from jaxepi.errors import JaxepiError
from jaxepi.sequence import BASES
from jaxepi.storage.atomic import write_atomically

# Told apart with any colour vision (Okabe and Ito).
_COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
_MOST_BITS = 2.0
_FORMATS = ("svg", "png", "pdf")


def letter_heights(frequencies: np.ndarray) -> np.ndarray:
    """Heights in bits (C, 4) of A C G T: each letter's share of what its column tells, 0 to 2."""
    share = np.clip(np.asarray(frequencies, np.float64), 0, 1)
    entropy = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0).sum(axis=1, keepdims=True)
    return share * np.maximum(_MOST_BITS - entropy, 0)


def draw_logo(axes: Axes, heights: np.ndarray) -> None:
    """Draws letters of the given heights (C, 4), the largest of a column on top; negative ones hang below the line."""
    font = FontProperties(family="DejaVu Sans", weight="bold")
    outlines = {base: TextPath((0, 0), base, size=1, prop=font) for base in BASES}
    for column, own in enumerate(heights):
        for sign in (1, -1):
            bottom = 0.0
            for base in np.argsort(np.abs(own)):
                height = float(own[base])
                if height * sign <= 0:
                    continue
                _draw_letter(axes, outlines[BASES[base]], _COLOURS[BASES[base]], column, bottom, height)
                bottom += height
    axes.set_xlim(0, max(len(heights), 1))
    low, high = np.minimum(heights, 0).sum(axis=1), np.maximum(heights, 0).sum(axis=1)
    axes.set_ylim(min(0.0, float(low.min(initial=0))), max(float(high.max(initial=0)), 1e-3))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(np.arange(len(heights)) + 0.5, np.arange(1, len(heights) + 1))


def _draw_letter(axes: Axes, outline: TextPath, colour: str, column: int, bottom: float, height: float) -> None:
    box = outline.get_extents()
    stretch = Affine2D().translate(-box.x0, -box.y0).scale(0.94 / box.width, abs(height) / box.height)
    place = stretch.translate(column + 0.03, bottom + min(height, 0.0))
    axes.add_patch(PathPatch(outline.transformed(place), facecolor=colour, edgecolor="none"))


def write_logo(path: Path, frequencies: np.ndarray, title: str) -> None:
    """Writes the logo of a motif (C, 4) as SVG, PNG or PDF, by the ending of `path`; the same bytes each time."""
    ending = path.suffix.removeprefix(".")
    if ending not in _FORMATS:
        raise JaxepiError(f"{path}: logos are written as {', '.join(_FORMATS)}, not as {ending!r}.")
    figure = Figure(figsize=(0.9 + 0.42 * len(frequencies), 1.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_logo(axes, letter_heights(frequencies))
    axes.set_ylim(0, _MOST_BITS)
    axes.set_ylabel("bits")
    axes.set_title(title, fontsize=9)
    made = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
    with rc_context({"svg.hashsalt": "logo"}):  # else its names of things are random
        figure.savefig(made, format=ending, metadata=undated)
    write_atomically(path, lambda file: file.write(made.getvalue()))
