"""jaxepi verify: what is found in runs, cross-validations, datasets and results, and the status it leaves with."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.runs.verify import verify
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.verbs.command import main


@pytest.fixture
def workdir(tmp_path):
    """What a run leaves, with the checkpoints of a tiny state."""
    folder = tmp_path / "runs" / "x"
    for name in ("checkpoints", "best", "best_loss_total"):
        checkpoints = Checkpoints(folder / name)
        checkpoints.save(5, {"params": jnp.ones(3)}, {})
        checkpoints.close()
    (folder / "config.json").write_text("{}")
    (folder / "log.jsonl").write_text('{"kind": "start"}\n')
    (folder / "predictions").mkdir()
    (folder / "predictions" / "predict.json").write_text('{"arguments": {}}')
    np.savez(folder / "predictions" / "values.npz", a=np.ones(3))
    (folder / "report").mkdir()
    (folder / "imputed.partial").mkdir()
    (folder / "damaged" / "checkpoints-3").mkdir(parents=True)
    return folder


def test_a_run_is_whole(workdir, capsys):
    assert main(["verify", str(workdir)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and lines[-1] == "All 7 parts are whole; 2 left over."
    for part in ("config.json", "log.jsonl", "checkpoints/5", "best/5", "best_loss_total/5", "predictions/values.npz"):
        assert any(line.startswith(f"{workdir / part}: whole (") for line in lines), part
    assert any(line.startswith(f"{workdir / 'imputed.partial'}: left over: ") for line in lines)


def test_damage_is_told_and_leaves_with_status_2(workdir, genes, capsys):
    meta = workdir / "best" / "5" / "meta" / "metadata"
    meta.write_text(meta.read_text().replace('"step": 5', '"step": 6'))
    (workdir / "eval" / "test").mkdir(parents=True)
    (workdir / "eval" / "test" / "metrics.json").write_text("{}")
    assert main(["verify", str(workdir), str(genes)]) == 2
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines()[-1].startswith("2 of ") and "are damaged; 2 left over." in out
    assert f"{workdir}/best/5: damaged: its description does not match its checksum\n" in out
    assert f"{workdir}/eval/test: damaged: " in out and f"{genes / 'manifest.json'}: whole" in out


def test_folders_of_runs_and_results(workdir, capsys):
    folds = workdir.parent
    (folds / "crossval.json").write_text(json.dumps({"folds": {}}))
    found = list(verify(folds))
    assert found[0].place == folds / "crossval.json" and folds / "x" / "best" / "5" in [one.place for one in found]
    found = list(verify(workdir / "predictions"))
    assert [one.place.name for one in found] == ["predict.json", "values.npz"]
    (one,) = verify(workdir / "config.json")
    assert one.state == "whole"


def test_what_cannot_be_checked_is_one_sentence(tmp_path, capsys):
    with pytest.raises(JaxepiError, match="There is nothing at .*nowhere; give the folder of a run or of a dataset"):
        list(verify(tmp_path / "nowhere"))
    with pytest.raises(JaxepiError, match="holds no run, no dataset and no file with a checksum"):
        list(verify(tmp_path))
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(JaxepiError, match="holds no run"):
        list(verify(tmp_path / "x.txt"))
    for words in (["verify"], ["--mode=verify"]):
        assert main(words) == 2
        assert "error: The folders to check are needed here, such as: verify runs/NAME" in capsys.readouterr().err
    assert main(["verify", str(tmp_path), "--workdir=x"]) == 2
    assert "--workdir belongs to train" in capsys.readouterr().err


def test_a_dataset_in_the_folder_of_a_sample(genes, tmp_path):
    shutil.copytree(genes, tmp_path / "sample" / "dataset")
    assert {one.state for one in verify(tmp_path / "sample")} == {"whole"}
