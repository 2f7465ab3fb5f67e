"""The loop through its public door, mostly in processes of their own: resume, devices, hosts, signals, bad input."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from toys.runs import TOY_CONFIG, flags_of

from jaxepi.config import check_same_run
from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.storage.workdir import locked
from jaxepi.train import loop
from jaxepi.train.loop import Run, due, train
from jaxepi.trained import restore_model
from jaxepi.verbs.config_file import read_config

ROOT = Path(__file__).parents[2]
# launch.py with the toy system of docs/extending.md, whose steps compile in a moment
PROGRAM = """
import sys
from jaxepi.registry import SYSTEMS
from jaxepi.verbs.command import main
SYSTEMS["windowsum"] = "toys.windowsum"
sys.exit(main(prog="launch.py"))
"""


def launch(arguments: list[str], workdir: Path, devices: int = 1) -> subprocess.Popen:
    """The program in a process of its own, with that many made-up devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, f"--workdir={workdir}", "--config.report=False"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **paths, "JAX_PLATFORMS": "cpu", **({"XLA_FLAGS": flags} if devices > 1 else {})},
    )  # fmt: skip


def run(arguments: list[str], workdir: Path, devices: int = 1) -> None:
    process = launch(arguments, workdir, devices)
    out, _ = process.communicate(timeout=900)
    assert process.returncode == 0, out


def go_on(arguments: list[str], workdir: Path) -> None:
    """The same run in this process, to its end."""
    name, *fields = arguments
    config = read_config(str(ROOT / name.removeprefix("--config=")), [*fields, "--config.report=False"])
    assert train(config, workdir) == "finished"


def records(workdir: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in records(workdir, "train")}


def parameters(workdir: Path) -> list[np.ndarray]:
    restored = restore_model(workdir, "last")
    from flax import nnx

    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(restored.model))]


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Runs of this module that differ in nothing but their folder share their compiled steps."""
    make_steps, made = loop.make_steps, {}

    def make(task, *arguments, **options):
        key = repr((type(task), task.model_config, task.objective, task.tracks, task.manifest, arguments, options))
        if key not in made:
            made[key] = make_steps(task, *arguments, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_steps", make)
        yield


@pytest.fixture(scope="module")
def uninterrupted(small, compilation_cache, tmp_path_factory):
    """40 steps without a break, and the flags that make a process of its own do the same."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    further = ["--config.steps=40", "--config.eval_every=20", "--config.save_every=4"]
    arguments = flags_of(TOY_CONFIG, small, compilation_cache, *further)
    go_on(arguments, workdir)
    return workdir, arguments


@pytest.fixture(scope="module")
def melody(dataset, compilation_cache, tmp_path_factory):
    """As `uninterrupted`, with 20 steps of a model whose arrays are large enough to be split."""
    workdir = tmp_path_factory.mktemp("runs") / "melody"
    further = ["--config.model.width=4", "--config.save_every=10"]
    arguments = flags_of("configs/melody_mt.py:smoke", dataset, compilation_cache, *further)
    go_on(arguments, workdir)
    return workdir, arguments


