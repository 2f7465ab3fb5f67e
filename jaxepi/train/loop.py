"""The training loop. It reads top to bottom: evaluate if due, save if due, next batch, step, log."""

import contextlib
import dataclasses
import functools
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxepi.config import check_same_run, dataset_source, from_section, in_steps, monitors
from jaxepi.data import BatchStream, Dataset, Mixture, check_batch_size, device_batches, order_of
from jaxepi.data.open import find_dataset
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.evaluate.split import check_splits, evaluate_split, joint_summary, monitored
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.hosts import describe_devices, peak_memory, unused_accelerator
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.parallel.signals import collected
from jaxepi.registry import check_config, default_sections, get_system, make_task
from jaxepi.storage.atomic import plain
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.storage.log import RunLog, Throughput, clock, versions
from jaxepi.storage.workdir import keep_config, locked
from jaxepi.task import Task, collate
from jaxepi.train.best import Best
from jaxepi.train.state import Steps, TrainState, make_steps
from jaxepi.train.transfer import start_from

HOSTS_COMPARE_EVERY = 10  # steps; comparing makes every host wait for its device


class Run:
    """One training run in a workdir: `Run(config, workdir).train()`; see `train` below for what it promises."""

    def __init__(self, config: Any, workdir: Path):
        """Checks everything that can be checked before work starts.

        Raises:
          JaxepiError: config, dataset, devices or workdir do not fit.
        """
        check_config(config)
        self.workdir = workdir
        self.mesh = make_mesh(config.mesh.fsdp)
        check_batch_size(config.batch_size, self.mesh.size, config.optimizer.accumulate, name="config.batch_size")
        check_batch_size(config.eval_batch_size, self.mesh.size, name="config.eval_batch_size")
        self.dataset: Dataset | Mixture = find_dataset(
            **dataset_source(config), kinds=get_system(config.system).datasets
        )
        self.task: Task = make_task(config, self.dataset.manifest)
        check_splits(self.dataset, config.dataset)
        self.records = self.dataset.split(config.dataset.train_split)
        if len(self.records) < config.batch_size:
            raise JaxepiError(
                f"Split {config.dataset.train_split!r} of {self.dataset.path} has {len(self.records)} records, fewer "
                f"than one batch of {config.batch_size}; lower --config.batch_size or prepare more windows."
            )
        self.batches_per_epoch = order_of(self.records, config.batch_size).batches_per_epoch
        self.config = in_steps(config, self.batches_per_epoch)
        self.optimizer = from_section(OptimizerConfig, self.config.optimizer, "config.optimizer")
        self.steps: Steps = make_steps(
            self.task, self.optimizer, self.config.steps, config.seed, self.mesh,
            frozen=tuple(config.get("frozen", ())), frozen_statistics=config.get("frozen_statistics", "running"),
            epoch=self.batches_per_epoch,
        )  # fmt: skip
        watched = monitors(config.monitor, monitored(self.dataset.parts, self.task.monitor))
        self.best = Best(
            workdir, watched, config.patience, config.get("patience_watches", "first"),
            self.config.get("patience_from", 0),
        )  # fmt: skip
        self.config_json = keep_config(workdir, config, sys.argv)
        self.log = RunLog(workdir, json.loads(self.config_json), config.wandb_project)
        self.checkpoints = Checkpoints(workdir / "checkpoints", config.keep, owner=True)
        self.throughput = Throughput()
        self.minutes_before = 0.0
        self.started = time.monotonic()
        self.first = 0  # step at which this start began
        self.evaluated = 0  # step of the last evaluation of the validation split
        self.begun = False  # whether this start has done a step
        self.interrupted: list[int] = []  # signals that came

    def may_leave(self) -> bool:
        """Whether nothing is lost if the process ends here: this start has not changed its state, and is alone."""
        return not self.begun and jax.process_count() == 1

    def minutes(self) -> float:
        """Minutes of training in this workdir, earlier starts included."""
        return self.minutes_before + (time.monotonic() - self.started) / 60

    def meta(self, step: int) -> dict[str, Any]:
        """What goes into a checkpoint beside the state."""
        return {
            "iterator": {"batch": step},
            "config": self.config_json,
            "versions": versions(),
            "fingerprint": self.dataset.fingerprint,
            "manifest": plain(_kept(self.dataset.manifest)),
            "minutes": self.minutes(),
            "best": self.best.to_json(),
            "evaluated": self.evaluated,
        }

    def restore(self) -> tuple[TrainState, int]:
        """The state to start from: of the newest whole checkpoint, or a fresh one.

        Raises:
          JaxepiError: the checkpoint belongs to another config or dataset.
        """
        found = self.checkpoints.restore_newest(self.steps.abstract(), self.warn)
        if found is None:
            return self.initial(), 0
        state, meta = found
        before, now = json.loads(meta["config"]), json.loads(self.config_json)
        check_same_run(before, now, self.workdir, default_sections(self.config.system))
        if meta["fingerprint"] != self.dataset.fingerprint:
            raise JaxepiError(
                f"{self.workdir} was trained on another dataset than {self.dataset.path} (their fingerprints differ); "
                "use another --workdir."
            )
        self.minutes_before = meta["minutes"]
        self.best.from_json(meta["best"])
        self.evaluated = meta.get("evaluated", meta["step"])  # earlier versions did not tell
        self.log.record("resume", meta["step"], checkpoint=str(self.checkpoints.directory / str(meta["step"])))
        self.log.line(f"resuming from step {meta['step']} of {self.config.steps}")
        return state, meta["step"]

    def initial(self) -> TrainState:
        """A fresh state, with the weights that config.init_from names.

        Raises:
          JaxepiError: a source cannot be read, or does not fit.
        """
        state, sources = self.steps.initial(), tuple(self.config.get("init_from", ()))
        if not sources:
            return state
        params, rest = start_from(state.params, state.rest, sources, self.config.system, self.task.trunks)
        self.log.line(f"weights from {', '.join(sources)}")
        ema = None if state.ema is None else jax.tree.map(jax.numpy.copy, params)
        return dataclasses.replace(state, params=params, rest=rest, ema=ema)

    def warn(self, text: str) -> None:
        self.log.line(f"warning: {text}")

    def announce(self, step: int) -> None:
        """Tells devices, data and sizes, in the terminal and as the start line of the run record."""
        devices = describe_devices()
        parameters = sum(leaf.size for leaf in jax.tree.leaves(self.steps.abstract().params))
        self.log.line(
            f"{devices['count']} {devices['platform']} device(s) ({devices['kind']}), mesh {dict(self.mesh.shape)}; "
            f"{parameters:,} parameters; {len(self.records):,} training records, "
            f"{self.batches_per_epoch:,} batches of {self.config.batch_size} an epoch"
        )
        if warning := unused_accelerator():
            self.log.line(warning)
        self.log.record(
            "start", step, config=json.loads(self.config_json), versions=versions(), devices=devices,
            parameters=parameters, dataset={"path": str(self.dataset.path), "fingerprint": self.dataset.fingerprint},
        )  # fmt: skip

    def evaluate(self, state: TrainState, step: int) -> str | None:
        """Evaluates the validation split and keeps the state if it is the best so far.

        Returns:
          "stopped early" if there was no new best for long enough, "interrupted" if a signal came, else None.

        Raises:
          JaxepiError: config.monitor names no validation metric.
        """
        begin = time.monotonic()
        step_of = functools.partial(self.steps.evaluate, state.best_params, state.rest)

        def predict_step(batch: Any) -> Any:
            # Several hosts evaluate to the end: a signal does not reach all of them at the same batch.
            if self.interrupted and jax.process_count() == 1:
                raise _Abandoned
            return step_of(batch)

        try:
            results = {
                name: evaluate_split(
                    predict_step, self.task, part, self.config.dataset.validation_split, self.mesh, self.config,
                    batches=self.config.eval_batches, progress=self.log.progress,
                )
                for name, part in self.dataset.parts.items()
            }  # fmt: skip
        except _Abandoned:
            return "interrupted"
        summary = joint_summary(results)
        for metric in self.best.metrics:
            if metric not in summary:
                raise JaxepiError(
                    f"config.monitor is {metric!r}{did_you_mean(metric, summary)}, but the validation metrics are "
                    f"{sorted(summary)}."
                )
        self.log.record("eval", step, split=self.config.dataset.validation_split, metrics=summary)
        self.log.scalars("valid", step, summary)
        self.evaluated, better = step, self.best.update(step, summary)
        self.best.save(better, step, state, self.meta(step))
        told = (f"{name} {summary[name]:.4f}{' (best so far)' * (name in better)}" for name in self.best.metrics)
        self.log.line(f"step {step}: valid {', '.join(told)}")
        self.throughput.pause(time.monotonic() - begin)
        return "stopped early" if self.best.out_of_patience(step) else None

    def save(self, state: TrainState, step: int, last: str | None) -> None:
        """Saves for resuming; where this start began only what is told about the state has changed.

        Args:
          last: why the run ends here; an interrupted one will go on, and then needs no checkpoint between the regular.
        """
        begin = time.monotonic()
        passing = last in (None, "interrupted") and not due(step, self.config.save_every, 0)
        self.best.wait()  # a checkpoint never names a best that is not on disk
        if step > self.first:
            self.checkpoints.save(step, state, self.meta(step), passing)
        else:
            self.checkpoints.describe(step, self.meta(step), passing)
        self.throughput.pause(time.monotonic() - begin)

    def report_step(self, step: int, scalars: dict[str, jax.Array]) -> None:
        """Logs the step if due; stops the run if its loss is no number.

        Raises:
          JaxepiError: the loss is NaN or infinite.
        """
        loss = float(scalars["loss"])
        if not math.isfinite(loss):
            kept = self.checkpoints.steps()
            terms = ", ".join(f"{k} {float(v):g}" for k, v in scalars.items() if k != "loss")
            raise JaxepiError(
                f"The loss became {loss} at step {step} ({terms}); "
                + (f"the newest good checkpoint is step {kept[0]}" if kept else "no checkpoint was saved yet")
                + ": lower config.optimizer.learning_rate or set config.optimizer.clip_norm."
            )
        if step % self.config.log_every and step != 1:
            return
        # the first step of a start is mostly compilation, so it has no rate
        rate = self.throughput.read() if step > self.first + 1 else None
        values = {name: float(value) for name, value in scalars.items()}
        self.log.record("train", step, loss=loss, terms=values, samples_per_second=rate, minutes=self.minutes())
        self.log.scalars("train", step, {**values, "samples_per_second": rate})
        pace = f"{rate:.1f} samples/s  {clock(self.seconds_left(step, rate))} left  " if rate else ""
        self.log.progress(f"step {step}/{self.config.steps}  loss {loss:.4f}  {pace}[{jax.devices()[0].platform}]")

    def seconds_left(self, step: int, rate: float) -> float:
        """Seconds until the last step or the time limit, at `rate` samples/s."""
        left = (self.config.steps - step) * self.config.batch_size / rate
        limit = self.config.max_minutes
        return left if limit is None else min(left, 60 * (limit - self.minutes()))

    def train(self) -> str:
        """Runs to the end, the time limit, early stopping or a signal; returns which of them it was.

        Raises:
          JaxepiError: see `restore` and `report_step`.
        """
        config = self.config
        state, step = self.restore()
        self.first = step
        self.announce(step)
        stream = BatchStream(
            self.records, functools.partial(collate, self.task), config.batch_size, seed=config.seed, shuffle=True,
            remainder="drop", process_index=jax.process_index(), process_count=jax.process_count(),
            readers=config.dataset.readers, start=step,
        )  # fmt: skip
        reason, pending, first, compiled = "finished", None, self.first, set()
        with (
            collected(self.may_leave) as self.interrupted,
            contextlib.closing(stream),
            _batches(stream, self.mesh) as batches,
        ):
            self.log.progress("compiling the training step" if step < config.steps else "nothing left to train")
            while True:
                # The newest loss is looked at before anything that would keep its state for good.
                last = self._last_reason(step)
                # An interrupt saves at once. What it leaves out, the next start makes up for: hence `evaluated`.
                every = 1 if last else config.eval_every
                due_eval = last != "interrupted" and due(step, every, self.evaluated)
                due_save = due(step, 1 if last else config.save_every, first)
                if pending and (due_eval or due_save):
                    self.report_step(*pending)
                    pending = None
                if due_eval:
                    stopped = self.evaluate(state, step)
                    last = stopped if stopped == "interrupted" else last or stopped
                    due_save = due_save or bool(last) or step == first
                if due_save:
                    self.save(state, step, last)
                if last:
                    reason = last
                    break
                batch = next(batches)
                begin, program = time.monotonic(), frozenset(batch)  # each structure of batches is a program
                with profiled(self.workdir, step, config.profile_steps):
                    state, scalars = self.steps.train(state, batch)
                step += 1
                self.throughput.add(config.batch_size)
                # One step late: while the device works on this step, the numbers of the one before are read.
                if pending:
                    self.report_step(*pending)
                pending = (step, scalars)
                if step == first + 1:
                    scalars["loss"].block_until_ready()  # compilation is not throughput, nor training time
                    self.begun = True
                    self.throughput.read()
                    self.started = time.monotonic()
                elif program not in compiled:
                    scalars["loss"].block_until_ready()
                    self.throughput.pause(time.monotonic() - begin)
                    self.started += time.monotonic() - begin
                compiled.add(program)
        self.finish(state, step, reason)
        return reason

    def _last_reason(self, step: int) -> str | None:
        """Why the run ends here, or None. Hosts must agree on clocks and signals, so they compare."""
        impatient = self.best.out_of_patience(step)
        over = "finished" if step >= self.config.steps else "stopped early" if impatient else None
        limit = self.config.max_minutes
        local = 2 if self.interrupted else 1 if limit is not None and self.minutes() >= limit else 0
        if jax.process_count() > 1:
            if not over and step % HOSTS_COMPARE_EVERY:
                return None
            local = int(multihost_utils.process_allgather(jax.numpy.asarray(local)).max())
        if local == 2:
            return "interrupted"
        return over or ("out of time" if local else None)

    def finish(self, state: TrainState, step: int, reason: str) -> None:
        """Waits for the checkpoints and writes the closing line."""
        self.checkpoints.close()
        self.best.close()
        self.log.record(
            "end", step, reason=reason, minutes=self.minutes(), best=self.best.to_json(),
            peak_memory_bytes=peak_memory(),
        )  # fmt: skip
        self.log.line(f"{reason} at step {step} after {clock(60 * self.minutes())}; run folder {self.workdir}")
        self.log.close()


