"""Evaluation of one split of a dataset: the same code during training and afterwards."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxepi.data import BatchStream, Dataset, device_batches
from jaxepi.data.mixture import Mixture, Part
from jaxepi.data.stream import Records
from jaxepi.errors import JaxepiError
from jaxepi.evaluate.evaluator import Keeper, evaluate
from jaxepi.evaluate.result import EvalResult
from jaxepi.parallel.mesh import batch_sharding
from jaxepi.task import Task, collate, part_of


def check_splits(dataset: Dataset | Mixture, section: Any) -> None:
    """Checks the splits that a run evaluates, before it trains for them.

    Raises:
      JaxepiError: one of config.dataset is not in the dataset, or is empty.
    """
    for field in ("validation_split", "test_split"):
        name = section[field]
        if name or field == "validation_split":  # "" for no test split
            try:
                dataset.split(name).close()
            except JaxepiError as problem:
                raise JaxepiError(f"config.dataset.{field} is {name!r}, but {problem}") from None


def evaluate_split(
    predict_step: Callable[[Any], Any],
    task: Task,
    dataset: Dataset | Part,
    split: str,
    mesh: Any,
    config: Any,
    *,
    batches: int | None = None,
    keepers: Sequence[Keeper] = (),
    output: Path | None = None,
    progress: Callable[[str], None] | None = None,
    step: int | None = None,
) -> EvalResult:
    """Evaluates one split in its own order, every record once; a ragged last batch is padded and masked.

    Args:
      predict_step: batch -> (metric sums, predictions).
      task: of the run; if it has parts, that of the dataset is evaluated.
      dataset: one dataset; of several in one run, each by itself.
      batches: at most so many; None for the whole split.
      keepers: take in all predictions too.
      output: folder for metrics.json, per_track.tsv and plots_data.npz.
      step: of the checkpoint, for the result.

    Raises:
      JaxepiError: no such split, or it is empty.
    """
    records, number = dataset.split(split), dataset.number if isinstance(dataset, Part) else 0
    own = part_of(task, number)
    stream = BatchStream(
        records, functools.partial(collate, task, number=number), config.eval_batch_size, shuffle=False,
        remainder="pad", epochs=1,
        process_index=jax.process_index(), process_count=jax.process_count(), readers=config.dataset.readers,
    )  # fmt: skip
    total = min(stream.batches_per_epoch, batches or stream.batches_per_epoch)
    with contextlib.closing(stream), contextlib.closing(device_batches(stream, batch_sharding(mesh))) as on_device:
        return evaluate(
            predict_step,
            itertools.islice(on_device, total),
            own,
            own.tracks,
            split,
            options=own.options,
            total=total,
            locate=functools.partial(_place, records),
            bin_width=own.grid.bin if own.grid.at == "bin" else 0,
            descriptions=descriptions_of(own),
            keepers=keepers,
            output=output,
            progress=progress,
            step=step,
        )


def descriptions_of(task: Task) -> list[str]:
    """What the dataset says of each track of a task; nothing if it says nothing."""
    known, about = list(task.manifest.get("tracks", ())), list(task.manifest.get("track_descriptions") or ())
    if not any(about) or len(about) != len(known):
        return []
    if task.tracks == known:  # of which some may have the same name
        return about
    by_name = dict(zip(known, about, strict=True))
    return [by_name.get(track, "") for track in task.tracks]


JOINT = "datasets_mean"


def monitored(datasets: Collection[str], metric: str) -> str:
    """The name under which `joint_summary` gives a task's metric for these datasets."""
    return metric if len(datasets) == 1 else f"{metric}@{JOINT}"


def own_metric(name: str) -> str:
    """The task's metric that a name of `joint_summary` is about."""
    return name.partition("@")[0]


def joint_summary(results: Mapping[str, EvalResult]) -> dict[str, float]:
    """The numbers of an evaluation of each dataset of a run, by name.

    Of a single dataset its metrics; of several `<metric>@<dataset>`, and `<metric>@datasets_mean`, the mean over the
    datasets, each counted the same, where all have the metric.
    """
    numbers = {
        name: {metric: value for metric, value in result.summary.items() if isinstance(value, int | float)}
        for name, result in results.items()
    }
    if len(numbers) == 1:
        return next(iter(numbers.values()))
    joint = {f"{metric}@{name}": value for name, own in numbers.items() for metric, value in own.items()}
    shared = set.intersection(*(set(own) for own in numbers.values()))
    first = next(iter(numbers.values()))
    means = {
        metric: sum(own[metric] for own in numbers.values()) / len(numbers) for metric in first if metric in shared
    }
    return joint | {monitored(numbers, metric): value for metric, value in means.items()}


def _place(records: Records, number: int) -> tuple[str, int]:
    record = records[number]
    return record["chrom"], int(record["start"])
