"""The synthetic single cells: files that follow the rules, a dataset made from them, a ceiling that is one."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.deepcpg import sample as sample
from jaxepi.data import open_dataset

SMALL = "0.4"  # Mb


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "out"
    assert main(["deepcpg-sample", "--out", str(out), "--megabases", SMALL, "--seed", "2"]) == 0
    return out


def test_same_seed_same_files(made: Path, tmp_path: Path) -> None:
    sample.prepare(tmp_path, seed=2, megabases=float(SMALL))
    files = sorted(path for path in (tmp_path / "raw").rglob("*") if path.is_file())
    assert len(files) == 4 + len(sample.cell_names())
    for file in files:
        assert file.read_bytes() == (made / "raw" / file.relative_to(tmp_path / "raw")).read_bytes(), file.name


def test_every_site_of_the_tables_is_in_the_dataset_with_its_state(made: Path) -> None:
    dataset = open_dataset(made / "dataset", ("deepcpg",))
    assert dataset.manifest["cells"] == sample.cell_names()
    seen = {}
    for split in dataset.splits:
        for record in dataset.split(split):
            assert record["sequence"][500:502].tolist() == [1, 2]  # the site is the C of a CpG
            for cell, value in zip(record["cell"], record["value"], strict=True):
                seen[sample.cell_names()[cell], record["chrom"], int(record["start"]) + 1] = int(value)
    told = {}
    for name in sample.cell_names():
        for line in (made / "raw" / "cells" / f"{name}.tsv").read_text().splitlines():
            chrom, position, state = line.split("\t")
            told[name, chrom, int(position)] = int(state)
    assert seen == told
    chroms = {split: {record["chrom"] for record in dataset.split(split)} for split in dataset.splits}
    assert chroms == {"train": {"chr1", "chr3"}, "valid": {"chr13"}, "test": {"chr2"}}


def test_the_hidden_part_is_normal_and_falls_with_distance() -> None:
    cpg = np.arange(0, 4_000_000, 500)
    drawn = sample.hidden(cpg, 6, np.random.default_rng(0))
    assert drawn.std() == pytest.approx(sample.HIDDEN_NOISE, rel=0.05)
    for steps in (1, 2, 6):
        together = np.mean([np.corrcoef(own[steps:], own[:-steps])[0, 1] for own in drawn.T])
        assert together == pytest.approx(np.exp(-500 * steps / sample.HIDDEN_REACH), abs=0.05)
    assert abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 0.15


def test_islands_are_where_the_cpgs_lie_dense() -> None:
    cpg = np.concatenate([np.arange(0, 40) * 10 + 5_000, [9_000, 12_000]])
    assert sample.islands(cpg) == [(5_000, 5_392)]
    assert sample.islands(np.array([10, 900, 5_000])) == []


def test_the_ceiling_is_the_auc_of_the_probabilities(made: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    best = random.random((500, len(sample.cell_names())))
    state = np.where(random.random(best.shape) < 0.5, random.random(best.shape) < best, -1)
    found = sample.ceiling(best, state)
    for cell, name in enumerate(sample.cell_names()):
        there = state[:, cell] >= 0
        expected = metrics.roc_auc_score(state[there, cell], best[there, cell])
        assert found["per_track"][f"cpg/{name}"]["auc_cpg"] == pytest.approx(expected)
    written = json.loads((made / "raw" / "ceiling.json").read_text())
    assert 0.7 < written["auc_from_sequence"] < written["splits"]["test"]["auc_cpg_per_track_mean"] < 1


def test_rerun_and_other_arguments(made: Path, prepare) -> None:
    argv = ["deepcpg-sample", "--out", str(made), "--seed", "2", "--megabases"]
    status, out, _ = prepare([*argv, SMALL])
    assert status == 0 and "nothing to do" in out
    status, _, err = prepare([*argv, "0.5"])
    assert status == 2 and "made with megabases 0.4, not 0.5" in err
    status, _, err = prepare([*argv, "0.1"])
    assert status == 2 and "--megabases is 0.1: at least 0.2" in err
