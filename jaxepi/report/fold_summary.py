"""The folds of a cross-validation side by side: each metric with its mean and spread, and over all records at once."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.evaluate.evaluator import curves_of
from jaxepi.evaluate.result import EvalResult
from jaxepi.evaluate.sampled import sampled_values
from jaxepi.evaluate.sampling import Sample
from jaxepi.metrics.standard import ErrorSums, PearsonSums, standard_metrics, summarize
from jaxepi.report.words import describe_metrics, headlines, words_of
from jaxepi.storage.atomic import write_json, write_text

_ENDING = "_per_track_mean"
_TOLERANCE = 1e-4  # between sums on the device and on the host


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric over the folds; NaN where undefined."""

    values: tuple[float, ...]  # of each fold
    together: float  # over the records of all folds at once

    @property
    def defined(self) -> np.ndarray:
        """The values that are not NaN."""
        values = np.array(self.values, np.float64)
        return values[~np.isnan(values)]

    @property
    def mean(self) -> float:
        """Over the folds where the value is defined."""
        return float(self.defined.mean()) if self.defined.size else float("nan")

    @property
    def sd(self) -> float:
        """Sample standard deviation (n - 1) over the folds where the value is defined."""
        return float(self.defined.std(ddof=1)) if self.defined.size > 1 else float("nan")


@dataclasses.dataclass(frozen=True)
class FoldSummary:
    """See the module.

    Attributes:
        results: fold -> evaluation of its held-out records by the model that did not see them.
        together: all these predictions as one evaluation, if every one of them is kept, else None.
        rows: metric (`auc_gene`) -> its values, the most important first.
        notes: sentences on what the whole summary leaves out.
    """

    results: Mapping[str, EvalResult]
    together: EvalResult | None
    rows: Mapping[str, Row]
    notes: list[str]

    @property
    def first(self) -> EvalResult:
        """Any of the evaluations, for what all of them share."""
        return next(iter(self.results.values()))

    def headlines(self) -> dict[str, Row]:
        """The rows that matter most."""
        names = headlines(self.first)
        wanted = (f"{value}_{self.first.region}" for value in names)
        return {name: self.rows[name] for name in wanted if name in self.rows}

    def title(self, name: str) -> str:
        """A metric as people call it: `average_precision_gene` -> `average precision`."""
        return name.removesuffix(f"_{self.first.region}").replace("_", " ")

    def to_json(self, checkpoint: str) -> dict[str, object]:
        """All numbers as plain values, NaN where undefined; `checkpoint` is the one that was evaluated."""
        return {
            "checkpoint": checkpoint,
            "folds": {fold: {"records": r.records, "step": r.step} for fold, r in self.results.items()},
            "metrics": {
                name + _ENDING: {
                    "folds": dict(zip(self.results, row.values, strict=True)),
                    "mean": row.mean,
                    "sd": row.sd,
                    "n_folds": int(row.defined.size),
                    "out_of_fold": row.together,
                }
                for name, row in self.rows.items()
            },
            "notes": self.all_notes(),
        }

    def all_notes(self, rows: Mapping[str, Row] | None = None) -> list[str]:
        """The notes, and a sentence for each fold and reason why metrics are undefined there (default: any metric)."""
        found: dict[tuple[str, str], list[str]] = {}
        for name, row in (self.rows if rows is None else rows).items():
            for (fold, result), value in zip(self.results.items(), row.values, strict=True):
                if value != value:
                    reasons = sorted(set(result.undefined.get(name, {}).values())) or ["it has no such value"]
                    found.setdefault((fold, "; ".join(reasons)), []).append(name)
        return self.notes + [
            f"{', '.join(names)} undefined in {fold} ({reason}), left out of mean and sd."
            for (fold, reason), names in found.items()
        ]

    def table(self) -> str:
        """Tab-separated: a line a metric; empty where undefined."""
        lines = ["\t".join(["metric", *self.results, "mean", "sd", "n_folds", "out_of_fold"])]
        for name, row in self.rows.items():
            *numbers, together = (
                "" if value != value else f"{value:.7g}" for value in (*row.values, row.mean, row.sd, row.together)
            )
            lines.append("\t".join([name + _ENDING, *numbers, str(row.defined.size), together]))
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """For the terminal: the most important metrics in columns, then the notes."""
        words = words_of(self.first)
        head = ["", *self.results, "mean ± sd", f"all {words.records}"]
        body = [
            [self.title(name), *map(shown, row.values), spread(row), shown(row.together)]
            for name, row in self.headlines().items()
        ]
        counts = [words.records, *(f"{r.records:,}" for r in self.results.values()), "", f"{self.records:,}"]
        widths = [max(map(len, column)) for column in zip(head, counts, *body, strict=True)]
        lines = [
            "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
            for cells in (head, counts, *body)
        ]
        return "\n".join(
            [*(line.rstrip() for line in lines), *(f"note: {note}" for note in self.all_notes(self.headlines()))]
        )

    @property
    def records(self) -> int:
        """Records of all folds."""
        return sum(result.records for result in self.results.values())

    def write(self, workdir: Path, checkpoint: str) -> None:
        """Writes workdir/crossval.tsv and then workdir/crossval.json.

        Raises:
            JaxepiError: a file cannot be written.
        """
        write_text(workdir / "crossval.tsv", self.table())
        write_json(workdir / "crossval.json", self.to_json(checkpoint))


