"""Metrics of parts of the records: right per part, kept by files, shown in the report."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxepi.evaluate.evaluator import evaluate
from jaxepi.evaluate.result import EvalResult
from jaxepi.metrics import standard as metrics
from jaxepi.metrics.exact import auc
from jaxepi.metrics.groups import Groups
from jaxepi.report.group_plots import group_curves, known_mean
from jaxepi.report.run_report import write_report

GROUPS = Groups("annotation", ("CGI", "<i>exons</i>", "nowhere"))


def values(sites=400, tracks=3):
    random = np.random.default_rng(0)
    target = (random.random((sites, 1, tracks)) < 0.4).astype(np.float32)
    prediction = np.round(np.clip(0.3 * target + 0.7 * random.random(target.shape), 0, 1), 2).astype(np.float32)
    mask = random.random(target.shape) < 0.8
    inside = np.stack([random.random(sites) < 0.5, random.random(sites) < 0.1, np.zeros(sites)], axis=1)
    return prediction, target, mask, inside.astype(np.uint8)


def test_values_of_a_part_are_those_of_its_records_and_merge():
    prediction, target, mask, inside = values()
    parts = [GROUPS.metrics(*(array[rows] for array in (prediction, target, mask, inside)))
             for rows in (slice(0, 150), slice(150, None))]  # fmt: skip
    rest, found = GROUPS.split({**metrics.merge_metrics(*parts), "other/kind": "kept"})
    assert rest == {"other/kind": "kept"} and list(found) == list(GROUPS.names)
    for number, name in enumerate(GROUPS.names[:2]):
        for track in range(3):
            use = mask[:, 0, track] & (inside[:, number] > 0)
            p, y = prediction[use, 0, track], target[use, 0, track]
            assert found[name]["n_values"][track] == use.sum()
            assert found[name]["auc"][track] == pytest.approx(auc(p, y > 0.5), abs=1e-6)
            assert found[name]["accuracy"][track] == pytest.approx(np.mean((p > 0.5) == (y > 0.5)))
    assert found["nowhere"]["n_values"] == [0, 0, 0] and np.isnan(found["nowhere"]["auc"]).all()


class GroupedTask:
    def summarize(self, sums):
        rest, groups = GROUPS.split(sums)
        return metrics.summarize(rest) | {"groups": groups}


def test_parts_are_saved_loaded_and_shown(tmp_path, split):
    def step(batch):
        prediction, target, mask = (batch[name] for name in ("prediction", "target", "mask"))
        inside = np.stack([np.arange(len(mask)) % 2, np.ones(len(mask)), np.zeros(len(mask))], axis=1)
        sums = metrics.standard_metrics(prediction, target, mask)
        found = {name: batch[name] for name in ("prediction", "target", "mask", "offset")}
        return sums | GROUPS.metrics(prediction, target, mask, inside), found

    quiet = {"progress": lambda text: None}
    result = evaluate(step, split.batches(4), GroupedTask(), split.names, "test", output=tmp_path / "eval", **quiet)
    loaded = EvalResult.load(tmp_path / "eval")
    assert loaded.groups["CGI"] == result.groups["CGI"] and np.isnan(loaded.groups["nowhere"]["auc"]).all()
    assert not any("annotation" in name for name in (*result.summary, *result.per_track))
    assert {"annotation-0/fpr", "annotation-0/precision"} <= set(loaded.curves)
    page = write_report(tmp_path, {"test": loaded}, None, {}).read_text()
    for figure in ("groups", "group_curves"):
        assert (tmp_path / "report" / "figures" / f"test_{figure}.png").exists()
    assert "&lt;i&gt;exons&lt;/i&gt;" in page and "<i>exons" not in page
    assert f"{known_mean(result.groups['CGI']['mcc']):.4f}" in page


def curves_of(names, tracks=2):
    """The result of an evaluation with these groups, group i holding every (i + 2)-th record."""
    prediction, target, mask, _ = values(tracks=tracks)
    groups = Groups("annotation", tuple(names))
    inside = np.stack([np.arange(len(target)) % (i + 2) == 0 for i in range(len(names))], axis=1)
    step = jax.jit(lambda *x: metrics.standard_metrics(*x[:3]) | groups.metrics(*x))

    class Task:
        def summarize(self, sums):
            rest, found = groups.split(sums)
            return metrics.summarize(rest) | {"groups": found}

    def predict_step(batch):
        return step(*batch), dict(zip(("prediction", "target", "mask"), batch[:3], strict=True))

    batch = (prediction, target, mask, inside)
    return evaluate(predict_step, [batch], Task(), [f"t{k}" for k in range(tracks)], "test", progress=lambda text: None)


def test_a_line_a_part_each_its_own():
    names = [f"part{i}" for i in range(12)]  # jit sorts what a step returns by name: part10 would come before part2
    result = curves_of(names)
    assert list(result.groups) == names
    figure = group_curves(result)
    roc = {line.get_label().split(" (")[0]: line for line in figure.axes[0].lines}
    assert set(names) | {"all cpg"} <= set(roc)
    for i, name in enumerate(names):
        np.testing.assert_array_equal(roc[name].get_ydata(), result.curves[f"annotation-{i}/tpr_flat"][0])
        assert f"({sum(result.groups[name]['n_values']):,})" in roc[name].get_label()
    looks = {(line.get_color(), line.get_linestyle()) for name, line in roc.items() if name in names}
    assert len(looks) == len(names)


def test_parts_without_both_classes_have_no_line():
    result = curves_of(["CGI", "nowhere"])
    result.curves["annotation-1/fpr_flat"][:] = np.nan
    labels = [line.get_label() for line in group_curves(result).axes[0].lines]
    assert any(label.startswith("CGI") for label in labels) and not any("nowhere" in label for label in labels)
    assert group_curves(dataclasses.replace(result, groups={})) is None
