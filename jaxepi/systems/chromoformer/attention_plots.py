"""The figure of one gene: arcs from the TSS to its contacts, marks of the promoter, and the attention to all of them.

Everything is drawn in the direction of transcription, so for a gene on the minus strand the genome runs to the left.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxepi.report.plots import GREY, INK, LIGHT, SERIES, literal, tidy
from jaxepi.storage.atomic import write_atomically
from jaxepi.systems.chromoformer.attention import Contact, GeneAttention

DPI = 160
_WIDTH = 11.0  # inches
_SHADES = LinearSegmentedColormap.from_list("attention", colormaps["Blues"](np.linspace(0.25, 1, 64)))
_LABEL_GAP = 0.036  # of the axis between the numbers of two contacts
_ROW = 0.36  # inches for a contact in the list
_TRACK = 0.30  # inches for a mark


def gene_figure(gene: GeneAttention, marks: Sequence[str], target: str) -> Figure:
    """Draws a gene.

    Args:
      gene: from `jaxepi.systems.chromoformer.attention.of_genes`.
      marks: names of the M marks.
      target: of the model, see `ChromoformerObjective`: what the prediction is.
    """
    top, bottom = max(2.6, _ROW * (len(gene.contacts) + 1) + 0.7), _TRACK * len(marks) + 1.5
    figure = Figure(figsize=(_WIDTH, top + bottom + 0.7), layout="constrained")
    figure.suptitle(_title(gene, target), fontsize=11, color=INK, x=0.01, ha="left")
    above, below = figure.subfigures(2, 1, height_ratios=[top, bottom])
    arcs, ranked = above.subplots(1, 2, width_ratios=[1.75, 1])
    _arcs(arcs, gene)
    _ranking(ranked, gene)
    tracks = below.subplots(len(marks) + 1, 1, sharex=True, height_ratios=[*[_TRACK] * len(marks), 1.0])
    _marks(tracks[:-1], gene, marks)
    _promoter_attention(tracks[-1], gene)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure; the same numbers give the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def _title(gene: GeneAttention, target: str) -> str:
    record, known = gene.record, math.isfinite(gene.record["expression"])
    rpkm = float(record["expression"])
    parts = [
        f"{literal(record['key'])}   {record['chrom']}:{int(record['start']):,} ({'-' if record['minus'] else '+'})"
    ]
    if target == "expression":
        parts.append(f"log2(RPKM + 1): predicted {gene.prediction:.2f}")
        parts += [f"measured {math.log2(rpkm + 1):.2f}"] if known else []
    else:
        label = {0: ", below the median", 1: ", not below the median"}.get(int(record["label"]), "")
        parts.append(f"high expression: predicted probability {gene.prediction:.3f}")
        parts += [f"measured {rpkm:.3g} RPKM{label}"] if known else []
    return "   ".join(parts)


def _arcs(ax: Axes, gene: GeneAttention) -> None:
    """TSS, promoter and contacts on an axis that is linear around the TSS and logarithmic beyond."""
    half = float(np.abs(_edges(gene, min(gene.promoter))).max())
    shown = [contact for contact in gene.contacts if contact.distance is not None]
    places = {contact.number: _squeezed(contact.distance, half) for contact in shown}
    low, high = min([-1.35, *(p - 0.2 for p in places.values())]), max([1.35, *(p + 0.2 for p in places.values())])
    ax.set_xlim(low, high)
    tallest = max([1.0, *(abs(place) for place in places.values())])
    most = max((contact.attention for contact in gene.contacts), default=1.0)
    ax.axhline(0, color=GREY, lw=0.9, zorder=1)
    ax.add_patch(Rectangle((-1, -0.035), 2, 0.07, facecolor=LIGHT, edgecolor=GREY, lw=0.6, zorder=2))
    for contact in reversed(shown):  # the strongest on top
        place, color = places[contact.number], _SHADES(contact.attention / most)
        turn = np.linspace(0, np.pi, 80)
        x, height = place / 2 * (1 - np.cos(turn)), 0.25 + 0.7 * abs(place) / tallest
        ax.plot(x, height * np.sin(turn), color=color, lw=0.8 + 3.2 * contact.attention / most, zorder=3,
                solid_capstyle="round")  # fmt: skip
        _box(ax, contact, gene, half, color)
    _numbers(ax, [(rank, places[c.number]) for rank, c in enumerate(gene.contacts, 1) if c.number in places])
    ax.plot([0, 0, 0.12 * (high - low) / 2.7], [0, 0.13, 0.13], color=INK, lw=1.2, zorder=5)
    ax.plot(0.12 * (high - low) / 2.7, 0.13, marker=">", color=INK, ms=4.5, zorder=5)
    ax.set_ylim(-0.2, 1.05)
    ticks = _ticks(low, high, half)
    ax.set_xticks([_squeezed(tick, half) for tick in ticks], [_distance(tick) for tick in ticks])
    tidy(ax, "distance from the TSS in the direction of transcription")
    note = f"box: the promoter, {2 * half / 1000:g} kb\nlogarithmic beyond it" if shown else "no contact here"
    ax.text(0.0, 1.0, note, transform=ax.transAxes, va="top", fontsize=7.5, color=GREY)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _box(ax: Axes, contact: Contact, gene: GeneAttention, half: float, color: tuple[float, ...]) -> None:
    """A contact on the axis, as long as it is but never too short to be seen."""
    _, start, end = contact.region
    length, middle = end - start, contact.distance
    ends = [_squeezed(middle + side * length / 2, half) for side in (-1, 1)]
    least = 0.008 * (ax.get_xlim()[1] - ax.get_xlim()[0])
    width = max(ends[1] - ends[0], least)
    ax.add_patch(Rectangle((sum(ends) / 2 - width / 2, -0.05), width, 0.1, facecolor=color, edgecolor=INK, lw=0.5,
                           zorder=4))  # fmt: skip


def _numbers(ax: Axes, ranks: Sequence[tuple[int, float]]) -> None:
    """Ranks of contacts below the axis, moved apart where contacts are close."""
    low, high = ax.get_xlim()
    ordered = sorted(ranks, key=lambda item: item[1])
    places = _apart([place for _, place in ordered], _LABEL_GAP * (high - low), low, high)
    for (rank, place), label in zip(ordered, places, strict=True):
        ax.plot([place, label], [-0.05, -0.115], color=GREY, lw=0.6, zorder=1)
        ax.text(label, -0.12, str(rank), ha="center", va="top", fontsize=8.5, color=INK)


def _apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places, moved as little as pleases the eye so that neighbours are `gap` apart within (low, high)."""
    moved = list(places)
    for _ in range(200):
        for i in range(len(moved) - 1):
            lacking = gap - (moved[i + 1] - moved[i])
            if lacking > 1e-9:
                moved[i], moved[i + 1] = moved[i] - lacking / 2, moved[i + 1] + lacking / 2
        moved = [min(max(place, low + gap / 2), high - gap / 2) for place in moved]
    return moved


