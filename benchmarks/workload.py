"""What a speed benchmark runs: a config file, changed from the command line, its task and one batch.

The batch is read from a prepared dataset, or is that of the system's toy.
"""

import argparse
import dataclasses
import importlib.util
import inspect
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.registry import get_system, make_task
from jaxepi.task import Task


@dataclasses.dataclass(frozen=True)
class Workload:
    """A task and one collated batch of it."""

    config: Any
    task: Task
    batch: dict[str, np.ndarray]
    about: dict[str, Any]  # what the JSON line says of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that choose a workload and how long to measure it."""
    parser.add_argument("--config", default="configs/melody_mt.py", help="config file, with :variant if wanted")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="such as model.width=64")
    parser.add_argument("--batch-size", type=int, help="samples of a step; default: the config's")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--dataset", help="folder made by data_prep; default: a made-up batch")
    parser.add_argument("--window", type=int, default=10_000, help="made-up batch: bp")
    parser.add_argument("--tracks", type=int, default=39, help="made-up batch: tracks")
    parser.add_argument(
        "--made", action="append", default=[], metavar="NAME=NUMBER", help="made-up batch: what its system's toy takes"
    )
    parser.add_argument("--compare", choices=["torch"], help="run the same in PyTorch, step by step in turn")


def make_workload(arguments: argparse.Namespace) -> Workload:
    """Reads the config and makes the task and a batch.

    Raises:
      JaxepiError: no such config, field or dataset.
    """
    config = read_config(arguments.config)
    for change in arguments.set:
        set_field(config, change)
    size = arguments.batch_size or config.batch_size
    if arguments.dataset:
        from jaxepi.data import open_dataset

        dataset = open_dataset(arguments.dataset)
        split = dataset.split(config.dataset.train_split)
        manifest, records = dataset.manifest, [split[i % len(split)] for i in range(size)]
    else:
        config.dataset.tracks = ()
        system = get_system(config.system)
        known = inspect.signature(system.toy).parameters
        wanted = {"window": arguments.window, "tracks": arguments.tracks}
        for text in getattr(arguments, "made", ()):
            name, _, number = text.partition("=")
            if name not in known:
                raise JaxepiError(f"--made {text}: the toy of {config.system} takes {', '.join(list(known)[2:])}.")
            wanted[name] = int(number)
        made = system.toy(0, size, **{name: value for name, value in wanted.items() if name in known})
        manifest, records = made.manifest, made.records
    task = make_task(config, manifest)
    model = dataclasses.asdict(task.model_config)
    about = {"config": arguments.config, "batch_size": size, "window": manifest["window"], "model": model}
    return Workload(config, task, task.collate(records), about)


def read_config(name: str) -> Any:
    """`configs/melody_mt.py:sample` to its ConfigDict. Raises JaxepiError if there is no such file."""
    path, _, variant = name.partition(":")
    if not Path(path).is_file():
        near = did_you_mean(Path(path).stem, [p.stem for p in Path(path).parent.glob("*.py")])
        raise JaxepiError(f"There is no config {path}{near}.")
    spec = importlib.util.spec_from_file_location("benchmarked_config", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.get_config(variant) if variant else module.get_config()


def set_field(config: Any, change: str) -> None:
    """Applies "model.width=64" to the config. Raises JaxepiError for an unknown field."""
    name, _, text = change.partition("=")
    *sections, field = name.split(".")
    for section in sections:
        config = config[section] if section in config else _unknown(name, section, list(config))
    if field not in config:
        _unknown(name, field, list(config))
    try:
        value = json.loads(text.lower() if text in ("True", "False", "None") else text)
    except json.JSONDecodeError:
        value = text
    config[field] = None if text == "None" else value


def device_batch(workload: Workload) -> dict[str, jax.Array]:
    """The batch on the default device."""
    return {name: jax.device_put(array) for name, array in workload.batch.items()}


def _unknown(name: str, part: str, known: list[str]) -> None:
    raise JaxepiError(f"--set {name}: there is no field {part!r}{did_you_mean(part, known)}.")