def train(config: Any, workdir: Path) -> str:
    """Trains as `config` says, in `workdir`, from its newest checkpoint if there is one.

    Kill it at any moment and call it again: on the same hardware the parameters are the same bit for bit.

    Returns:
      "finished", "out of time", "stopped early" or "interrupted".

    Raises:
      JaxepiError: one sentence that says what to do.
    """
    with locked(workdir):
        run = Run(config, workdir)
        try:
            return run.train()
        finally:
            run.log.close()
            with contextlib.suppress(JaxepiError):
                run.checkpoints.close()


def _kept(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint keeps of a manifest: all but where the files lay and how they were made."""
    kept = {name: value for name, value in manifest.items() if name not in ("inputs", "arguments")}
    return kept | {"datasets": [_kept(own) for own in manifest["datasets"]]} if "datasets" in manifest else kept


class _Abandoned(Exception):
    """A signal came while the validation split was being evaluated."""


def due(step: int, every: int | None, first: int) -> bool:
    """Whether something that happens every `every` steps is due; not at the step `first` where it was done last, or
    where this start began."""
    return bool(every) and step > first and step % every == 0


@contextlib.contextmanager
def _batches(stream: BatchStream, mesh: Any) -> Iterator[Any]:
    batches = device_batches(stream, batch_sharding(mesh))
    try:
        yield batches
    finally:
        batches.close()


@contextlib.contextmanager
def profiled(workdir: Path, step: int, window: Any) -> Iterator[None]:
    """Records a profile of the steps window[0] <= step < window[1] to workdir/profile (for TensorBoard or Perfetto)."""
    if not window or not window[0] <= step < window[1]:
        yield
        return
    if step == window[0]:
        jax.profiler.start_trace(str(workdir / "profile"))
    yield
    if step == window[1] - 1:
        jax.effects_barrier()
        jax.profiler.stop_trace()