def _ranking(ax: Axes, gene: GeneAttention) -> None:
    """Attention of every contact as a bar with its score, and that of the promoter to itself."""
    rows = len(gene.contacts) + 1
    most = max((contact.attention for contact in gene.contacts), default=1.0)
    values = [*(contact.attention for contact in gene.contacts), gene.self_attention]
    colors = [*(_SHADES(contact.attention / most) for contact in gene.contacts), LIGHT]
    ax.barh(range(rows), values, height=0.62, color=colors, edgecolor=GREY, lw=0.4)
    longest = max(values)
    for row, value in enumerate(values):
        text = f"{value:.3f}"
        if row < len(gene.contacts):
            text += f"   score {gene.contacts[row].score:.2f}   effect {gene.contacts[row].effect:+.2g}"
        ax.text(value + 0.02 * longest, row, text, va="center", fontsize=7.5, color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    labels = [f"{rank}   {_where(contact)}" for rank, contact in enumerate(gene.contacts, 1)]
    ax.set_yticks(range(rows), [*labels, "the promoter itself"])
    ax.axvline(1 / rows, color=GREY, lw=0.8, ls=(0, (4, 3)))
    tidy(ax, "attention of the promoter (dashed: all equal)")
    ax.tick_params(axis="y", length=0, labelsize=7.5)
    ax.set_xlim(0, 2.05 * longest)
    ax.xaxis.get_major_locator().set_params(nbins=4)
    ax.set_ylim(max(rows, 4) - 0.4, -0.6)  # a bar alone is no taller than among others


def _where(contact: Contact) -> str:
    chrom, start, end = contact.region
    distance = _distance(contact.distance) if contact.distance is not None else "elsewhere"
    return f"{distance}\n{chrom}:{start:,}-{end:,}"


def _marks(axes: Sequence[Axes], gene: GeneAttention, marks: Sequence[str]) -> None:
    """Read depth as the model reads it, a row a mark, in its smallest bins."""
    size = min(gene.promoter)
    left, right = _edges(gene, size)
    known = left < right
    for number, (ax, mark) in enumerate(zip(axes, marks, strict=True)):
        values = gene.marks[known, number]
        color = SERIES[number % len(SERIES)]
        ax.bar(left[known] / 1000, values, width=(right - left)[known] / 1000, align="edge", color=color, lw=0)
        highest = max(float(values.max(initial=0.0)), 1e-6)
        ax.set_ylim(0, 1.05 * highest)
        tidy(ax)
        ax.set_yticks([highest], [f"{highest:.1f}"])
        ax.tick_params(axis="x", length=0)
        ax.axvline(0, color=INK, lw=0.6, ls=(0, (3, 3)))
        ax.set_ylabel(literal(mark, 14), rotation=0, ha="right", va="center", fontsize=8, labelpad=22)
    axes[0].set_title(f"Promoter: log(1 + mean read depth) in bins of {size} bp", fontsize=9, color=INK, loc="left")


def _promoter_attention(ax: Axes, gene: GeneAttention) -> None:
    """Attention of the TSS to bins of the promoter by bin size, mean over heads; 1 is uniform."""
    highest = 1.0
    for color, size in zip((INK, SERIES[1], SERIES[5]), sorted(gene.promoter, reverse=True), strict=False):
        left, right = _edges(gene, size)
        known = left < right
        values = gene.promoter[size].mean(axis=0)[known] * known.sum()
        order = np.argsort(left[known])
        edges = np.append(left[known][order], right[known].max()) / 1000
        ax.stairs(values[order], edges, baseline=None, color=color, lw=1.1, label=f"{size} bp")
        highest = max(highest, float(values.max()))
        ax.set_xlim(edges[0], edges[-1])
    ax.axhline(1, color=GREY, lw=0.8, ls=(0, (4, 3)))
    ax.axvline(0, color=INK, lw=0.6, ls=(0, (3, 3)))
    tidy(ax, "distance from the TSS in the direction of transcription (kb)")
    ax.set_ylabel("attention\n1 = all equal", rotation=0, ha="right", va="center", fontsize=8, labelpad=22)
    ax.set_ylim(0, 1.5 * highest)  # room for the legend
    ax.legend(fontsize=7.5, frameon=False, loc="upper right", ncols=len(gene.promoter), borderaxespad=0)


def _edges(gene: GeneAttention, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right ends of the promoter's bins, bp from the TSS in the direction of transcription; 0, 0 if padded."""
    places, tss = gene.promoter_places[size], int(gene.record["start"])
    known = places[:, 0] >= 0
    offsets = np.where(known[:, None], places - tss, 0).astype(np.float64)
    return (-offsets[:, 1], -offsets[:, 0]) if gene.record["minus"] else (offsets[:, 0], offsets[:, 1])


def _squeezed(distance: float, half: float) -> float:
    """Distance in bp to a place on the axis: linear up to `half` (at 1), one unit for every factor of ten beyond."""
    size = abs(distance) / half
    return math.copysign(size if size <= 1 else 1 + math.log10(size), distance)


def _ticks(low: float, high: float, half: float) -> list[float]:
    """Round distances within the axis, no two of them close."""
    gap, sizes = 0.09 * (high - low), [half]
    for size in (factor * 10.0**power for power in range(3, 9) for factor in (1, 2, 5)):
        if _squeezed(size, half) > _squeezed(sizes[-1], half) + gap:
            sizes.append(size)
    return [0.0, *(side * size for size in sizes for side in (1, -1) if low <= _squeezed(side * size, half) <= high)]


def _distance(bp: float) -> str:
    """`+1.5 Mb`, `-20 kb`, `TSS`."""
    if not bp:
        return "TSS"
    size, unit = (abs(bp) / 1e6, "Mb") if abs(bp) >= 1e6 else (abs(bp) / 1e3, "kb")
    return f"{'+' if bp > 0 else '-'}{size:.3g} {unit}"
