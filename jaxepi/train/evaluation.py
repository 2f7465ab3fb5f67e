"""Evaluation of a state on a split of its dataset: the same code during training and for `--mode eval`."""

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from jaxepi.data import BatchStream, Dataset, Split, check_batch_size, device_batches
from jaxepi.errors import JaxepiError
from jaxepi.evaluate.evaluator import evaluate
from jaxepi.evaluate.result import EvalResult
from jaxepi.tasks.base import Task, make_task
from jaxepi.train import startup
from jaxepi.train.checkpoint import restore_model
from jaxepi.train.mesh import batch_sharding, make_mesh, state_shardings
from jaxepi.train.state import make_evaluate_step


def evaluate_split(
    predict_step: Callable[[Any], Any],
    task: Task,
    dataset: Dataset,
    split: str,
    mesh: Any,
    config: Any,
    *,
    batches: int | None = None,
    output: Path | None = None,
    progress: Callable[[str], None] | None = None,
    step: int | None = None,
) -> EvalResult:
    """Evaluates one split in its own order, every record once; a ragged last batch is padded and masked.

    Args:
      predict_step: batch -> (metric sums, predictions).
      batches: at most so many; None for the whole split.
      output: folder for metrics.json, per_track.tsv and plots_data.npz.
      step: of the checkpoint, for the result.

    Raises:
      JaxepiError: no such split, or it is empty.
    """
    records = dataset.split(split)
    stream = BatchStream(
        records, task.collate, config.eval_batch_size, shuffle=False, remainder="pad", epochs=1,
        process_index=jax.process_index(), process_count=jax.process_count(), readers=config.dataset.readers,
    )  # fmt: skip
    total = min(stream.batches_per_epoch, batches or stream.batches_per_epoch)
    with contextlib.closing(stream), contextlib.closing(device_batches(stream, batch_sharding(mesh))) as on_device:
        return evaluate(
            predict_step,
            itertools.islice(on_device, total),
            task,
            task.tracks,
            split,
            options=task.options,
            total=total,
            locate=functools.partial(_place, records),
            output=output,
            progress=progress,
            step=step,
        )


def _place(records: Split, number: int) -> tuple[str, int]:
    record = records[number]
    return record["chrom"], int(record["start"])


def evaluate_run(
    workdir: Path, config: Any, split: str | None, checkpoint: str | None = None, report: bool = True
) -> dict[str, EvalResult]:
    """Evaluates a run's checkpoint and writes eval/<split>/ and the report.

    Args:
      workdir: of the run.
      config: where the data lie, batch size and readers; None takes the run's own.
      split: one split; None for validation and test of the run.
      checkpoint: "best" or "last"; None for what config.report_checkpoint says.

    Returns:
      split -> EvalResult.

    Raises:
      JaxepiError: no run, no checkpoint, no dataset, no split.
    """
    if checkpoint is None and config is not None:
        checkpoint = startup.report_checkpoint(config)
    restored = restore_model(workdir, checkpoint)
    config = config if config is not None else restored.config
    dataset = startup.find_dataset(config)
    if dataset.fingerprint != restored.meta["fingerprint"]:
        _say(f"note: {dataset.path} is not the dataset that {workdir} was trained on")
    task, mesh = make_task(restored.config, dataset.manifest), make_mesh(config.mesh.fsdp)
    if task.tracks != restored.task.tracks:
        raise JaxepiError(
            f"{dataset.path} has the tracks {task.tracks[:3]}..., but {workdir} was trained on "
            f"{restored.task.tracks[:3]}...; prepare the dataset with the same tracks in the same order."
        )
    check_batch_size(config.eval_batch_size, mesh.size, name="config.eval_batch_size")
    graphdef, params, rest = nnx.split(restored.model, nnx.Param, ...)
    params, rest = jax.device_put((params, rest), state_shardings(mesh, (params, rest)))
    predict_step = functools.partial(make_evaluate_step(task, graphdef, mesh), params, rest)
    own = restored.config.dataset  # not the given config's: a run of another fold was trained on its validation split
    splits = [split] if split else [name for name in (own.validation_split, own.test_split) if name]
    results = {
        name: evaluate_split(
            predict_step, task, dataset, name, mesh, config, output=workdir / "eval" / name, step=restored.meta["step"]
        )
        for name in splits
    }
    for name, result in results.items():
        value = result.summary.get(config.monitor or task.monitor, float("nan"))
        _say(f"{name}: {config.monitor or task.monitor} {value:.4f}, and more in {workdir / 'eval' / name}")
    if report and jax.process_index() == 0:
        from jaxepi.evaluate.report import write_report  # matplotlib is slow to import, and only needed here

        path = write_report(
            workdir, results, workdir / "log.jsonl", restored.config, expectation=startup.expectation(config)
        )
        _say(f"report: {path}")
    return results


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)
