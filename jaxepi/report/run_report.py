"""The report of a run: one self-contained HTML file, every figure as a file, every number in metrics.json."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxepi.config import monitors
from jaxepi.evaluate.result import EvalResult
from jaxepi.report import group_plots, plots
from jaxepi.report.browser import browser_view
from jaxepi.report.page import PAGE
from jaxepi.report.pictures import Picture, environment, figure_block, make_pictures, write_pictures
from jaxepi.report.words import describe_figures, describe_metrics, headlines, words_of
from jaxepi.storage.atomic import plain, write_json, write_text
from jaxepi.storage.history import RunHistory, read_log

MOST_UNDEFINED = 500  # undefined values that the page lists; all are in metrics.json
ASSAY_VALUES = ("pearson", "spearman", "r2", "mse", "mean_target", "mean_prediction")
GROUP_VALUES = ("auc", "average_precision", "accuracy", "tpr", "tnr", "f1", "mcc")


def write_report(
    workdir: Path,
    results: Mapping[str, EvalResult],
    log_path: Path | None,
    config: Any,
    expectation: str | Mapping[str, Any] | None = None,
) -> Path:
    """Writes workdir/report/report.html, report/figures/*.png and workdir/metrics.json.

    Args:
        workdir: of the run.
        results: split -> its evaluation; may be empty (training curves only).
        log_path: log.jsonl of the run, or None.
        config: the run's configuration (a mapping, ConfigDict or anything with to_dict).
        expectation: what can be reached on this dataset: a text, or a mapping with `text` and
            `splits`: {split: {metric name: best possible value, `per_track`: {track: {value_region: number}}}}.

    Returns:
        The path of the HTML file.

    Raises:
        JaxepiError: a file cannot be written; what was there before stays.
    """
    history = read_log(log_path)
    results = {split: dataclasses.replace(result, split=split) for split, result in results.items()}
    settings = _as_dict(config)
    note, best = _expectation(expectation)
    curves = {"loss_curves": plots.loss_curves(history, _monitor(settings, history))}
    training = make_pictures(curves, "", describe_figures())
    by_split = {split: _split_pictures(result, best.get(split, {})) for split, result in results.items()}
    sections = [_section(result, best.get(split, {}), by_split[split]) for split, result in results.items()]
    page = environment().from_string(PAGE).render(
        title=f"{_experiment(settings)}: evaluation report",
        subtitle=f"Run folder {Path(workdir).resolve()}",
        cards=[card for result in results.values() for card in _cards(result)],
        note=note,
        facts=_facts(history, settings, results),
        config=json.dumps(plain(settings), indent=1, default=str),
        training_figures=training,
        sections=sections,
        figure_block=figure_block,
    )  # fmt: skip
    folder = Path(workdir) / "report"
    write_pictures(folder / "figures", [*training, *(p for pictures in by_split.values() for p in pictures)])
    numbers = {
        "run": {key: history.start.get(key) for key in ("versions", "devices", "dataset", "parameters")},
        "training": _training_numbers(history),
        "expectation": {"text": note, "splits": best},
        "splits": {split: result.to_json() for split, result in results.items()},
    }
    write_json(Path(workdir) / "metrics.json", numbers)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _as_dict(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    value = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {str(key): item for key, item in value.items()}


def _experiment(settings: Mapping[str, Any]) -> str:
    names = [settings.get(key) for key in ("experiment", "name", "system")]
    return next((str(name) for name in names if name), "jaxepi")


def _monitor(settings: Mapping[str, Any], history: RunHistory) -> str | None:
    """The metric of the validation curve: the one that the run watched, else the first known name that was logged."""
    logged = {name for by_step in history.evals.values() for metrics in by_step.values() for name in metrics}
    watched = (history.end.get("best") or {}).get("metric")
    wanted = [
        *monitors(settings.get("monitor"), watched or ""),
        watched,
        *(f"{value}_cpg_per_track_mean" for value in ("pearson", "auc", "mae")),
        *sorted(logged),
    ]
    return next((name for name in wanted if name in logged), None)


def _expectation(given: str | Mapping[str, Any] | None) -> tuple[str, dict[str, dict[str, Any]]]:
    if given is None or isinstance(given, str):
        return given or "", {}
    return str(given.get("text", "")), {split: dict(best) for split, best in dict(given.get("splits", {})).items()}


def _split_pictures(result: EvalResult, best: Mapping[str, Any]) -> list[Picture]:
    prefix = re.sub(r"[^A-Za-z0-9_-]", "_", result.split) + "_"
    figures = {
        "per_track": plots.per_track_bars(result, best.get("per_track")) if len(result.tracks) > 1 else None,
        "assays": group_plots.assay_boxes(result),
        "density": plots.predicted_against_measured(result),
        "scatters": group_plots.track_scatters(result),
        "classes": plots.class_histograms(result),
        "reliability": plots.reliability(result),
        "roc_pr": plots.roc_and_pr(result),
        "groups": group_plots.group_bars(result),
        "group_curves": group_plots.group_curves(result),
    }
    windows, about = {}, {}
    names = [plots.title_of(result, track) for track in result.shown] if result.bin_width else result.tracks
    for number, shown in enumerate(result.windows, start=1):
        windows[f"window{number}"] = browser_view(shown, names, result.bin_width)
        why = {"varied": "chosen because its measured values vary most", "random": "chosen at random"}
        about[f"window{number}"] = (
            f"Held-out window {number}: {shown.chrom or 'record'}:{shown.start + 1:,}",
            f"Measured and predicted values at their positions, counted from 1. This window was "
            f"{why.get(shown.window.choice, 'given')}; how well it is predicted had no part in the choice.",
        )
    return make_pictures(figures, prefix, describe_figures(result)) + make_pictures(windows, prefix, about)


def _number(value: Any, digits: int = 4) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def _cards(result: EvalResult) -> list[dict[str, str]]:
    words, single = words_of(result), len(result.tracks) == 1
    names = [(value, f"{value}_{result.region}_per_track_mean") for value in headlines(result)]
    where = f"at {result.region}, " + (result.tracks[0] if single else "mean over tracks")
    if single and words.one_value:
        where = f"over its {words.records}"
    return [
        {"value": _number(result.summary[name], 3), "name": f"{result.split} {value.replace('_', ' ')} {where}"}
        for value, name in names
        if name in result.summary
    ]


def _section(result: EvalResult, best: Mapping[str, Any], pictures: list[Picture]) -> dict[str, Any]:
    region, summary = result.region, result.summary
    meaning = describe_metrics(result)
    bases = {name.removesuffix("_per_track_mean") for name in summary if name.endswith("_per_track_mean")}
    order = [f"{value}_{region}" for value in meaning]
    rows = []
    for base in [name for name in order if name in bases] + sorted(bases - set(order)):
        rows.append(
            {
                "name": base,
                "mean": _number(summary[f"{base}_per_track_mean"]),
                "sd": _number(summary.get(f"{base}_per_track_sd")),
                "tracks": _number(summary.get(f"{base}_n_tracks")),
                "flat": _number(summary.get(f"{base}_flat")),
                "best": _number(best.get(f"{base}_per_track_mean")),
                "what": meaning.get(base.rpartition("_")[0], ""),
            }
        )
    undefined = [
        (name, result.tracks[track], reason)
        for name, reasons in result.undefined.items()
        for track, reason in reasons.items()
    ]
    return {
        "anchor": re.sub(r"[^A-Za-z0-9_-]", "_", result.split),
        "name": f"Split: {result.split}",
        "about": _about(result),
        "rows": rows,
        "single": len(result.tracks) == 1,
        "has_best": any(row["best"] != "–" for row in rows),
        "undefined": undefined[:MOST_UNDEFINED],
        "undefined_count": len(undefined),
        "assays": _assay_rows(result),
        "assay_values": [value for value in ASSAY_VALUES if f"{value}_{region}" in result.per_track],
        "groups": _group_rows(result),
        "group_values": GROUP_VALUES,
        "figures": pictures,
    }


def _about(result: EvalResult) -> str:
    """What was evaluated, in sentences."""
    words = words_of(result)
    parts = [f"{result.records:,} {words.records}", f"{len(result.tracks):,} tracks" if len(result.tracks) > 1 else ""]
    values = result.summary.get(f"n_values_{result.region}_total")
    if values is not None:
        parts.append(f"{int(values):,} {words.values}")
    text = ", ".join(part for part in parts if part) + ". "
    sampled = result.summary.get(f"sample_positions_{result.region}", len(result.samples.prediction))
    if not (words.one_value and result.samples.complete):
        complete = "all" if result.samples.complete else "a random choice"
        text += f"Sampled positions: {int(sampled):,} ({complete} of {result.samples.seen:,}). "
    checkpoint = "" if result.step is None else f"The weights are those of step {result.step:,}. "
    return text + f"{checkpoint}Evaluated in {result.seconds:.0f} s."


def _group_rows(result: EvalResult) -> list[dict[str, Any]]:
    """A line a group: number of values of all tracks, and means over tracks."""
    return [
        {
            "name": group,
            "count": _number(sum(values["n_values"])),
            "means": [_number(group_plots.known_mean(values[name])) for name in GROUP_VALUES],
        }
        for group, values in result.groups.items()
    ]


def _assay_rows(result: EvalResult) -> list[dict[str, Any]]:
    """A line an assay: number of its tracks, and means over them."""
    names = [f"{value}_{result.region}" for value in ASSAY_VALUES]
    return [
        {
            "name": assay,
            "count": _number(int(values["n_tracks"])),
            "means": [_number(values[name]) for name in names if name in values],
        }
        for assay, values in result.track_groups.items()
    ]


def _facts(
    history: RunHistory, settings: Mapping[str, Any], results: Mapping[str, EvalResult]
) -> list[tuple[str, str]]:
    start, facts = history.start, []

    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {item}" for key, item in value.items())
        return str(value)

    dataset = start.get("dataset") or settings.get("dataset")
    for name, value in (("Devices", start.get("devices")), ("Versions", start.get("versions")), ("Dataset", dataset)):
        if value:
            facts.append((name, words(value)))
    tracks = next(iter(results.values())).tracks if results else []
    if len(tracks) > 1 or (tracks and not words_of(next(iter(results.values()))).one_value):
        shown = ", ".join(tracks[:8]) + (f" and {len(tracks) - 8} more" if len(tracks) > 8 else "")
        facts.append(("Tracks", f"{len(tracks)}: {shown}"))
    if start.get("parameters"):
        facts.append(("Parameters", f"{start['parameters']:,}"))
    if history.done is not None:
        planned = f" of {history.planned()} planned" if history.planned() else ""
        ended = f" ({history.end['reason']})" if history.end else ""
        facts.append(("Steps", f"{history.done:,}{planned}{ended}"))
    reported = sorted({result.step for result in results.values() if result.step is not None})
    if reported:
        facts.append(("Reported weights", f"those of step {' and '.join(f'{step:,}' for step in reported)}"))
    several = f" in {len(history.starts)} starts" if len(history.starts) > 1 else ""
    if history.minutes() is not None:
        facts.append(("Training time", f"{history.minutes():.1f} minutes{several}"))
    if history.throughput() is not None:
        facts.append(("Throughput", f"{history.throughput():.2f} samples/s (median while training)"))
    if history.starts:
        facts.append(("Started", history.starts[0] + (f", again at {history.starts[-1]}" if several else "")))
    return facts


def _training_numbers(history: RunHistory) -> dict[str, Any]:
    last = next(reversed(history.train.values())) if history.train else {}
    return {
        "steps_done": history.done,
        "steps_planned": history.planned(),
        "first_start": history.starts[0] if history.starts else None,
        "starts": len(history.starts),
        "last_step": last.get("step"),
        "last_loss": last.get("loss"),
        "samples_per_second_median": history.throughput(),
        "minutes": history.minutes(),
        "ended": history.end.get("reason"),
        "best": history.end.get("best"),
        "loss_curves": {name: {"step": s, "value": v} for name, (s, v) in history.series().items()},
        "validation": history.evals,
    }
