"""The toys of docs/extending.md: a system and a verb, each added by one line, and then only unchanged generic code."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from toys.windowsum import SYSTEM
from toys.windowsum_recipe import WindowSumRecipe

import jaxepi
from data_prep.build import dataset as prepared
from jaxepi.data.open import open_dataset
from jaxepi.evaluate.result import EvalResult
from jaxepi.pretrained.table import weights_digest
from jaxepi.registry import SYSTEMS
from jaxepi.verbs.command import VERBS, main

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "extending.md"
PACKAGE, CONFIG = ROOT / "tests/toys/windowsum", ROOT / "tests/toys/windowsum_config.py"


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The two lines that the guide tells to add."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "windowsum", "toys.windowsum")
        patch.setitem(VERBS, "describe", "toys.describe")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Made by the builder of all datasets."""
    out = tmp_path_factory.mktemp("windowsum") / "dataset"
    execution = prepared.Execution(processes=1, progress=False)
    prepared.build(WindowSumRecipe({"train": 64, "valid": 16, "test": 20}), out, {}, [], execution)
    return out


@pytest.fixture(scope="module")
def workdir(registered, data, compilation_cache, tmp_path_factory) -> Path:
    """A run, trained and evaluated by the command."""
    folder = tmp_path_factory.mktemp("runs") / "windowsum"
    fields = [f"--config.dataset.path={data}", f"--config.compilation_cache={compilation_cache}", "--noconfig.report"]
    assert main(["train", "--config", str(CONFIG), *fields, "--workdir", str(folder)]) == 0
    return folder


def metrics(workdir: Path, split: str) -> dict:
    return EvalResult.load(workdir / "eval" / split).summary


def test_it_learns(workdir):
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < 0.75 * losses[0]
    for split in ("valid", "test"):
        assert metrics(workdir, split)["pearson_bin_per_track_mean"] > 0.9


def test_it_is_evaluated_and_reported_by_the_verb(workdir, data, capsys):
    before = metrics(workdir, "test")
    assert main(["eval", "--workdir", str(workdir), "--split", "test", "--save"]) == 0
    np.testing.assert_equal(metrics(workdir, "test"), before)
    assert "pearson_bin_per_track_mean" in capsys.readouterr().err
    assert (workdir / "report/report.html").stat().st_size > 100_000
    records, predictor = open_dataset(data, kinds=SYSTEM.datasets).split("test"), jaxepi.load(workdir)
    with h5py.File(workdir / "eval/test/preds.h5") as preds, h5py.File(workdir / "eval/test/targets.h5") as targets:
        np.testing.assert_allclose(preds["preds"], predictor.predict(records), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(targets["targets"], [records[n]["target"] for n in range(20)], rtol=1e-3)
        assert preds["tracks"][:].astype(str).tolist() == ["gc", "cpg"]


def test_bins_of_a_split_are_predicted_by_the_verb(workdir, data, tmp_path, capsys):
    """As eval --save does, and of a genome's regions."""
    words = ["predict", "--workdir", str(workdir), "--out"]
    assert main([*words, str(tmp_path / "split"), "--split", "test"]) == 0
    assert "20 windows of 2 tracks written to" in capsys.readouterr().err
    with h5py.File(tmp_path / "split/preds.h5") as ours, h5py.File(workdir / "eval/test/preds.h5") as theirs:
        np.testing.assert_allclose(ours["preds"], theirs["preds"], rtol=1e-3, atol=1e-4)
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGGC" * 500 + "\n")
    (tmp_path / "r.bed").write_text("chr1 0 2500\n")
    genome = [f"--fasta={tmp_path / 'g.fa'}", f"--regions={tmp_path / 'r.bed'}"]
    assert main([*words, str(tmp_path / "regions"), *genome]) == 0
    with pyBigWig.open(str(tmp_path / "regions/bigwig/gc.bw")) as file:
        assert np.nanmean(file.values("chr1", 0, 2500)) > 0.6  # of letters that are G or C in four of five places
    assert main([*words, str(tmp_path / "x"), "--split", "tset"]) == 2
    assert "tset" in capsys.readouterr().err


def test_it_predicts_and_goes_out_and_comes_back(workdir, data, tmp_path):
    predictor = jaxepi.load(workdir)
    records = open_dataset(data, kinds=SYSTEM.datasets).split("test")
    values = predictor.predict(records)
    measured = np.stack([records[number]["target"] for number in range(len(records))])
    assert predictor.tracks == ["gc", "cpg"] and values.shape == measured.shape == (20, 10, 2)
    assert all(np.corrcoef(values[..., k].ravel(), measured[..., k].ravel())[0, 1] > 0.9 for k in range(2))

    jaxepi.export(predictor.model, tmp_path / "released.npz", tracks=predictor.tracks)
    again = jaxepi.load(tmp_path / "released.npz")  # recognised by its tensors
    assert again.system is SYSTEM and again.tracks == predictor.tracks and again.grid == predictor.grid
    assert weights_digest(again.model) == weights_digest(predictor.model)
    codes = np.stack([records[number]["sequence"] for number in range(len(records))])
    np.testing.assert_allclose(again.predict(codes), values, rtol=1e-6, atol=1e-7)


def test_the_verb_is_one_of_them(workdir, capsys):
    assert main(["describe", "--workdir", str(workdir), "--most_tracks", "1"]) == 0
    assert capsys.readouterr().out == "windowsum: 2 tracks (gc), 10 values of each, one a bin\n"
    assert main(["--help"]) == main(["describe", "--help"]) == 0
    assert "Tells what a run" in capsys.readouterr().out
    assert main(["describe", "--fasta", "x.fa"]) == 2
    assert "--fasta belongs to predict and embed; describe has --workdir" in capsys.readouterr().err
    assert main(["eval", "--most-tracks", "3"]) == 2
    assert "--most-tracks belongs to describe; eval has" in capsys.readouterr().err


def test_the_toy_is_small():
    package = [line for path in PACKAGE.glob("*.py") for line in path.read_text().splitlines()]
    whole = [*package, *CONFIG.read_text().splitlines()]
    assert len(package) < 200 and sum(1 for line in whole if line.strip()) < 200


def test_the_guide_shows_these_files():
    """A block titled with a file is a part of it; every file of the toys is shown."""
    blocks = re.findall(r'```python title="([^"]+)"\n(.*?)```', GUIDE.read_text(), re.S)
    for name, block in blocks:
        assert block in (ROOT / name).read_text(), f"docs/extending.md shows what {name} does not hold:\n{block}"
    shown = {ROOT / name for name, _ in blocks}
    assert {*PACKAGE.glob("*.py"), CONFIG, ROOT / "tests/toys/describe.py"} <= shown
