import csv
import gzip

import numpy as np
import pytest

from jaxepi.systems.deepcpg import original_metrics as checks

FILES = (64, 64, 11, 64, 29)  # rows of the original's data files: its batches never span two of them


def sides(arrays):
    outputs = [key.removeprefix("in:label:") for key in arrays.files if key.startswith("in:label:")]
    return {o: arrays[f"in:label:{o}"] for o in outputs}, {o: arrays[f"in:pred:{o}"] for o in outputs}


def pipeline(arrays):
    outputs = [f"cpg/cell{letter}" for letter in "ABCD"]
    return {o: arrays[f"out:eval:outputs/{o}"] for o in outputs}, {o: arrays[f"out:eval:preds/{o}"] for o in outputs}


def table(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_metric_of_every_output(golden):
    arrays = golden("deepcpg", "eval_metrics.npz")
    labels, predictions = sides(arrays)
    compared = 0
    for output in labels:
        for metric, value in checks.evaluate(output, labels[output], predictions[output]).items():
            np.testing.assert_allclose(value, arrays[f"loss:{output}:{metric}"], rtol=1e-10, atol=1e-12)
            compared += 1
    known = [key for key in arrays.files if key.startswith("loss:") and "keras" not in key and not key.endswith("rmse")]
    assert compared == len(known) == 91
    y, z = checks.observed(labels["bulk/b"], predictions["bulk/b"])
    np.testing.assert_allclose(checks.rmse(y, z), arrays["loss:bulk/b:rmse"], rtol=1e-10)


def test_metrics_while_training(golden):
    arrays = golden("deepcpg", "eval_metrics.npz")
    labels, predictions = sides(arrays)
    y, z = checks.observed(labels["cpg/c1"], predictions["cpg/c1"])
    counts = checks.Confusion.of(y, z)
    values = {
        "prec": counts.precision(), "tpr": counts.true_positive_rate(), "tnr": counts.true_negative_rate(),
        "fpr": 1 - counts.true_negative_rate(), "fnr": 1 - counts.true_positive_rate(), "f1": counts.f1(),
        "mcc": counts.mcc(), "acc": counts.accuracy(), "mse": checks.mse(y, z), "mae": checks.mad(y, z),
    }  # fmt: skip
    for metric, value in values.items():
        np.testing.assert_allclose(value, arrays[f"loss:keras:cpg/c1:{metric}"], rtol=1e-10)
    name = "cpg_stats/cat_var"
    found = checks.training_metrics(name, labels[name], predictions[name])
    np.testing.assert_allclose(found["cat_acc"], arrays[f"loss:keras:{name}:cat_acc"], rtol=1e-10)


def test_order_of_the_report_and_of_the_wide_table(golden):
    arrays = golden("deepcpg", "eval_metrics.npz")
    labels, predictions = sides(arrays)
    lines = [str(line) for line in arrays["out:report_rows"]]
    reported = {line.split("\t")[1] for line in lines}
    rows = checks.whole_report({o: y for o, y in labels.items() if o in reported}, predictions)
    assert [f"{row.metric}\t{row.output}" for row in rows] == lines
    columns, wide = checks.wide_report(rows)
    assert columns == arrays["out:unstack_columns"].tolist()
    assert [line["output"] for line in wide] == arrays["out:unstack_output_order"].tolist()


@pytest.mark.parametrize("kind", ["roc", "pr"])
@pytest.mark.parametrize("points", [None, 20])
def test_curves(golden, kind, points):
    arrays = golden("deepcpg", "eval_metrics.npz")
    curve = checks.curve(kind, arrays["in:label:cpg/c1"], arrays["in:pred:cpg/c1"], points)
    for name, values in (("x", curve.x), ("y", curve.y), ("thr", curve.threshold)):
        np.testing.assert_allclose(values, arrays[f"out:curve:{kind}:{points}:{name}"], rtol=1e-10)


def test_chunk_means_are_the_originals_and_differ_from_the_whole(golden, golden_path):
    labels, predictions = pipeline(golden("deepcpg", "eval_pipeline/expected.npz"))
    sizes = checks.chunk_sizes(FILES, 100)
    assert sizes == [128, 104] and checks.chunk_sizes(FILES, 0) == [232]
    for size, rows in (
        (100, checks.chunk_mean_report(labels, predictions, sizes)),
        (0, checks.whole_report(labels, predictions)),
    ):
        expected = table(golden_path("deepcpg", f"eval_pipeline/expected_report_evalsize{size}.tsv"))
        found = {(row.metric, row.output): row.value for row in rows}
        assert len(found) == len(expected) == 28
        for line in expected:
            np.testing.assert_allclose(found[line["metric"], line["output"]], float(line["value"]), rtol=1e-10)


def test_chunk_means_leave_out_what_is_undefined():
    labels, predictions = {"cpg/a": np.array([1, 1, 0, 1])}, {"cpg/a": np.array([0.9, 0.2, 0.1, 0.8])}
    means = {row.metric: row.value for row in checks.chunk_mean_report(labels, predictions, [2, 2])}
    assert means["auc"] == 1.0 and means["acc"] == 0.75 and means["n"] == 2


def annotations(golden):
    arrays = golden("deepcpg", "data_pipeline/expected_A.npz")
    files = sorted({key.split(":")[1] for key in arrays.files if ".h5" in key})
    return {
        name: np.concatenate([arrays[f"out:{file}:/inputs/annos/{name}"] for file in files]) == 1
        for name in ("CGI", "exons")
    }


def test_reports_by_annotation(golden, golden_path):
    labels, predictions = pipeline(golden("deepcpg", "eval_pipeline/expected.npz"))
    reports = checks.by_annotation(labels, predictions, annotations(golden), smallest=5)
    lines = [
        (anno, row.metric, row.output, "" if np.isnan(row.value) else f"{row.value:.5f}")
        for anno, rows in reports.items()
        for row in rows
    ]
    expected = table(golden_path("deepcpg", "eval_pipeline/expected_perf_metrics.tsv"))
    # metrics, outputs and values; values that are equal in five decimals may stand in another order
    assert sorted(lines) == sorted((line["anno"], line["metric"], line["output"], line["value"]) for line in expected)
    assert list(checks.by_annotation(labels, predictions, annotations(golden))) == ["global"]


def test_curves_by_annotation(golden, golden_path):
    labels, predictions = pipeline(golden("deepcpg", "eval_pipeline/expected.npz"))
    expected = table(golden_path("deepcpg", "eval_pipeline/expected_perf_curves.tsv"))
    for kind, wanted in (("roc", ["global", "CGI", "exons"]), ("pr", ["global"])):
        shown = {name: inside for name, inside in annotations(golden).items() if name in wanted}
        options = {"points": 20, "smallest": 5}
        parity = checks.annotated_curves(kind, labels, predictions, shown, all_sites=True, **options)
        lines = [line for line in expected if line["curve"] == kind]
        assert list(dict.fromkeys((line["anno"], line["output"]) for line in lines)) == list(parity)
        for key, curve in parity.items():
            own = [line for line in lines if (line["anno"], line["output"]) == key]
            for name, values in (("x", curve.x), ("y", curve.y), ("thr", curve.threshold)):
                np.testing.assert_allclose(values, [float(line[name]) for line in own], rtol=0, atol=1.1e-5)
        correct = checks.annotated_curves(kind, labels, predictions, shown, **options)
        for (name, output), curve in correct.items():
            inside = np.ones(232, bool) if name == "global" else shown[name]
            alone = checks.curve(kind, labels[output][inside], predictions[output][inside], 20)
            np.testing.assert_array_equal(curve.y, alone.y)
    assert len(checks.curve("roc", labels["cpg/cellA"], predictions["cpg/cellA"], 20).x) == 20


def test_degenerate_cases():
    ones, half = np.ones(4), np.array([0.9, 0.8, 0.2, 0.1])
    assert checks.Confusion.of(ones, ones).true_negative_rate() == 1.0
    assert np.isnan(checks.Confusion.of(ones, half).true_negative_rate())
    assert checks.Confusion.of(np.zeros(4), half).true_positive_rate() == 0.0
    assert checks.Confusion.of(ones, half).mcc() == 0.0
    assert checks.Confusion.of(np.array([1, 0]), np.array([0.5, 0.5])).accuracy() == 0.5
    nothing = checks.evaluate("cpg/a", np.full(4, -1), half)
    assert nothing.pop("n") == 0 and np.isnan(list(nothing.values())).all()
    assert checks.curve("roc", ones, half) is None
    assert set(checks.metrics_of("cpg_stats/entropy")) == set(checks.metrics_of("cpg_stats/var"))


def test_auc_and_curve_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    label, prediction = (random.random(300) < 0.4).astype(float), random.integers(0, 40, 300) / 40
    expected = metrics.roc_auc_score(label, prediction)
    np.testing.assert_allclose(checks.area_under_curve(label, prediction), expected, rtol=1e-12)
    curve = checks.curve("roc", label, prediction)
    np.testing.assert_allclose(np.trapezoid(curve.y, curve.x), expected, rtol=1e-12)
    counts = checks.Confusion.of(label, prediction)
    np.testing.assert_allclose(counts.mcc(), metrics.matthews_corrcoef(label, np.round(prediction)), rtol=1e-12)


def test_kendall_of_many_sites_is_a_repeatable_sample(monkeypatch):
    monkeypatch.setattr(checks, "LARGEST_KENDALL", 50)
    random = np.random.default_rng(0)
    label = random.random(200)
    prediction = label + random.normal(0, 0.2, 200)
    assert checks.kendall(label, prediction) == checks.kendall(label, prediction)
    monkeypatch.setattr(checks, "LARGEST_KENDALL", 200)
    whole = checks.kendall(label, prediction)
    monkeypatch.setattr(checks, "LARGEST_KENDALL", 100)
    assert 0 < abs(checks.kendall(label, prediction) - whole) < 0.15
