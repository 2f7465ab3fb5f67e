"""Files of a genome-wide evaluation: correlations, ROC curves of three questions, and figures."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxepi.errors import JaxepiError
from jaxepi.report.genome_plots import Column, along_chromosome, roc_panels, scatter_by_track
from jaxepi.report.pictures import save_figure
from jaxepi.storage.atomic import write_text
from jaxepi.storage.job import file_names, fresh_folder
from jaxepi.systems.cs282a import genome_wide as wide
from jaxepi.systems.cs282a.tracks import TRACKS

CHROM = "chr14"  # nearly all of its windows are test windows


@dataclasses.dataclass(frozen=True)
class Head:
    """What one head predicts of N windows, and the labels it is compared with: (N, T or 1, K) each."""

    name: str
    labels: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """What is evaluated, and how.

    Attributes:
      lads: number of a track -> BED of the LADs of its cell type.
      chroms: that are drawn.
      drawn: numbers of the tracks that are drawn, along chromosomes and as scatter plots; (): all.
      score_track: "first" scores all LADs by track 0, as the original does by mistake; "own" by their cell type's.
      missing: "zero" counts bins without a signal as 0, as the original does; "drop" leaves them out.
    """

    lads: Mapping[int, Path | str] = dataclasses.field(default_factory=dict)
    chroms: Sequence[str] = (CHROM,)
    drawn: Sequence[int] = ()
    score_track: str = "own"
    missing: str = "drop"


def write_genome_report(
    out: Path | str,
    windows: wide.Windows,
    heads: Sequence[Head],
    tracks: Sequence[str],
    lengths: Mapping[str, int],
    choices: Choices = Choices(),
    bin_width: int = 128,
) -> Path:
    """Writes a folder with correlations.tsv, shares.tsv, roc.tsv and figures/; all of it or nothing.

    Args:
      out: a folder that does not exist yet.
      windows: N of them, such as `genome_wide.collect` gives.
      heads: all over these windows; the first ones with labels in bins and in windows are the measured signals.
      tracks: (K,) names; the questions on LMNB1 and methylation are asked where they are the original's.
      lengths: bp of the chromosomes that are drawn and counted.
      choices: see `Choices`.
      bin_width: bp of a bin of the raster.

    Raises:
      JaxepiError: something lies at `out`, or heads of other windows or tracks.
    """
    for head in heads:
        for array in (head.labels, head.values):
            if (len(array), array.shape[2]) != (len(windows), len(tracks)):
                raise JaxepiError(
                    f"The head {head.name} has arrays of shape {array.shape}, but {len(windows)} windows and "
                    f"{len(tracks)} tracks were expected: collect all heads over the same windows."
                )
    splits = wide.split_raster(windows, lengths, bin_width)
    rasters = _Rasters(windows, heads, lengths, bin_width)
    with fresh_folder(Path(out)) as partial:
        figures = partial / "figures"
        figures.mkdir()
        lines = [
            {"head": head.name, **line}
            for head in heads
            for line in wide.correlations(windows, head.labels, head.values, tracks)
        ]
        write_text(partial / "correlations.tsv", wide.as_rows(lines))
        counted = [{"chrom": chrom, **own} for chrom, own in wide.shares(splits).items()]
        write_text(partial / "shares.tsv", wide.as_rows(counted))
        for name, figure in _scatters(windows, heads, tracks, choices):
            save_figure(figures / f"{name}.png", figure)
        for name, figure in _courses(rasters, heads, tracks, choices, bin_width):
            save_figure(figures / f"{name}.png", figure)
        areas = []
        for question, curves in _questions(windows, rasters, heads, tracks, splits, choices):
            save_figure(figures / f"roc_{question}.png", roc_panels(_drawn(curves), question.replace("_", " ")))
            areas += [
                {
                    "question": question, "signal": signal, "split": split, "auc": one.auc, "positive": one.positive,
                    "negative": one.negative,
                }
                for signal, own in curves.items()
                for split, one in own.items()
            ]  # fmt: skip
        if areas:
            write_text(partial / "roc.tsv", wide.as_rows(areas))
    return Path(out)


class _Rasters:
    """Signals on the bins of the genome, made when they are asked for."""

    def __init__(self, windows: wide.Windows, heads: Sequence[Head], lengths: Mapping[str, int], bin_width: int):
        self._given = (windows, lengths, bin_width)
        self._heads = {head.name: head for head in heads}
        in_bins = next((head.labels for head in heads if head.labels.shape[1] > 1), None)
        whole = next((head.labels for head in heads if head.labels.shape[1] == 1), None)
        self.measured = whole if in_bins is None else in_bins
        self.whole = wide.mean_of_bins(self.measured) if whole is None else whole

    def of(self, values: np.ndarray, lengths: Mapping[str, int] | None = None) -> wide.Layer:
        windows, every, bin_width = self._given
        return wide.raster(windows, values, every if lengths is None else lengths, bin_width)

    def only(self, chrom: str) -> dict[str, int]:
        """The length of one chromosome; empty if it has none."""
        return {name: length for name, length in self._given[1].items() if name == chrom}


def _scatters(
    windows: wide.Windows, heads: Sequence[Head], tracks: Sequence[str], choices: Choices
) -> Iterator[tuple[str, Figure]]:
    columns = list(choices.drawn or range(len(tracks)))
    names = [tracks[k] for k in columns]
    for head in heads:
        labels = head.labels if head.labels.shape[1] == head.values.shape[1] else wide.mean_of_bins(head.labels)
        for split in dict.fromkeys(windows.split.tolist()):
            inside = windows.split == split
            pair = (array[inside].reshape(-1, len(tracks))[:, columns] for array in (labels, head.values))
            yield f"scatter_{head.name}_{split}", scatter_by_track(*pair, names)


def _courses(
    rasters: _Rasters, heads: Sequence[Head], tracks: Sequence[str], choices: Choices, bin_width: int
) -> Iterator[tuple[str, Figure]]:
    names = file_names(tracks)
    for chrom in choices.chroms:
        own = rasters.only(chrom)
        if not own:
            raise JaxepiError(f"{chrom} shall be drawn, but no length of it is given.")
        layers = [(h.name, rasters.of(h.labels, own)[chrom], rasters.of(h.values, own)[chrom]) for h in heads]
        for k in choices.drawn or range(len(tracks)):
            scale, unit = wide.label_scale(k) if tuple(tracks) == TRACKS else (1.0, "label")
            columns = [Column(name, measured[:, k], predicted[:, k]) for name, measured, predicted in layers]
            figure = along_chromosome(chrom, tracks[k], columns, bin_width, scale=scale, unit=unit)
            yield f"tracks_{chrom}_{names[k]}", figure


def _questions(
    windows: wide.Windows,
    rasters: _Rasters,
    heads: Sequence[Head],
    tracks: Sequence[str],
    splits: wide.Layer,
    choices: Choices,
) -> Iterator[tuple[str, dict[str, dict[str, wide.Roc]]]]:
    """Name of the question -> signal -> split -> curve."""
    known = [split for split in wide.SPLITS if (windows.split == split).any()]
    signals = {"measured": rasters.measured, **{head.name: head.values for head in heads}}
    for track, path in choices.lads.items():
        codes = wide.lad_codes(windows, wide.read_lads(path)).astype(np.float32)
        lads = rasters.of(codes[:, None, None])
        yield (
            f"LADs_of_{file_names(tracks)[track]}",
            {
                name: {
                    split: wide.lad_roc(
                        layer, lads, splits, split, track, score_track=choices.score_track, missing=choices.missing
                    )
                    for split in known
                }
                for name, layer in ((name, rasters.of(values)) for name, values in signals.items())
            },
        )
    if tuple(tracks) != TRACKS:
        return
    whole = rasters.of(rasters.whole)
    differences = {
        "LMNB1_stronger_in_liver_than_in_myocytes": lambda layer: wide.differential_lmnb1(layer, whole),
        "CpGs_more_methylated_in_HEK293_than_in_GM12878": wide.differential_methylation,
    }
    for question, difference in differences.items():
        truth = difference(whole)
        yield (
            question,
            {
                head.name: {
                    split: wide.difference_roc(guess, truth, splits, split, missing=choices.missing) for split in known
                }
                for head, guess in ((head, difference(rasters.of(head.values))) for head in heads)
            },
        )


def _drawn(
    curves: Mapping[str, Mapping[str, wide.Roc]],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray, float]]]:
    return {name: {split: (one.false, one.true, one.auc) for split, one in own.items()} for name, own in curves.items()}
