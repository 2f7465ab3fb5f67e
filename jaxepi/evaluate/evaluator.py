"""Evaluates a predict step over a finite stream of batches: merged sums, a sample of positions, a few windows."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from jaxepi.evaluate.result import BrowserWindow, EvalResult
from jaxepi.evaluate.sampled import sampled_values
from jaxepi.evaluate.sampled_density import density_curves, ranked
from jaxepi.evaluate.sampling import PositionSample, Sample, WindowChoice, gather_rows
from jaxepi.metrics.base import Metric, merge_across_hosts, merge_metrics
from jaxepi.metrics.histograms import Calibration, Density, Histogram
from jaxepi.metrics.track_groups import assays_of, group_means, spread_over
from jaxepi.task import Options

SAMPLE_VALUES = 24_000_000  # positions x tracks: bounds the memory with thousands of tracks
DETAILED_TRACKS = 64  # with more tracks, curves are kept for all tracks together only
SCATTERED_TRACKS = 12  # of more than DETAILED_TRACKS, so many get a density of their own
SHOWN_TRACKS = 8  # of bins: tracks that the browser view shows
PROGRESS_SECONDS = 10.0  # between progress lines that cannot overwrite each other

Output = tuple[Mapping[str, Metric], Mapping[str, Any]]


class Keeper(Protocol):
    """What takes in predictions on the way, such as a file of them."""

    def add(
        self, record: np.ndarray, offset: np.ndarray, prediction: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> None:
        """Record numbers (R,), offset (R, S) and prediction, target, mask (R, S, K) of this host; see `evaluate`."""


class Summarizer(Protocol):
    """The part of a task that the evaluator needs."""

    def summarize(self, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        """Merged sums to flat names, `per_track` and, if it knows them, `undefined` and `groups`: see EvalResult."""


def evaluate(
    predict_step: Callable[[Any], Output],
    batches: Iterable[Any],
    task: Summarizer,
    tracks: Sequence[str],
    split: str,
    *,
    options: Options | None = None,
    locate: Callable[[int], tuple[str, int]] | None = None,
    bin_width: int = 0,
    descriptions: Sequence[str] = (),
    keepers: Sequence[Keeper] = (),
    total: int | None = None,
    output: Path | None = None,
    progress: Callable[[str], None] | None = None,
    step: int | None = None,
) -> EvalResult:
    """Runs `predict_step` over every batch, in the order of the split.

    Args:
        predict_step: jitted; batch -> (metrics of the batch by name, predictions). Predictions hold `prediction`,
            `target`, `mask` (B, S, K) and optionally `offset` (B, S), positions in the window (default 0..S-1).
            Padding rows are masked out. Row b of the (global) batch g is record g * B + b of the split.
        batches: finite; each is passed to `predict_step` as it is. `row_mask` (B,), if there, marks padding by 0.
        task: finalises the metrics.
        tracks: names (K,).
        split: name, for the result.
        options: see Options.
        locate: record number -> (chromosome, 0-based start) of its window, for the browser view.
        bin_width: bp of a bin, where values are of bins; 0: of single positions.
        descriptions: of the tracks (K,), if there are any; tracks are grouped by the assay that they begin with.
        keepers: take in all predictions too, padding rows included.
        total: number of batches if known, for the progress line.
        output: folder for metrics.json, per_track.tsv and plots_data.npz (written by process 0).
        progress: receives a line now and then; default: the terminal.
        step: of the checkpoint, if known, for the result.

    Raises:
        JaxepiError: the result cannot be written.
        ValueError: there is no batch.
    """
    options, started = options or Options(), time.monotonic()
    assays = assays_of(descriptions)
    shown = spread_over(assays, len(tracks), SHOWN_TRACKS if bin_width else len(tracks))
    intake, line = _Intake(len(tracks), options, shown, keepers), _ProgressLine(split, total, progress)
    pending = None
    for batch in batches:
        # One step late: the device works on this batch while the host takes in the one before.
        upcoming = (batch, *predict_step(batch))
        if pending is not None:
            intake.take(*pending)
        pending = upcoming
        line.step()
    if pending is None:
        raise ValueError(f"the split {split!r} gave no batch to evaluate")
    intake.take(*pending)
    line.finish()
    metrics, sample, records = intake.gather()
    summary = dict(task.summarize(metrics))
    per_track, undefined = dict(summary.pop("per_track", {})), dict(summary.pop("undefined", {}))
    groups = summary.pop("groups", {})
    regions = options.regions or (options.region,) * len(tracks)
    sampled = sampled_values(sample, regions, options.label_threshold, options.kendall, options.flat_ranks)
    for part, add in zip((summary, per_track, undefined), sampled, strict=True):
        part.update(add)
    locate = locate or (lambda record: ("", 0))
    curves = curves_of(metrics, len(tracks))
    pearson = per_track.get(f"pearson_{options.region}")
    if options.label_threshold is None and pearson and f"{options.region}/density_flat" not in curves:
        most = len(tracks) if len(tracks) <= DETAILED_TRACKS else SCATTERED_TRACKS
        curves |= density_curves(sample, options.region, ranked(pearson, most))
    result = EvalResult(
        split=split,
        region=options.region,
        tracks=list(tracks),
        records=records,
        seconds=time.monotonic() - started,
        summary=summary,
        per_track=per_track,
        undefined=undefined,
        groups=groups,
        curves=curves,
        samples=sample,
        windows=[BrowserWindow(*locate(window.record), window) for window in intake.windows.result()],
        step=step,
        unit=options.unit,
        system=options.system,
        bin_width=bin_width,
        descriptions=list(descriptions),
        track_groups=group_means(assays, per_track),
        shown=shown,
    )
    if output is not None and jax.process_index() == 0:
        result.save(output)
    return result


class _Intake:
    """Takes in one batch's output after the other; `gather` ends it."""

    def __init__(self, tracks: int, options: Options, shown: Sequence[int], keepers: Sequence[Keeper]) -> None:
        self.tracks, self.records, self._rows = tracks, 0, 0
        self._shown = slice(None) if len(shown) == tracks else list(shown)
        size = max(1, min(options.sample_positions, SAMPLE_VALUES // max(tracks, 1)))
        self.sample = PositionSample(size, options.seed)
        self.windows = WindowChoice(options.windows, seed=options.seed)
        self._keepers = (self.sample, *keepers)
        self._merged: dict[str, Metric] | None = None
        self._global = False

    def take(self, batch: Any, metrics: Mapping[str, Metric], predictions: Mapping[str, Any]) -> None:
        self._global = any(not leaf.is_fully_addressable for leaf in jax.tree.leaves(metrics) if _is_jax(leaf))
        self._merged = merge_metrics(self._merged, {name: metric.to_host() for name, metric in metrics.items()})
        padding = {"row_mask": batch["row_mask"]} if isinstance(batch, Mapping) and "row_mask" in batch else {}
        rows, values, global_rows = local_rows({**predictions, **padding})
        mask = np.asarray(values["mask"]) != 0
        offset = values.get("offset", np.broadcast_to(np.arange(mask.shape[1]), mask.shape[:2]))
        taken = (values["prediction"], values["target"], mask)
        for keeper in self._keepers:
            keeper.add(self._rows + rows, offset, *taken)
        self.windows.add(self._rows + rows, offset, *(array[..., self._shown] for array in taken))
        self.records += int((np.asarray(values["row_mask"]) > 0).sum()) if padding else len(rows)
        self._rows += global_rows

    def gather(self) -> tuple[dict[str, Metric], Sample, int]:
        """Metrics, sample and number of records of all hosts."""
        assert self._merged is not None
        # A step over a mesh of all hosts has summed the global batch already; else each host holds its own rows' sums.
        metrics = self._merged if self._global else merge_across_hosts(self._merged)
        records = sum(int(part[0]) for part in gather_rows(np.array([self.records])))
        return dict(metrics), self.sample.result(self.tracks), records


def _is_jax(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array)


def local_rows(arrays: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
    """This host's rows of arrays (B, ...): their numbers in the global batch, the values, and the global B."""
    mask = arrays["mask"]
    size = np.shape(mask)[0]
    if not _is_jax(mask) or mask.is_fully_addressable:
        first = size * jax.process_index()
        return first + np.arange(size), jax.device_get(dict(arrays)), size * jax.process_count()
    shards = {name: _row_shards(array) for name, array in arrays.items()}
    rows = [np.arange(start, start + len(part)) for start, part in shards["mask"].items()]
    values = {name: np.concatenate(list(parts.values())) for name, parts in shards.items()}
    if mask.is_fully_replicated and jax.process_index():
        return np.arange(0), {name: value[:0] for name, value in values.items()}, size
    return np.concatenate(rows), values, size


def _row_shards(array: jax.Array) -> dict[int, np.ndarray]:
    """First row -> values of the distinct shards on this host, in order."""
    shards = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return {start: np.asarray(shards[start]) for start in sorted(shards)}


def curves_of(metrics: Mapping[str, Metric], tracks: int) -> dict[str, np.ndarray]:
    """What the plots draw, see EvalResult.curves."""
    curves: dict[str, np.ndarray] = {}
    for key, metric in metrics.items():
        region = key.partition("/")[0]
        forms = {"_flat": metric.pooled()} | ({"": metric} if tracks <= DETAILED_TRACKS else {})
        for ending, form in forms.items():
            if isinstance(form, Histogram):
                named = form.curves()
            elif isinstance(form, Calibration):
                named = {f"calibration_{name}": curve for name, curve in form.curves().items()}
            elif isinstance(form, Density):
                named = {"density": form.counts, "density_range": np.array([form.low, form.high])}
            else:
                named = {}
            curves |= {f"{region}/{name}{ending}": curve for name, curve in named.items()}
    return curves


class _ProgressLine:
    """Says how far the evaluation is, at most every ten seconds (more often where a line can be overwritten)."""

    def __init__(self, split: str, total: int | None, write: Callable[[str], None] | None) -> None:
        self.split, self.total, self.done = split, total, 0
        self.write, self.every = write or self._to_terminal, PROGRESS_SECONDS
        if write is None and sys.stderr.isatty():
            self.every = 0.5
        self.last = self.first = time.monotonic()

    def step(self) -> None:
        self.done += 1
        if self.done == 1:
            self.first = time.monotonic()  # the first batch waits for compilation, which says nothing about the rate
        if time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            self.write(self._text())

    def finish(self) -> None:
        self.write(self._text())
        if self.write == self._to_terminal and sys.stderr.isatty():
            print(file=sys.stderr)

    def _text(self) -> str:
        seconds = time.monotonic() - self.first
        rate = (self.done - 1) / seconds if seconds else 0.0
        missing = (self.total or 0) - self.done
        left = f", {missing / rate:.0f} s left" if missing > 0 and rate else ""
        of = f"/{self.total}" if self.total else ""
        return f"evaluate {self.split}: batch {self.done}{of}, {rate:.2f} batches/s{left}"

    def _to_terminal(self, text: str) -> None:
        if jax.process_index() == 0:
            overwrite = sys.stderr.isatty()
            print(f"\r{text:<79}" if overwrite else text, end="" if overwrite else "\n", file=sys.stderr, flush=True)