def shown(value: float) -> str:
    """Four digits, or a dash for what is undefined."""
    return "–" if value != value else f"{value:.4f}"


def spread(row: Row) -> str:
    """`mean ± sd`."""
    return f"{shown(row.mean)} ± {shown(row.sd)}"


def summarize_folds(results: Mapping[str, EvalResult]) -> FoldSummary:
    """Puts the evaluations of the held-out folds side by side.

    Raises:
        JaxepiError: they are not about the same outputs.
    """
    first = next(iter(results.values()))
    for fold, result in results.items():
        if (result.region, result.tracks) != (first.region, first.tracks):
            raise JaxepiError(f"The evaluation of {fold} is about other outputs than that of {next(iter(results))}.")
    together, notes = _together(results)
    rows = {}
    for name in _order(results):
        values = tuple(float(result.summary.get(name + _ENDING, np.nan)) for result in results.values())
        value = together.summary.get(name + _ENDING, np.nan) if together else np.nan
        rows[name] = Row(values, float(value))
    return FoldSummary(results, together, rows, notes)


def _order(results: Mapping[str, EvalResult]) -> list[str]:
    """Names of all metrics without `_per_track_mean`: the most important first, then those that the reports explain."""
    first = next(iter(results.values()))
    found = {name.removesuffix(_ENDING) for r in results.values() for name in r.summary if name.endswith(_ENDING)}
    known = (*headlines(first), *describe_metrics(first))
    listed = [name for name in dict.fromkeys(f"{value}_{first.region}" for value in known) if name in found]
    return listed + sorted(found.difference(listed))


def _together(results: Mapping[str, EvalResult]) -> tuple[EvalResult | None, list[str]]:
    """The predictions of all folds as one evaluation, and a note if it is not complete.

    A value is given only if the same function, applied to each fold alone, gives that fold's own value: tasks may
    define a metric in a way that the sampled values do not tell.
    """
    if not all(result.samples.complete for result in results.values()):
        return None, ["Values over all folds together need every prediction, but only a sample of them is kept."]
    parts = [result.samples for result in results.values()]
    sample = Sample(
        np.concatenate([part.prediction for part in parts]),
        np.concatenate([part.target for part in parts]),
        sum(part.seen for part in parts),
    )
    first = next(iter(results.values()))
    summary, curves = _from_sample(sample, first)
    own = {fold: _from_sample(result.samples, result)[0] for fold, result in results.items()}
    summary = {
        name: value
        for name, value in summary.items()
        if all(_agree(own[fold][name], result.summary.get(name)) for fold, result in results.items())
    }
    records = sum(result.records for result in results.values())
    made = dataclasses.replace(
        first, split="all folds", records=records, summary=summary, curves=curves, samples=sample, windows=[],
        per_track={}, undefined={}, groups={}, step=None,
    )  # fmt: skip
    return made, []


def _agree(ours: float, theirs: float | None) -> bool:
    if theirs is None:
        return False
    return bool(np.isclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))


def _from_sample(sample: Sample, like: EvalResult) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics named as in `like.summary`, and curves named as in `like.curves`, of all values of a sample."""
    mask = ~np.isnan(sample.target)
    values = (sample.prediction, np.nan_to_num(sample.target), mask)
    if like.has_classes:
        metrics = standard_metrics(*values, region=like.region)
    else:
        metrics = {
            f"{like.region}/pearson": PearsonSums.from_values(*values),
            f"{like.region}/error": ErrorSums.from_values(*values),
        }
    regions = (like.region,) * len(like.tracks)
    ranks, _, _ = sampled_values(sample, regions, label_threshold=0.5 if like.has_classes else None)
    summary = {name: value for name, value in (summarize(metrics) | ranks).items() if name.endswith(_ENDING)}
    return summary, curves_of(metrics, len(like.tracks))
