"""Cross-validation in one command: each fold a run, finished ones left alone, one summary over all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toys.gene_dataset import config_file, shrunk

from jaxepi.data import open_dataset
from jaxepi.errors import JaxepiError
from jaxepi.runs import crossval
from jaxepi.runs.crossval import cross_validate, of_fold

ROOT = Path(__file__).parents[2]
SMALL = {"model.bin_sizes": (500,), "steps": 2, "dataset.folds": ("fold1", "fold2"), "batch_size": 4, "log_every": 1}


def small(genes, cache, **changes):
    config = shrunk("chromoformer_clf", "fold1", genes, cache)
    with config.ignore_type():
        config.update_from_flattened_dict(SMALL | changes)
    return config


@pytest.fixture(scope="module")
def whole(genes, compilation_cache, tmp_path_factory):
    """A finished cross-validation and its config."""
    workdir = tmp_path_factory.mktemp("crossval") / "clf"
    config = small(genes, compilation_cache)
    assert cross_validate(config, workdir) == "finished"
    return workdir, config


def refuse(*arguments, **named):
    raise AssertionError("a finished fold was touched")


def metrics_of(workdir, fold):
    return json.loads((workdir / fold / "eval" / fold / "metrics.json").read_text())


def test_each_fold_is_an_ordinary_run_and_the_summary_is_over_them(whole):
    workdir, _ = whole
    summary = json.loads((workdir / "crossval.json").read_text())
    assert summary["checkpoint"] == "last" and list(summary["folds"]) == ["fold1", "fold2"]
    assert summary["folds"]["fold2"] == {"records": 12, "step": 2 * 3}
    for name in ("auc_gene_per_track_mean", "loss_gene_flat"):
        own = [metrics_of(workdir, fold)["summary"][name] for fold in summary["folds"]]
        if name in summary["metrics"]:
            row = summary["metrics"][name]
            assert list(row["folds"].values()) == own and row["n_folds"] == 2
            np.testing.assert_allclose([row["mean"], row["sd"]], [np.mean(own), np.std(own, ddof=1)])
            assert 0 <= row["out_of_fold"] <= 1
    trained = json.loads((workdir / "fold2" / "config.json").read_text())["config"]["dataset"]
    assert (trained["train_split"], trained["validation_split"]) == ("fold1", "fold2")
    table = (workdir / "crossval.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["metric", "fold1", "fold2", "mean", "sd", "n_folds", "out_of_fold"]
    assert table[1].startswith("auc_gene_per_track_mean\t")
    page = (workdir / "report" / "report.html").read_text()
    for fold in ("fold1", "fold2"):
        assert f'href="../{fold}/report/report.html"' in page and (workdir / fold / "report" / "report.html").is_file()
    assert sorted(p.name for p in (workdir / "report" / "figures").iterdir()) == ["fold_curves.png", "fold_values.png"]


def test_finished_folds_are_left_alone_and_the_summary_is_the_same_bytes(whole, monkeypatch, capsys):
    workdir, config = whole
    files = ["crossval.json", "crossval.tsv", "report/report.html"]
    before = [(workdir / file).read_bytes() for file in files]
    monkeypatch.setattr(crossval, "train", refuse)
    monkeypatch.setattr(crossval, "evaluate_run", refuse)
    assert cross_validate(config, workdir) == "finished"
    assert [(workdir / file).read_bytes() for file in files] == before
    out, err = capsys.readouterr()
    assert "fold2 (2 of 2) is finished" in err and "mean ± sd" in out and "all genes" in out
    assert cross_validate(config, workdir, ["fold2"]) == "finished"
    assert (workdir / "crossval.json").read_bytes() == before[0]


def test_a_fold_of_an_earlier_version_is_finished_and_that_of_another_config_is_not(whole, genes, tmp_path):
    workdir, config = whole
    place, dataset = Path(shutil.copytree(workdir / "fold1", tmp_path / "fold1")), open_dataset(genes)
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    (start,) = [line for line in lines if line["kind"] == "start"]
    for section, field in ((None, "frozen"), (None, "compilation_cache"), ("model", "dtype"), ("task", "target")):
        del (start["config"][section] if section else start["config"])[field]

    def known() -> bool:
        (place / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return crossval.finished(of_fold(config, "fold1"), dataset, place) is not None

    assert known()
    for field, value in (("steps", 3), ("seed", 1)):
        kept, start["config"][field] = start["config"][field], value
        assert not known()
        start["config"][field] = kept
    start["config"]["model"]["width"] = 4
    assert not known()


def test_an_evaluation_of_another_checkpoint_or_without_report_is_made_again(whole, monkeypatch):
    workdir, config = whole
    file = workdir / "fold1" / "eval" / "fold1" / "metrics.json"
    report = workdir / "fold2" / "report" / "report.html"
    texts, asked = {path: path.read_bytes() for path in (file, report)}, []

    def restore(place, *more, **named):
        for path in texts:
            if place in path.parents:
                path.write_bytes(texts[path])
        os.utime(place / "report" / "report.html")

    monkeypatch.setattr(crossval, "train", lambda config, place: asked.append(place.name))
    monkeypatch.setattr(crossval, "evaluate_run", restore)
    file.write_text(json.dumps(json.loads(texts[file]) | {"step": 3}))
    report.unlink()
    assert cross_validate(config, workdir) == "finished"
    assert asked == ["fold1", "fold2"]
    monkeypatch.setattr(crossval, "evaluate_run", lambda *more, **named: file.unlink())
    file.unlink()
    file.write_text("{}")
    with pytest.raises(JaxepiError, match="fold1 was changed before the summary was made; run the same command again"):
        cross_validate(config, workdir)
    restore(workdir / "fold1")


def test_another_config_is_refused_and_more_steps_go_on(whole, genes, compilation_cache, tmp_path):
    workdir, _ = whole
    with pytest.raises(JaxepiError, match=r"config\.seed is 7, but .*fold1 was started with 42"):
        cross_validate(small(genes, compilation_cache, seed=7), workdir)
    other = tmp_path / "other"
    shutil.copytree(workdir / "fold2", other / "fold2")
    with pytest.raises(JaxepiError, match=r"config\.seed is 7, but .*fold2 was started with 42"):
        cross_validate(small(genes, compilation_cache, seed=7), other)
    assert not (other / "fold1").exists()
    more = small(genes, compilation_cache, steps=3, report=False)
    assert cross_validate(more, workdir, ["fold1"]) == "finished"
    summary = json.loads((workdir / "crossval.json").read_text())
    assert summary["folds"] == {"fold1": {"records": 12, "step": 9}}  # fold2 was not trained under this config


def test_a_stop_between_training_and_evaluation_costs_no_training(genes, compilation_cache, tmp_path, monkeypatch):
    config = small(genes, compilation_cache)
    evaluate, trained = crossval.evaluate_run, []

    def stop(place, *more, **named):
        if place.name == "fold2":
            raise KeyboardInterrupt
        return evaluate(place, *more, **named)

    monkeypatch.setattr(crossval, "evaluate_run", stop)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(config, tmp_path)
    assert not (tmp_path / "crossval.json").exists()
    monkeypatch.setattr(crossval, "evaluate_run", evaluate)
    train = crossval.train
    monkeypatch.setattr(crossval, "train", lambda own, place: trained.append(place.name) or train(own, place))
    assert cross_validate(config, tmp_path) == "finished"
    assert trained == ["fold2"]
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "fold2" / "log.jsonl").read_text().splitlines()]
    assert kinds.count("train") == 6 and kinds[-2:] == ["start", "end"]
    assert len(json.loads((tmp_path / "crossval.json").read_text())["folds"]) == 2


@pytest.mark.parametrize(
    ("changes", "folds", "sentence"),
    [
        ({"dataset.folds": ()}, None, r"config\.dataset\.folds is \(\), but cross-validation needs two or more"),
        ({"dataset.folds": ("fold1", "fold1")}, None, "names 'fold1' twice"),
        ({"dataset.folds": ("fold1", "fold7")}, None, "has no records of the fold 'fold7' .it has fold1 12, fold2 12"),
        ({"batch_size": 13}, None, "has 12 records outside the fold 'fold1', fewer than one batch of 13"),
        ({"dataset.test_split": "test"}, None, "there is no split 'test'"),
        ({"report_checkpoint": "newest"}, None, "config.report_checkpoint is 'newest', but must be 'best' or 'last'"),
        ({}, ["fold3"], "--folds names 'fold3'.*, but config.dataset.folds has fold1, fold2"),
    ],
)
def test_what_cannot_work_is_told_before_any_training(changes, folds, sentence, genes, compilation_cache, tmp_path):
    with pytest.raises(JaxepiError, match=sentence):
        cross_validate(small(genes, compilation_cache, **changes), tmp_path / "runs", folds)
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_a_single_run_is_refused(genes, compilation_cache, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(JaxepiError, match="holds a run of its own"):
        cross_validate(small(genes, compilation_cache), tmp_path)


def test_a_fold_of_a_config_is_its_variant():
    for name in ("chromoformer_clf", "chromoformer_reg"):
        module = config_file(name)
        for fold in ("fold1", "fold3"):
            assert of_fold(module.get_config("modern"), fold).dataset == module.get_config(fold).dataset
            assert of_fold(module.get_config(), fold) == module.get_config(fold)


def test_an_unknown_fold_is_refused():
    with pytest.raises(
        JaxepiError, match=r"There is no fold 'fold9' \(did you mean 'fold\d'\?\); config.dataset.folds"
    ):
        of_fold(config_file("chromoformer_clf").get_config(), "fold9")


def launch(workdir, genes, cache):
    fields = SMALL | {
        "dataset.path": genes, "compilation_cache": cache, "eval_batch_size": 8, "model.width": 8, "save_every": 1,
        "model.head_width": 8, "model.regulation_layers": 1, "model.regulation_inner": 8, "model.regulation_heads": 2,
        "model.pairwise_layers": 1, "task.promoter_width": 2000, "task.region_width": 2000, "task.max_pcres": 3,
    }  # fmt: skip
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    command = [sys.executable, "launch.py", "--config=configs/chromoformer_clf.py", "--mode=crossval"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
    )  # fmt: skip


def wait_for_training(process, log):
    while process.poll() is None and not (log.exists() and '"kind": "train"' in log.read_text()):
        time.sleep(0.002)


@pytest.mark.slow
def test_ctrl_c_and_kill_nine_and_the_same_command_goes_on(genes, compilation_cache, tmp_path):
    process = launch(tmp_path / "clf", genes, compilation_cache)
    wait_for_training(process, tmp_path / "clf" / "fold1" / "log.jsonl")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 130 and "run the same command again" in out, out
    process = launch(tmp_path / "clf", genes, compilation_cache)
    wait_for_training(process, tmp_path / "clf" / "fold2" / "log.jsonl")
    process.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "clf" / "fold1").rglob("*") if path.is_file()}
    process = launch(tmp_path / "clf", genes, compilation_cache)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "fold1 (1 of 2) is finished" in out and "mean ± sd" in out, out
    assert {path: path.stat().st_mtime_ns for path in done} == done
    whole = launch(tmp_path / "whole", genes, compilation_cache)
    out, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, out
    assert (tmp_path / "whole" / "crossval.json").read_bytes() == (tmp_path / "clf" / "crossval.json").read_bytes()
