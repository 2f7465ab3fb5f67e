"""What an evaluation leaves: numbers, a table per track, curves and a few windows; written and read again."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.evaluate.sampling import Sample, Window
from jaxepi.storage.atomic import write_arrays, write_json, write_text

SAVED_SAMPLE = 5_000  # positions of the sample that go to disk at least, enough for a scatter plot
SAVED_VALUES = 100_000  # positions x tracks that go to disk: with few tracks, more positions
MOST_SAVED_VALUES = 2_000_000  # with thousands of tracks, fewer positions


@dataclasses.dataclass(frozen=True)
class BrowserWindow:
    """A held-out window with its place in the genome (0-based start; chrom is empty if unknown)."""

    chrom: str
    start: int
    window: Window


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """One split, evaluated.

    Attributes:
        split: name of the split.
        region: what the predictions cover, as in the metric names (`cpg`).
        tracks: names (K,).
        records: windows evaluated (padding not counted).
        seconds: wall time, with compilation.
        summary: flat name -> number, the names carry the reduction; NaN where undefined.
        per_track: name -> K values.
        undefined: name -> {track number: reason}.
        curves: name -> array. `<region>/fpr`, `tpr`, `precision` (K, points); `<region>/calibration_count`,
            `_prediction`, `_target` (K, bins); `<region>/density` (K, bins, bins; predicted, measured); each also as
            `<name>_flat` with K = 1 for all tracks together. Of more than 64 tracks only `_flat` is kept. The curves of
            the i-th of `groups` (from 0) are `<kind>-<i>/fpr` and so on. `<region>/density_range_flat` are the ends of
            the axes; of values without bounds also the floor of a logarithmic axis (see `evaluate.sampled_density`),
            and then `density` and `density_range` are of the tracks that `density_track` numbers.
        samples: positions for rank-based values (from disk: the first 5 000 of them, with few tracks more).
        windows: for the browser view.
        groups: part of the records (such as an annotation) -> name -> K values; see jaxepi.metrics.groups.
        step: of the checkpoint that was evaluated, None if unknown.
        unit: of predicted and measured values, for axes.
        system: whose words a report uses; empty if unknown.
        bin_width: bp of a bin; 0 where values are of single positions.
        descriptions: of the tracks (K,); empty if there are none.
        track_groups: assay -> `n_tracks` and the mean over its tracks of every value of `per_track`.
        shown: numbers of the tracks that `windows` hold.
    """

    split: str
    region: str
    tracks: list[str]
    records: int
    seconds: float
    summary: dict[str, float]
    per_track: dict[str, list[float]]
    undefined: dict[str, dict[int, str]]
    curves: dict[str, np.ndarray]
    samples: Sample
    windows: list[BrowserWindow]
    groups: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)
    step: int | None = None
    unit: str = ""
    system: str = ""
    bin_width: int = 0
    descriptions: list[str] = dataclasses.field(default_factory=list)
    track_groups: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    shown: list[int] = dataclasses.field(default_factory=list)

    @property
    def has_classes(self) -> bool:
        """Whether measured values count as positive or negative."""
        return f"auc_{self.region}" in self.per_track

    def to_json(self) -> dict[str, object]:
        """Every number of the evaluation as plain values (NaN stays NaN)."""
        return {
            "split": self.split,
            "region": self.region,
            "unit": self.unit,
            "system": self.system,
            "step": self.step,
            "records": self.records,
            "seconds": self.seconds,
            "summary": self.summary,
            "tracks": self.tracks,
            "per_track": self.per_track,
            "undefined": self.undefined,
            "groups": self.groups,
            "bin_width": self.bin_width,
            "descriptions": self.descriptions,
            "track_groups": self.track_groups,
            "shown": self.shown,
            "windows": [
                {"chrom": w.chrom, "start": w.start, "record": w.window.record, "choice": w.window.choice}
                for w in self.windows
            ],
            "sample_seen": self.samples.seen,
        }

    def save(self, folder: Path) -> None:
        """Writes metrics.json (last), per_track.tsv, plots_data.npz and, of assays, per_group.tsv into `folder`.

        Raises:
            JaxepiError: a file cannot be written.
        """
        arrays = {f"curve:{name}": array for name, array in self.curves.items()}
        kept = max(SAVED_SAMPLE, SAVED_VALUES // max(len(self.tracks), 1))
        kept = min(kept, MOST_SAVED_VALUES // max(len(self.tracks), 1))
        arrays["sample:prediction"] = self.samples.prediction[:kept]
        arrays["sample:target"] = self.samples.target[:kept]
        for number, shown in enumerate(self.windows):
            window = shown.window
            arrays[f"window{number}:offset"] = window.offset
            arrays[f"window{number}:prediction"] = window.prediction
            arrays[f"window{number}:target"] = window.target
            arrays[f"window{number}:score"] = np.array(window.score)
        write_arrays(folder / "plots_data.npz", arrays)
        write_text(folder / "per_track.tsv", self.table())
        if self.track_groups:
            write_text(folder / "per_group.tsv", self.group_table())
        write_json(folder / "metrics.json", self.to_json())

    def table(self) -> str:
        """Tab-separated: a line per track; tabs and line ends in names become spaces; empty where undefined."""
        about = [("description", self.descriptions)] if self.descriptions else []
        lines = ["\t".join(["track", *(name for name, _ in about), *self.per_track])]
        for number, track in enumerate(self.tracks):
            texts = [track, *(column[number] for _, column in about)]
            values = [_shown(column[number]) for column in self.per_track.values()]
            lines.append("\t".join([*(" ".join(text.split()) for text in texts), *values]))
        return "\n".join(lines) + "\n"

    def group_table(self) -> str:
        """Tab-separated: a line per assay, with the means over its tracks."""
        lines = ["\t".join(["group", "n_tracks", *(f"{name}_per_track_mean" for name in self.per_track)])]
        for group, values in self.track_groups.items():
            lines.append("\t".join([" ".join(group.split()), *(_shown(value) for value in values.values())]))
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, folder: Path) -> "EvalResult":
        """Reads what `save` wrote; undefined numbers come back as NaN.

        Raises:
            JaxepiError: a file is missing or not what `save` writes.
        """
        try:
            text = json.loads((folder / "metrics.json").read_text())
            with np.load(folder / "plots_data.npz", allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            windows = [
                BrowserWindow(
                    place["chrom"],
                    place["start"],
                    Window(
                        record=place["record"],
                        offset=arrays[f"window{number}:offset"],
                        prediction=arrays[f"window{number}:prediction"],
                        target=arrays[f"window{number}:target"],
                        choice=place["choice"],
                        score=float(arrays[f"window{number}:score"]),
                    ),
                )
                for number, place in enumerate(text["windows"])
            ]
            samples = Sample(arrays["sample:prediction"], arrays["sample:target"], text["sample_seen"])
            return cls(
                split=text["split"],
                region=text["region"],
                tracks=text["tracks"],
                records=text["records"],
                seconds=text["seconds"],
                summary={name: _number(value) for name, value in text["summary"].items()},
                per_track=_numbers(text["per_track"]),
                undefined={n: {int(k): v for k, v in why.items()} for n, why in text["undefined"].items()},
                curves={n.removeprefix("curve:"): a for n, a in arrays.items() if n.startswith("curve:")},
                samples=samples,
                windows=windows,
                groups={g: _numbers(values) for g, values in text.get("groups", {}).items()},
                step=text.get("step"),
                unit=text.get("unit", ""),
                system=text.get("system", ""),
                bin_width=text.get("bin_width", 0),
                descriptions=text.get("descriptions", []),
                track_groups={
                    group: {name: _number(value) for name, value in values.items()}
                    for group, values in text.get("track_groups", {}).items()
                },
                shown=text.get("shown") or list(range(len(text["tracks"]))),
            )
        except Exception as problem:  # a damaged file raises one of many types
            reason = " ".join(str(problem).split()) or type(problem).__name__
            raise JaxepiError(f"{folder} holds no complete evaluation ({reason}); run it again.") from None


def _shown(value: float) -> str:
    return "" if value != value else f"{value:.7g}"


def _numbers(table: dict[str, list[float | None]]) -> dict[str, list[float]]:
    return {name: [_number(value) for value in values] for name, values in table.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
