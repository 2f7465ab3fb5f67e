"""Evaluation of a run's checkpoint on splits of its dataset, as files and a report."""

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from jaxepi.config import check_run, dataset_source, monitors, report_checkpoint
from jaxepi.data import Dataset, Mixture, check_batch_size
from jaxepi.data.mixture import Part
from jaxepi.data.open import find_dataset
from jaxepi.errors import JaxepiError
from jaxepi.evaluate.evaluator import Keeper
from jaxepi.evaluate.result import EvalResult
from jaxepi.evaluate.split import evaluate_split, own_metric
from jaxepi.evaluate.step import make_evaluate_step
from jaxepi.parallel.hosts import say
from jaxepi.parallel.mesh import make_mesh, state_shardings
from jaxepi.registry import get_system, make_task, task_of
from jaxepi.report.expectation import expectation
from jaxepi.runs.saved_predictions import saving
from jaxepi.task import Task, part_of
from jaxepi.trained import RestoredModel, restore_model


def evaluate_run(
    workdir: Path,
    config: Any,
    split: str | None,
    checkpoint: str | None = None,
    report: bool = True,
    save: bool = False,
) -> dict[str, EvalResult]:
    """Evaluates a run's checkpoint and writes eval/<split>/ and the report.

    Args:
      workdir: of the run.
      config: where the data lie, batch size and readers; None takes the run's own.
      split: one split; None for validation and test of the run.
      checkpoint: "best", "best_<metric>" or "last"; None for what config.report_checkpoint says.
      save: also write preds.h5 and targets.h5 into eval/<split>/, see `jaxepi.runs.saved_predictions`.

    Returns:
      split -> EvalResult; of several datasets <split>_<dataset> -> EvalResult, one for each.

    Raises:
      JaxepiError: no run, no checkpoint, no dataset, no split.
    """
    if checkpoint is None and config is not None:
        checkpoint = report_checkpoint(config)
    if config is not None:
        check_run(config)
    restored = restore_model(workdir, checkpoint)
    config = config if config is not None else restored.config
    dataset = find_dataset(**dataset_source(config), kinds=get_system(restored.config.system).datasets)
    if dataset.fingerprint != restored.meta["fingerprint"]:
        say(f"note: {dataset.path} is not the dataset that {workdir} was trained on")
    task, mesh = _task_for(dataset, restored, workdir), make_mesh(config.mesh.fsdp)
    check_batch_size(config.eval_batch_size, mesh.size, name="config.eval_batch_size")
    graphdef, params, rest = nnx.split(restored.model, nnx.Param, ...)
    params, rest = jax.device_put((params, rest), state_shardings(mesh, (params, rest)))
    predict_step = functools.partial(make_evaluate_step(task, graphdef, mesh), params, rest)
    own = restored.config.dataset  # not the given config's: a run of another fold was trained on its validation split
    splits = [split] if split else [name for name in (own.validation_split, own.test_split) if name]
    several = len(dataset.parts) > 1
    places = {f"{name}_{part}" if several else name: (name, part) for name in splits for part in dataset.parts}
    results = {}
    for place, (name, part) in places.items():
        folder, data = workdir / "eval" / place, dataset.parts[part]
        with _saving(folder, task, data, name) if save else contextlib.nullcontext() as keeper:
            results[place] = evaluate_split(
                predict_step, task, data, name, mesh, config,
                output=folder, step=restored.meta["step"], keepers=[keeper] if save else (),
            )  # fmt: skip
    watched = [own_metric(metric) for metric in monitors(config.monitor, task.monitor)]
    for place, result in results.items():
        values = ", ".join(f"{metric} {result.summary.get(metric, float('nan')):.4f}" for metric in watched)
        say(f"{place}: {values}, and more in {workdir / 'eval' / place}")
    if report and jax.process_index() == 0:
        from jaxepi.report.run_report import write_report  # matplotlib is slow to import, and only needed here

        path = write_report(workdir, results, workdir / "log.jsonl", restored.config, expectation=expectation(config))
        say(f"report: {path}")
    return results


def _saving(folder: Path, task: Task, data: Dataset | Part, split: str) -> contextlib.AbstractContextManager[Keeper]:
    """Keeps the predictions of a split of one dataset."""
    own = part_of(task, data.number if isinstance(data, Part) else 0)
    with contextlib.closing(data.split(split)) as records:
        return saving(folder, own, len(records))


def _task_for(dataset: Dataset | Mixture, restored: RestoredModel, workdir: Path) -> Task:
    """What makes inputs of the records of a dataset for the model of a run.

    Of a run on several datasets with heads of their own, a single dataset is read by the head that has its tracks.

    Raises:
      JaxepiError: the dataset has other tracks than the run.
    """
    trained = restored.task
    if trained.parts and len(dataset.parts) == 1:
        fits = (part for part in trained.parts if part.tracks == dataset.manifest.get("tracks"))
        trained = next(fits, trained.parts[0])
        system, sizes = get_system(restored.config.system), dataclasses.asdict(trained.model_config)
        task = task_of(system, sizes, trained.settled(), dataset.manifest, trained.chosen)
    else:
        task = make_task(restored.config, dataset.manifest)
    for own, known in zip(task.parts or (task,), trained.parts or (trained,), strict=False):
        if own.tracks != known.tracks:
            raise JaxepiError(
                f"{dataset.path} has the tracks {own.tracks[:3]}..., but {workdir} was trained on "
                f"{known.tracks[:3]}...; prepare the dataset with the same tracks in the same order."
            )
    return task
