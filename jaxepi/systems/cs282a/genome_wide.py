"""Measured and predicted tracks along whole chromosomes: which bins lie in lamina-associated domains (LADs), and more.

Windows fill a raster of bins from base 0 of each chromosome. Where windows overlap, the last one counts. Letters: N
windows, T bins of a window, K tracks, G bins of a chromosome.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxepi.data.dataset import Dataset
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals
from jaxepi.genome.text_files import read_bed
from jaxepi.metrics import exact
from jaxepi.predictor import Predictor
from jaxepi.task import predicted

SPLITS = {"train": 1, "valid": 2, "test": 3}  # the number of a split in a raster; 0 where no window lies
MYOCYTES, LIVER = 0, 9  # tracks of the cell types whose LADs are known
HEK293, GM12878 = 14, 16  # tracks of CpG methylation
LAD_TYPES = (1, 2)
RANKED = 1_000_000  # values that a rank correlation is of at most

Layer = dict[str, np.ndarray]  # chromosome -> (G, ...)


@dataclasses.dataclass(frozen=True)
class Windows:
    """The parts of N windows that are predicted.

    Attributes:
      chrom: (N,) names.
      start: (N,) int64, 0-based first base of the predicted part.
      span: bp of it.
      split: (N,) names.
    """

    chrom: np.ndarray
    start: np.ndarray
    span: int
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


class Roc(NamedTuple):
    """A ROC curve: false and true positive rates, the area, and how many bins are positive and negative."""

    false: np.ndarray
    true: np.ndarray
    auc: float
    positive: int
    negative: int


def collect(
    predictor: Predictor, dataset: Dataset, splits: Sequence[str] = (), batch_size: int = 8
) -> tuple[Windows, np.ndarray, np.ndarray]:
    """The windows of a dataset with their labels (N, T or 1, K) and predictions (N, T or 1, K), float32.

    Args:
      predictor: of a head.
      dataset: with `chrom` and `start` of each record.
      splits: of the dataset, in this order; () for all.
      batch_size: windows that go through the model at once.

    Raises:
      JaxepiError: the dataset is not for this head.
    """
    task, grid = predictor.for_dataset(dataset.manifest), predictor.grid
    places: list[tuple[str, int, str]] = []
    labels, values = [], []
    for split in splits or tuple(name for name, count in dataset.splits.items() if count):
        records = dataset.split(split)
        rows = (records[number] for number in range(len(records)))
        for read, prediction in predictor.over(rows, task, predicted, batch_size):
            places += [(record["chrom"], int(record["start"]) + grid.crop, split) for record in read]
            batch = task.collate(read)
            labels.append(batch["target"])
            values.append(np.asarray(prediction, np.float32))
    chrom, start, split = (np.array(column) for column in zip(*places, strict=True))
    span = int(dataset.manifest["bins"]) * int(dataset.manifest["bin_width"])
    return Windows(chrom, start, span, split), np.concatenate(labels), np.concatenate(values)


def correlations(windows: Windows, labels: np.ndarray, values: np.ndarray, tracks: Sequence[str]) -> list[dict]:
    """Pearson and Spearman of every split and track, and of all tracks as one ("flat"), over bins or windows.

    Args:
      labels, values: (N, P, K); a label of NaN is not known. Labels in bins are averaged where a head predicts windows.

    Returns: a line each: split, track, n, pearson, spearman, and n_spearman, of how many values, evenly chosen, it is.
    """
    if labels.shape[1] > values.shape[1]:
        labels = mean_of_bins(labels)
    lines = []
    for split in dict.fromkeys(windows.split.tolist()):
        inside = windows.split == split
        own, guess = (array[inside].reshape(-1, len(tracks)) for array in (labels, values))
        columns = {track: (own[:, k], guess[:, k]) for k, track in enumerate(tracks)}
        for track, (measured, given) in {**columns, "flat": (own.ravel(), guess.ravel())}.items():
            known = np.isfinite(measured)
            pair = given[known], measured[known]
            some = tuple(values[:: max(1, -(-len(values) // RANKED))] for values in pair)
            lines.append(
                {
                    "split": split, "track": track, "n": int(known.sum()), "pearson": exact.pearson(*pair),
                    "spearman": exact.spearman(*some), "n_spearman": len(some[0]),
                }
            )  # fmt: skip
    return lines


def mean_of_bins(labels: np.ndarray) -> np.ndarray:
    """Labels (N, T, K) to (N, 1, K): the mean over the bins that have one."""
    known = np.isfinite(labels)
    total = np.where(known, labels, 0).sum(axis=1, keepdims=True)
    count = known.sum(axis=1, keepdims=True)
    return np.divide(total, count, out=np.full(total.shape, np.nan, total.dtype), where=count > 0)


def raster(
    windows: Windows, values: np.ndarray, lengths: Mapping[str, int], bin_width: int = 128, fill: float = np.nan
) -> Layer:
    """Values (N, T or 1, K) on the bins of each chromosome (G, K) float32, G = length // bin_width.

    A value of a whole window is that of all of its bins. Windows that leave their chromosome are left out, as are those
    of chromosomes without a length.
    """
    size = windows.span // bin_width
    layer = {c: np.full((n // bin_width, values.shape[2]), fill, np.float32) for c, n in lengths.items()}
    for chrom, start, value in zip(windows.chrom.tolist(), windows.start.tolist(), values, strict=True):
        if chrom in layer and start >= 0 and start + windows.span <= lengths[chrom]:
            first = start // bin_width
            layer[chrom][first : first + size] = value[: len(layer[chrom]) - first]
    return layer


def split_raster(windows: Windows, lengths: Mapping[str, int], bin_width: int = 128) -> Layer:
    """The split of each bin (G,), as `SPLITS` numbers them."""
    numbers = np.array([SPLITS[name] for name in windows.split.tolist()], np.float32)
    layer = raster(windows, numbers[:, None, None], lengths, bin_width, fill=0)
    return {chrom: values[:, 0].astype(np.int8) for chrom, values in layer.items()}


def shares(splits: Layer) -> dict[str, dict[str, float]]:
    """Chromosome -> share of its bins in each split, and in none."""
    names = {"none": 0, **SPLITS}
    return {
        chrom: {name: float((codes == number).mean()) if len(codes) else 0.0 for name, number in names.items()}
        for chrom, codes in splits.items()
    }


def read_lads(path: Path | str) -> dict[int, Intervals]:
    """Type -> LADs of a BED file whose fourth column is T1LAD... or T2LAD....

    Raises:
      JaxepiError: not readable, or a row of another name.
    """
    found: dict[int, list[tuple[str, int, int]]] = {kind: [] for kind in LAD_TYPES}
    for row in read_bed(Path(path)):
        name = row.further[0] if row.further else ""
        kind = int(name[1]) if name[:1] == "T" and name[1:2] in ("1", "2") else None
        if kind is None:
            raise JaxepiError(
                f"{path} line {row.line} is named {name!r}, but T1LAD or T2LAD with a number was expected: give a "
                "table of LADs of both types."
            )
        found[kind].append((row.interval.chrom, row.interval.start, row.interval.end))
    return {kind: Intervals.of(intervals) for kind, intervals in found.items()}


def lad_codes(windows: Windows, lads: Mapping[int, Intervals]) -> np.ndarray:
    """The highest type of the LADs that a window overlaps (N,), 0 if none."""
    codes = np.zeros(len(windows), np.int8)
    for chrom in np.unique(windows.chrom).tolist():
        here = windows.chrom == chrom
        for kind in sorted(lads):
            codes[here] = np.where(lads[kind].touches(chrom, windows.start[here], windows.span), kind, codes[here])
    return codes


def roc(score: np.ndarray, label: np.ndarray, known: np.ndarray) -> Roc:
    """The curve of scores (G,) for labels (G,), over the bins that are known (G,)."""
    score, label = score[known], label[known]
    false, true = exact.roc_curve(score, label)
    positive = int(label.sum())
    return Roc(false, true, exact.auc(score, label), positive, len(label) - positive)


def of_split(layer: Layer, splits: Layer, split: str) -> np.ndarray:
    """The bins of a split, of all chromosomes one after the other."""
    return np.concatenate([layer[chrom][splits[chrom] == SPLITS[split]] for chrom in layer])


def lad_roc(
    signal: Layer, lads: Layer, splits: Layer, split: str, track: int, *, score_track: str = "own",
    missing: str = "drop",
) -> Roc:  # fmt: skip
    """Whether the LMNB1 signal of a track tells the bins of windows with a LAD.

    Args:
      signal: measured or predicted (G, K).
      lads: codes (G,) or (G, 1) of the cell type's LADs.
      splits: from `split_raster`.
      split: the one to evaluate.
      track: of the cell type.
      score_track: "own"; "first" scores every cell type by track 0, as the original does by mistake (parity).
      missing: bins without a signal: "drop" leaves them out; "zero" counts them as 0, as the original does (parity).
    """
    chosen = {"own": track, "first": 0}[score_track]
    score = of_split(signal, splits, split)[:, chosen]
    label = of_split(lads, splits, split).reshape(len(score)) > 0
    return _roc(score, label, np.ones(len(label), bool), missing)


def differential_lmnb1(layer: Layer, measured: Layer, first: int = LIVER, second: int = MYOCYTES) -> Layer:
    """Difference (G,) of two tracks in standard deviations, by mean and deviation of the measured labels of windows.

    Positive where the first track is the stronger one. (The original's title says the contrary.)
    """
    statistics = []
    for track in (first, second):
        column = np.concatenate([values[:, track] for values in measured.values()]).astype(np.float64)
        statistics.append((np.nanmean(column), np.nanstd(column)))
    (mean_a, sd_a), (mean_b, sd_b) = statistics
    return {c: (v[:, first] - mean_a) / sd_a - (v[:, second] - mean_b) / sd_b for c, v in layer.items()}


def differential_methylation(layer: Layer, first: int = HEK293, second: int = GM12878) -> Layer:
    """Difference (G,) of two tracks."""
    return {chrom: values[:, first] - values[:, second] for chrom, values in layer.items()}


def difference_roc(predicted: Layer, measured: Layer, splits: Layer, split: str, *, missing: str = "drop") -> Roc:
    """Whether predicted differences (G,) tell where the measured ones are above 0; `missing` as in `lad_roc`."""
    score, truth = of_split(predicted, splits, split), of_split(measured, splits, split)
    return _roc(score, truth > 0, np.isfinite(truth), missing)


def _roc(score: np.ndarray, label: np.ndarray, measured: np.ndarray, missing: str) -> Roc:
    if missing == "zero":
        return roc(np.nan_to_num(score), label, np.ones(len(label), bool))
    if missing != "drop":
        raise ValueError(f"missing={missing!r}, expected 'drop' or 'zero'")
    return roc(score, label, measured & np.isfinite(score))


def label_scale(track: int) -> tuple[float, str]:
    """What the labels of a track of the original are multiplied by for a plot, and the name of the axis."""
    if track < 12:
        return 1 / 128, "aligned read count"
    if track in (12, 13):
        return 1 / 500, "methylated adenines / adenines"
    return (1 / 500, "methylated CpGs / CpGs") if track in (14, 16) else (1.0, "CpG count")


def as_rows(lines: Sequence[Mapping[str, Any]]) -> str:
    """What `correlations` gives, tab-separated, with a line of names; undefined values are empty."""
    names = list(lines[0])
    cells = [[_cell(line[name]) for name in names] for line in lines]
    return "".join("\t".join(row) + "\n" for row in [names, *cells])


def _cell(value: Any) -> str:
    return "" if value != value else f"{value:.6g}" if isinstance(value, float) else str(value)
