"""What a run tells: a progress line, JSON lines, TensorBoard scalars and, where installed and asked for, W&B."""

import datetime
import importlib
import json
import math
import platform
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import plain, write_json


class RunLog:
    """Writes workdir/log.jsonl (one object a line, see `kind`), workdir/tensorboard and the terminal.

    Only process 0 writes. The file is only ever appended to: after a resume, a reader keeps the last line of a step.
    """

    def __init__(self, workdir: Path, config: Mapping[str, Any], wandb_project: str | None = None):
        self._writes = jax.process_index() == 0
        self._tty = sys.stderr.isatty()
        self._open_line = False
        self._file = self._board = self._wandb = None
        if not self._writes:
            return
        from tensorboardX import SummaryWriter

        self._file = _open_for_append(workdir / "log.jsonl")
        self._board = SummaryWriter(str(workdir / "tensorboard"))
        if wandb_project:
            try:
                wandb = importlib.import_module("wandb")
            except ImportError:
                raise JaxepiError(
                    "config.wandb_project is set, but W&B is not installed; `pip install wandb` or set it to None."
                ) from None
            self._wandb = wandb.init(
                project=wandb_project, id=_wandb_id(workdir), dir=str(workdir), config=dict(config), resume="allow"
            )

    def record(self, kind: str, step: int, **fields: Any) -> None:
        """Appends one JSON line: kind start | resume | train | eval | end, the step and the fields.

        Numbers that are not finite become null, so that every line is valid JSON.
        """
        if self._file is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._file.write(json.dumps(plain({"kind": kind, "step": step, "time": now, **fields})) + "\n")
        self._file.flush()

    def scalars(self, prefix: str, step: int, values: Mapping[str, Any]) -> None:
        """Sends the finite numbers among `values` to TensorBoard and W&B as prefix/name."""
        numbers = {
            f"{prefix}/{name}": float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._writes:
            self._end_progress()
            print(text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """A line that the next one replaces on a terminal, and an ordinary line elsewhere."""
        if not self._writes:
            return
        if self._tty:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open_line = True
        else:
            print(text, file=sys.stderr, flush=True)

    def _end_progress(self) -> None:
        if self._open_line:
            print(file=sys.stderr)
            self._open_line = False

    def close(self) -> None:
        """Closes the files; calling it again does nothing."""
        self._end_progress()
        for sink in (self._file, self._board):
            if sink is not None:
                sink.close()
        if self._wandb is not None:
            self._wandb.finish()
        self._file = self._board = self._wandb = None


def _wandb_id(workdir: Path) -> str:
    """The id of the run at W&B, kept in the workdir, so that every start goes on with the same one."""
    path = workdir / "wandb.json"
    if not path.exists():
        write_json(path, {"id": uuid.uuid4().hex})
    try:
        return str(json.loads(path.read_text())["id"])
    except (ValueError, KeyError, TypeError):
        raise JaxepiError(
            f"{path} is damaged, an object with `id` was expected; remove it for a new W&B run."
        ) from None


def _open_for_append(path: Path) -> Any:
    """Opens a JSON-lines file; a last line that a kill cut short is completed, so that the next starts on its own."""
    file = path.open("a+", encoding="utf-8")
    file.seek(0, 2)
    if file.tell():
        file.seek(file.tell() - 1)
        if file.read(1) != "\n":
            file.write("\n")
    return file


class Throughput:
    """Samples per second since the last reading, pauses (compilation, evaluation, saving) left out."""

    def __init__(self) -> None:
        self._since, self._paused, self._samples = time.monotonic(), 0.0, 0

    def add(self, samples: int) -> None:
        self._samples += samples

    def pause(self, seconds: float) -> None:
        """Takes seconds of other work out of the next reading."""
        self._paused += seconds

    def read(self) -> float:
        """Samples per second, and starts anew."""
        now = time.monotonic()
        rate = self._samples / max(now - self._since - self._paused, 1e-9)
        self._since, self._paused, self._samples = now, 0.0, 0
        return rate


def versions() -> dict[str, str]:
    """Versions that a run record keeps."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("jaxepi", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
