import json

import numpy as np
import pytest

from data_prep.build.synthetic import auc
from data_prep.chromoformer import sample as sample
from data_prep.chromoformer.folds import PAPER


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small sample and its dataset."""
    from data_prep.__main__ import main

    out = tmp_path_factory.mktemp("sample")
    assert main(["chromoformer-sample", "--out", str(out), "--genes", "400"]) == 0
    return out


@pytest.fixture(scope="module")
def records(made):
    from jaxepi.data import open_dataset

    data = open_dataset(made / "dataset", ("chromoformer",))
    return [data.split(split)[i] for split in data.splits for i in range(data.splits[split])]


def test_chromosomes_of_all_folds():
    assert sorted(fold for c in sample.CHROMOSOMES for fold, own in PAPER.items() if c in own) == sorted(
        [1, 2, 3, 4] * 2
    )


def test_what_decides_lies_beyond_the_promoter():
    for start, end in sample.fragments(3):
        middle = 3 * sample.TERRITORY + sample.TERRITORY // 2
        assert min(abs(start - middle), abs(end - middle)) >= 20_000 + 1_000  # the start site may lie 1 kb off
        assert 3 * sample.TERRITORY <= start < end <= 4 * sample.TERRITORY
        assert end - start > 2 * sample.PEAK


def test_expression_follows_promoter_and_contacts():
    planted = sample.plant(4000, np.random.default_rng(0))
    count = planted.in_contact.sum(axis=1)
    assert count.min() == 2 and count.max() == 6
    assert (planted.score[planted.in_contact] > 1.5).all() and (planted.score[~planted.in_contact] <= 1.5).all()
    best = sample.ceiling([planted], float(np.median(planted.expression)))
    assert best["auc_with_contacts"] > 0.95 and 0.65 < best["auc_promoter_only"] < 0.8
    idle = (planted.active & ~planted.in_contact).sum(axis=1) / (~planted.in_contact).sum(axis=1)
    assert abs(np.corrcoef(idle, planted.expression)[0, 1]) < 0.05


def test_what_reports_expect_is_what_the_rules_reach():
    metrics = pytest.importorskip("sklearn.metrics")
    planted = sample.plant(4000, np.random.default_rng(1))
    median = float(np.median(planted.expression))
    found = sample.expectations([planted], median)
    high = planted.expression >= median
    assert found["label"]["auc_gene_per_track_mean"] == pytest.approx(metrics.roc_auc_score(high, planted.expected))
    right = metrics.accuracy_score(high, planted.expected > median)
    assert found["label"]["accuracy_gene_per_track_mean"] == pytest.approx(right)
    # the noise is all that the rules do not know: its share of the variance
    known = 1 - sample.NOISE**2 / planted.expression.var()
    assert found["expression"]["pearson_gene_per_track_mean"] == pytest.approx(np.sqrt(known), abs=0.01)
    assert 0.85 < found["label"]["pearson_gene_per_track_mean"] < found["label"]["auc_gene_per_track_mean"]


def test_records_hold_the_effect(made, records):
    """A linear fit on the records of folds 2 to 4 predicts fold 1 better with the contacts."""
    assert len(records) == 400
    marks = json.loads((made / "dataset" / "manifest.json").read_text())["marks"]
    assert marks == list(sample.MARKS)
    expression = np.log2(np.array([record["expression"] for record in records]) + 1)
    held = np.array([record["fold"] for record in records]) == 1
    promoter = np.stack([np.log1p(record["promoter_sum"][190:210] / 100).mean(axis=0) for record in records])
    contacts = np.stack([np.log1p(record["pcre_sum"] / 100).mean(axis=0) for record in records])
    scores = {}
    for name, features in (("promoter", [promoter]), ("both", [promoter, contacts])):
        x = np.concatenate([*features, np.ones((len(records), 1))], axis=1)
        weights = np.linalg.lstsq(x[~held], expression[~held], rcond=None)[0]
        scores[name] = auc(x[held] @ weights, expression[held] >= np.median(expression))
    best = json.loads((made / "raw" / "ceiling.json").read_text())["folds"]["fold1"]
    assert scores["both"] > scores["promoter"] + 0.1
    assert abs(scores["promoter"] - best["auc_promoter_only"]) < 0.1 and scores["both"] <= best["auc_with_contacts"]


def test_start_sites_come_from_the_longest_coding_transcript(made, records):
    lines = [line.split("\t") for line in (made / "raw" / "annotation.gtf").read_text().splitlines()]
    assert {line[2] for line in lines} == {"transcript"} and len(lines) == 3 * 400
    for record in records:
        number = record["start"] // sample.TERRITORY
        assert abs(record["start"] - (number * sample.TERRITORY + 50_000)) <= 1_000
        assert record["key"].endswith(f"{number:04d}")


def test_rerun_and_other_arguments(made, prepare, capsys):
    argv = ["chromoformer-sample", "--out", str(made), "--genes"]
    status, out, _ = prepare([*argv, "400"])
    assert status == 0 and "nothing to do" in out
    status, _, err = prepare([*argv, "480"])
    assert status == 2 and "the files there were made with" in err
    status, _, err = prepare([*argv, "4"])
    assert status == 2 and "--genes is 4: at least 80" in err
    (made / "raw" / "ceiling.json").rename(made / "kept")
    status, _, err = prepare([*argv, "400"])
    assert status == 2 and "ceiling.json is missing or damaged" in err
    (made / "kept").rename(made / "raw" / "ceiling.json")


def test_same_seed_same_files(tmp_path, made):
    sample.prepare(tmp_path, genes=400)
    for file in sorted((made / "raw").iterdir()):
        assert file.read_bytes() == (tmp_path / "raw" / file.name).read_bytes(), file.name