def test_kill_nine_and_rerun_gives_the_same_bits(uninterrupted, tmp_path):
    whole, arguments = uninterrupted
    workdir = tmp_path / "killed"
    random = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    kills = 0
    for _ in range(2):
        target = int(random.integers(1, 38))
        process = launch(arguments, workdir)
        while process.poll() is None:
            if (workdir / "log.jsonl").exists() and max(losses(workdir), default=0) >= target:
                process.kill()
                kills += 1
                break
            time.sleep(0.002)
        process.communicate()
    go_on(arguments, workdir)
    assert kills >= 1
    for ours, theirs in zip(parameters(workdir), parameters(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert losses(workdir)[40] == losses(whole)[40]


def test_a_damaged_checkpoint_is_named_and_the_one_before_gives_the_same_bits(uninterrupted, tmp_path, capsys):
    whole, arguments = uninterrupted
    workdir = tmp_path / "damaged"
    shutil.copytree(whole, workdir)
    before, newest = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())
    for file in (workdir / "checkpoints" / str(newest) / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    go_on(arguments, workdir)
    told = "".join(capsys.readouterr())
    assert f"checkpoints/{newest} is damaged" in told and f"resuming from step {before} of {newest}" in told
    assert (workdir / "damaged" / f"checkpoints-{newest}").is_dir()
    for ours, theirs in zip(parameters(workdir), parameters(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow  # tests/contract does so for every system, without a program
def test_one_and_eight_devices_have_the_same_loss(melody, tmp_path):
    whole, arguments = melody
    workdir = tmp_path / "eight"
    run(arguments, workdir, devices=8)
    assert records(workdir, "start")[0]["devices"]["count"] == 8
    ours, theirs = losses(workdir), losses(whole)
    np.testing.assert_allclose([ours[s] for s in range(1, 6)], [theirs[s] for s in range(1, 6)], rtol=2e-5)


@pytest.mark.slow
def test_fsdp_has_the_same_loss(melody, tmp_path):
    whole, arguments = melody
    workdir = tmp_path / "fsdp"
    flags = [*arguments, "--config.mesh.fsdp=4", "--config.steps=5", "--config.optimizer.decay_steps=20"]
    run(flags, workdir, devices=8)
    ours, theirs = losses(workdir), losses(whole)
    np.testing.assert_allclose([ours[s] for s in range(1, 6)], [theirs[s] for s in range(1, 6)], rtol=2e-5)
    run([*arguments, "--config.steps=8", "--config.optimizer.decay_steps=20"], workdir)  # the rest on one device
    assert records(workdir, "resume")[0]["step"] == 5
    ours = losses(workdir)
    np.testing.assert_allclose([ours[s] for s in range(6, 9)], [theirs[s] for s in range(6, 9)], rtol=1e-3)


def test_two_processes_have_the_same_loss(uninterrupted, tmp_path):
    whole, arguments = uninterrupted
    workdir = tmp_path / "hosts"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = [f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    processes = [launch([*arguments, *hosts, f"--process={i}"], workdir, devices=1) for i in range(2)]
    outputs = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert records(workdir, "start")[0]["devices"]["processes"] == 2
    ours, theirs = losses(workdir), losses(whole)
    np.testing.assert_allclose([ours[s] for s in range(1, 6)], [theirs[s] for s in range(1, 6)], rtol=2e-5)
    valid = [records(w, "eval")[-1]["metrics"]["mae_bin_flat"] for w in (workdir, whole)]
    np.testing.assert_allclose(*valid, rtol=1e-3)


def test_ctrl_c_saves_and_the_same_command_goes_on(uninterrupted, tmp_path):
    whole, arguments = uninterrupted
    workdir = tmp_path / "interrupted"
    process = launch(arguments, workdir)
    while process.poll() is None and not ((workdir / "log.jsonl").exists() and losses(workdir)):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "run the same command again" in out, out
    assert records(workdir, "end")[-1]["reason"] == "interrupted"
    go_on(arguments, workdir)
    for ours, theirs in zip(parameters(workdir), parameters(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_accumulation_equals_the_mean_of_its_micro_batches(toy, tmp_path):
    """With as many bins in each row, the mean over micro-batches is the whole batch's mean."""
    toy.task.reverse_complement = False
    toy.steps = 2
    train(toy, tmp_path / "one")
    toy.optimizer.accumulate = 4
    train(toy, tmp_path / "four")
    one, four = losses(tmp_path / "one"), losses(tmp_path / "four")
    for step in (1, 2):
        np.testing.assert_allclose(one[step], four[step], rtol=1e-5)
    assert one != four


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(JaxepiError, match=f"Another run .process {os.getpid()} on .* is writing"),
        locked(tmp_path / "run"),
    ):
        pass


def test_another_config_in_the_same_folder_is_refused():
    before = {"seed": 0, "steps": 10, "model": {"width": 8, "remat": False}}
    check_same_run(before, {"seed": 0, "steps": 20, "model": {"width": 8, "remat": True}}, Path("run"))
    with pytest.raises(JaxepiError, match=r"config\.model\.width is 16, but run was started with 8"):
        check_same_run(before, {"seed": 0, "steps": 10, "model": {"width": 16, "remat": False}}, Path("run"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_good_checkpoint(toy, tmp_path):
    toy.steps, toy.save_every, toy.eval_every = 4, 1, 0
    train(toy, tmp_path)
    toy.steps, toy.optimizer.learning_rate = 40, float("inf")
    with pytest.raises(JaxepiError, match=r"config\.optimizer\.learning_rate is inf"):
        train(toy, tmp_path)
    other = tmp_path / "other"
    toy.optimizer.warmup_steps = 0
    with pytest.raises(JaxepiError, match=r"The loss became nan at step \d+ .*learning_rate"):
        train(toy, other)
    assert all(np.isfinite(leaf).all() for leaf in parameters(tmp_path))
    assert max(Checkpoints(other / "checkpoints").steps(), default=0) <= 1


@pytest.fixture
def traced_once(monkeypatch):
    """Several starts of one run in this process share their compiled steps."""
    make_steps, made = loop.make_steps, []

    def make(*arguments, **options):
        made.append(make_steps(*arguments, **options) if not made else made[0])
        return made[0]

    monkeypatch.setattr(loop, "make_steps", make)


@pytest.mark.usefixtures("traced_once")
def test_early_stopping_and_time_limit(toy, tmp_path):
    toy.steps, toy.eval_every, toy.patience = 200, 2, 2
    toy.optimizer.learning_rate, toy.optimizer.ema_decay = 0.0, None  # an average moves by rounding
    assert train(toy, tmp_path / "patience") == "stopped early"
    assert records(tmp_path / "patience", "end")[-1]["step"] == 6
    assert train(toy, tmp_path / "patience") == "stopped early"  # again the same command: nothing is left to do
    assert records(tmp_path / "patience", "end")[-1]["step"] == 6
    toy.patience, toy.eval_every, toy.max_minutes = None, 0, 1e-6
    assert train(toy, tmp_path / "time") == "out of time"


def test_each_monitored_metric_keeps_its_best_which_is_on_disk_before_a_checkpoint_names_it(toy, tmp_path, monkeypatch):
    error, auc = "mae_bin_flat", "pearson_bin_per_track_mean"
    toy.monitor, toy.steps, toy.eval_every, toy.save_every = f"{error},{auc}", 6, 1, 1
    named, save = [], Checkpoints.save

    def spy(self, step, state, meta):
        if self.directory.name == "checkpoints":
            best = {"best": meta["best"]["step"], f"best_{auc}": meta["best"]["others"][auc]["step"]}
            named.append({name: (tmp_path / name / str(at)).is_dir() for name, at in best.items()})
        save(self, step, state, meta)

    monkeypatch.setattr(Checkpoints, "save", spy)
    assert train(toy, tmp_path) == "finished"
    assert named == [{"best": True, f"best_{auc}": True}] * 6
    values = {line["step"]: line["metrics"] for line in records(tmp_path, "eval")}
    smallest, largest = min(values, key=lambda s: values[s][error]), max(values, key=lambda s: values[s][auc])
    assert restore_model(tmp_path, "best").meta["step"] == records(tmp_path, "end")[-1]["best"]["step"] == smallest
    assert restore_model(tmp_path, f"best_{auc}").meta["step"] == largest
    with pytest.raises(JaxepiError, match=f"no checkpoint 'best_x'; it has best, best_{auc}, last"):
        restore_model(tmp_path, "best_x")


@pytest.mark.usefixtures("traced_once")
def test_sigterm_saves_at_once_and_what_it_left_out_is_evaluated_once_by_the_next_start(toy, tmp_path, monkeypatch):
    toy.steps, toy.eval_every, toy.save_every = 4, 2, 0
    evaluate_split, asked = loop.evaluate_split, []

    def start(*, signal_at_evaluation=None) -> tuple[str, list[int], list[int]]:
        """How it ended, the steps that were evaluated so far, and those that can be resumed from."""
        calls = iter(range(1, 99))

        def evaluate(*arguments, **options):
            asked.append(next(calls))
            if asked[-1] == signal_at_evaluation:
                os.kill(os.getpid(), signal.SIGTERM)
            return evaluate_split(*arguments, **options)

        monkeypatch.setattr(loop, "evaluate_split", evaluate)
        reason = train(toy, tmp_path)
        evaluated = [line["step"] for line in records(tmp_path, "eval")]
        return reason, evaluated, Checkpoints(tmp_path / "checkpoints").steps()

    assert start(signal_at_evaluation=1) == ("interrupted", [], [2])
    (tmp_path / "best" / "9.orbax-checkpoint-tmp").mkdir(parents=True)  # as a kill leaves it
    (tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()
    assert start(signal_at_evaluation=2) == ("interrupted", [2], [4, 2])
    assert not list(tmp_path.rglob("*.orbax-checkpoint-tmp"))
    assert start() == ("finished", [2, 4], [4, 2])
    assert start() == ("finished", [2, 4], [4, 2])
    toy.steps = 2  # fewer than were done
    assert start() == ("finished", [2, 4], [4, 2])
    meta = Checkpoints(tmp_path / "checkpoints").meta(4)
    assert meta["evaluated"] == 4 and meta["best"]["step"] == records(tmp_path, "end")[-1]["best"]["step"]
    assert restore_model(tmp_path, "best").meta["step"] == meta["best"]["step"]


@pytest.mark.parametrize(
    ("step", "signals", "limit", "out_of_patience", "reason"),
    [
        (4, [15], None, False, "interrupted"),
        (2, [15], 0.5, True, "interrupted"),
        (4, [], 0.5, False, "finished"),
        (9, [], None, False, "finished"),
        (2, [], 0.5, False, "out of time"),
        (2, [], 0.5, True, "stopped early"),
        (2, [], None, False, None),
    ],
)
def test_why_a_run_ends(step, signals, limit, out_of_patience, reason):
    run = SimpleNamespace(
        config=SimpleNamespace(steps=4, max_minutes=limit), interrupted=signals, minutes=lambda: 1.0,
        best=SimpleNamespace(out_of_patience=lambda step: out_of_patience),
    )  # fmt: skip
    assert Run._last_reason(run, step) == reason


@pytest.mark.usefixtures("traced_once")
def test_a_run_of_an_earlier_version_goes_on(toy, tmp_path):
    """It knows neither fields that came later nor which step was evaluated last."""
    toy.steps, toy.save_every, toy.eval_every = 2, 1, 0
    train(toy, tmp_path)
    younger = ("unit", "init_from", "frozen", "frozen_statistics", "report_checkpoint")
    optimizer = ("nesterov", "arguments", "schedule_arguments", "clip_value", "clip_variable_norm", "clip_adaptive")

    def forget(saved: dict) -> dict:
        kept = {name: value for name, value in saved.items() if name not in younger}
        return kept | {"optimizer": {k: v for k, v in saved["optimizer"].items() if k not in optimizer}}

    for path in (tmp_path / "checkpoints").glob("*/meta/metadata"):
        meta = json.loads(path.read_text())
        meta["config"] = json.dumps(forget(json.loads(meta["config"])))
        del meta["evaluated"], meta["best"]["others"], meta["meta_checksum"]
        path.write_text(json.dumps(meta))
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**told, "config": forget(told["config"])}))
    toy.steps = 4
    assert train(toy, tmp_path) == "finished"
    assert [line["step"] for line in records(tmp_path, "resume")] == [2]
    toy.frozen_statistics, toy.steps = "batch", 6
    with pytest.raises(JaxepiError, match="frozen_statistics is 'batch', but .* was started with 'running'"):
        train(toy, tmp_path)


def test_an_unknown_monitor_is_told_before_training(config, tmp_path):
    config.monitor = "aux_cpg_flat"
    with pytest.raises(JaxepiError, match=r"config.monitor is 'aux_cpg_flat' \(did you mean 'auc'"):
        train(config, tmp_path)
    assert not (tmp_path / "log.jsonl").exists() and not (tmp_path / "config.json").exists()


def test_splits_and_kinds_that_do_not_fit_are_told_before_training(config, genes, tmp_path):
    for field in ("validation_split", "test_split"):
        kept, config.dataset[field] = config.dataset[field], "tset"
        with pytest.raises(JaxepiError, match=rf"config\.dataset\.{field} is 'tset', but .*no split 'tset' \(did you"):
            train(config, tmp_path)
        config.dataset[field] = kept
    config.dataset.path = str(genes)
    with pytest.raises(JaxepiError, match="is of kind 'chromoformer', but 'melody' was asked for"):
        train(config, tmp_path)
    config.keep = -1
    with pytest.raises(JaxepiError, match=r"config\.keep is -1"):
        train(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_too_few_records_unknown_fields_and_missing_data_are_told(config, tmp_path):
    config.batch_size = 800
    with pytest.raises(JaxepiError, match=r"has \d+ records, fewer than one batch of 800"):
        train(config, tmp_path)
    config.batch_size = 8
    config.model.widht = 3
    with pytest.raises(JaxepiError, match=r"Unknown config field config\.model\.widht \(did you mean 'width'\?\)"):
        train(config, tmp_path)
    del config.model.widht
    config.dataset.path = str(tmp_path / "nowhere")
    with pytest.raises(
        JaxepiError, match=r"There is no dataset at .*nowhere: make it with `python -m data_prep .*:sample"
    ):
        train(config, tmp_path)


def test_due_leaves_out_the_step_where_a_start_began():
    assert [step for step in range(13) if due(step, 4, 4)] == [8, 12]
    assert not due(8, 0, 0) and not due(8, None, 0)
