"""Cross-validation in one command: an ordinary run for each fold, then a summary over all of them.

workdir/fold1 ...               runs like any other: resumed, evaluated and used by the same commands
workdir/crossval.json, .tsv     every metric for each fold, its mean and standard deviation over the folds
workdir/report/report.html      the same with figures
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxepi.config import changed_fields, check_folds, check_same_run, dataset_source, hold_out, report_checkpoint
from jaxepi.data import Dataset
from jaxepi.data.open import find_dataset
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.evaluate.result import EvalResult
from jaxepi.parallel.hosts import say
from jaxepi.registry import check_config, default_sections, get_system
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.storage.atomic import plain
from jaxepi.storage.history import read_log
from jaxepi.train.loop import train


def cross_validate(config: Any, workdir: Path, only: Sequence[str] | None = None) -> str:
    """Trains and evaluates the folds of config.dataset.folds one after the other, then writes the summary.

    A fold that is finished under this very config is left as it is; any other goes through `train`, which goes on from
    its newest checkpoint, or refuses a config that is not that run's.

    Args:
      config: of one fold, whichever it holds out.
      workdir: gets a folder for each fold and the summary.
      only: folds to train; the summary is over these and over others that are finished. None for all.

    Returns:
      "finished" or "interrupted".

    Raises:
      JaxepiError: config, dataset or a workdir do not fit; nothing was trained if that could be known before.
    """
    folds = check_folds(config)
    chosen = check_chosen(folds, only)
    dataset = check_before(config, workdir, folds)
    for fold in chosen:
        check_run(of_fold(config, fold), workdir / fold)
    for number, fold in enumerate(folds, start=1):
        if fold not in chosen:
            continue
        own, place = of_fold(config, fold), workdir / fold
        if finished(own, dataset, place) is not None:
            say(f"{fold} ({number} of {len(folds)}) is finished: {place}")
            continue
        say(f"{fold} ({number} of {len(folds)}) is held out: {place}")
        if train(own, place) == "interrupted":
            return "interrupted"
        evaluate_run(place, own, None, report=config.report)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("folds")  # process 0 has written evaluations and reports
    results = {fold: finished(of_fold(config, fold), dataset, workdir / fold) for fold in folds}
    known = {fold: result for fold, result in results.items() if result is not None}
    if changed := next((fold for fold in chosen if fold not in known), None):
        raise JaxepiError(f"{workdir / changed} was changed before the summary was made; run the same command again.")
    if jax.process_index() == 0:
        _summarize(known, config, workdir)
    return "finished"


def _summarize(results: dict[str, EvalResult], config: Any, workdir: Path) -> None:
    from jaxepi.report.fold_report import write_fold_report  # matplotlib is slow to import, and only needed here
    from jaxepi.report.fold_summary import summarize_folds

    summary = summarize_folds(results)
    summary.write(workdir, report_checkpoint(config))
    print(summary.text(), flush=True)
    if config.report:
        say(f"report: {write_fold_report(workdir, summary, config)}")


def of_fold(config: Any, fold: str) -> Any:
    """A copy of the config that holds out this fold."""
    own = copy.deepcopy(config)
    hold_out(own, fold)
    return own


def check_chosen(folds: Sequence[str], only: Sequence[str] | None) -> Sequence[str]:
    """The folds to train.

    Raises:
      JaxepiError: one of them is no fold of the config.
    """
    for fold in only or ():
        if fold not in folds:
            raise JaxepiError(
                f"--folds names {fold!r}{did_you_mean(fold, folds)}, but config.dataset.folds has {', '.join(folds)}."
            )
    return only or folds


def check_before(config: Any, workdir: Path, folds: Sequence[str]) -> Dataset:
    """Opens the dataset and checks, before any training, that every fold can be trained and evaluated.

    Raises:
      JaxepiError: the workdir holds a single run, a fold has no records, or the others are fewer than a batch.
    """
    if (workdir / "checkpoints").exists():
        raise JaxepiError(
            f"{workdir} holds a run of its own, but cross-validation puts one run a fold below it; choose another "
            "--workdir."
        )
    check_config(config)
    dataset = find_dataset(**dataset_source(config), kinds=get_system(config.system).datasets)
    counts = ", ".join(f"{name} {count:,}" for name, count in dataset.splits.items())
    for fold in folds:
        if not dataset.splits.get(fold):
            raise JaxepiError(
                f"{dataset.path} has no records of the fold {fold!r} (it has {counts}); prepare records for it, or "
                "name the folds to use in --config.dataset.folds."
            )
    for fold in folds:
        others = sum(dataset.splits[other] for other in folds if other != fold)
        if others < config.batch_size:
            raise JaxepiError(
                f"{dataset.path} has {others} records outside the fold {fold!r}, fewer than one batch of "
                f"{config.batch_size}; lower --config.batch_size or prepare more."
            )
    if config.dataset.test_split:
        dataset.split(config.dataset.test_split).close()
    return dataset


def check_run(config: Any, place: Path) -> None:
    """Raises JaxepiError if the run at `place` cannot go on under this config, as `train` would only say later."""
    before = read_log(place / "log.jsonl").start.get("config")
    if before and any((place / "checkpoints").glob("[0-9]*")):
        check_same_run(before, plain(config), place, default_sections(config.system))


def finished(config: Any, dataset: Dataset, place: Path) -> EvalResult | None:
    """The evaluation of the held-out fold, if the run at `place` is over and evaluated under this very config.

    The run's own log says so: its last start had this config (a field that one of the two does not know has its
    default) and this dataset and came to its end, and what lies in eval/ and report/ is about the checkpoint that
    config.report_checkpoint names.
    """
    history = read_log(place / "log.jsonl")
    if history.end.get("reason", "interrupted") == "interrupted":
        return None
    if (history.start.get("dataset") or {}).get("fingerprint") != dataset.fingerprint:
        return None
    if changed_fields(history.start.get("config") or {}, plain(config), default_sections(config.system)):
        return None
    step, best = history.end["step"], (history.end.get("best") or {}).get("step")
    if report_checkpoint(config) == "best" and best is not None:
        step = best
    return _evaluated(config, place, step)


def _evaluated(config: Any, place: Path, step: int) -> EvalResult | None:
    """The evaluation of the validation split, if it, that of the test split and the report are there for `step`."""
    results, splits = [], (config.dataset.validation_split, config.dataset.test_split)
    for split in filter(None, splits):
        try:
            results.append(EvalResult.load(place / "eval" / split))
        except JaxepiError:
            return None
    report = place / "report" / "report.html"
    if config.report:
        newest = max((place / "eval" / result.split / "metrics.json").stat().st_mtime_ns for result in results)
        if not report.is_file() or report.stat().st_mtime_ns < newest:
            return None
    return results[0] if all(result.step == step for result in results) else None
