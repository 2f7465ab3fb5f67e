"""Every `out:` array of the golden file of Melody's check functions, and the corrected forms."""

from pathlib import Path

import numpy as np
import pytest

from jaxepi.sequence import BASES, encode, is_cpg
from jaxepi.systems.melody import original_metrics as checks

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "melody" / "metrics.npz", allow_pickle=False)
HOT, BETA, LOGITS = GOLDEN["in:seq_WL4"], GOLDEN["in:methy_raw_WL"], GOLDEN["in:logits_WL"]
CODES = np.where(HOT.max(-1) == 1, HOT.argmax(-1), 4).astype(np.uint8)
PROBABILITY = GOLDEN["out:sigmoid"]
VARIANTS = {
    "standard_corr_on_raw": (PROBABILITY, {}),
    "corr_on_binarised": (PROBABILITY, {"correlation_target": "binarised"}),
    "raw_targets_everywhere": (PROBABILITY, {"label_target": "raw"}),
    "logits_not_sigmoided": (LOGITS, {"correlation_target": "binarised"}),
}


def golden(prefix):
    start = f"out:{prefix}/"
    return {name.removeprefix(start): GOLDEN[name] for name in GOLDEN if name.startswith(start)}


def assert_all_equal(found, prefix):
    wanted = golden(prefix)
    assert wanted
    for name, value in wanted.items():
        tolerance = 0 if "acc_" in name or value.dtype.kind == "i" else 1e-6
        assert found[name] == pytest.approx(float(value), rel=tolerance, abs=0), name


def test_no_golden_array_is_left_untested():
    groups = {name.removeprefix("out:").split("/")[0] for name in GOLDEN if name.startswith("out:")}
    assert groups == {*VARIANTS, "sigmoid", "cell_zone", "mask", "score", "best_step", "single_class"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant):
    prediction, options = VARIANTS[variant]
    found = checks.check_metrics(CODES, BETA, prediction, **options)
    assert_all_equal(found | {"loss": checks.check_loss(PROBABILITY, BETA)}, variant)


def test_sigmoid():
    np.testing.assert_allclose(1 / (1 + np.exp(-LOGITS.astype(np.float64))), PROBABILITY, rtol=1e-6)


def test_letter_and_cpg_masks():
    wanted = golden("mask")
    for code, base in enumerate(BASES):
        np.testing.assert_array_equal(code == CODES, wanted[base])
    masks = checks.region_masks(CODES, cpg_across_windows=False)
    np.testing.assert_array_equal(masks["C/G"].reshape(CODES.shape), wanted["CorG"])
    np.testing.assert_array_equal(masks["CpG"].reshape(CODES.shape), wanted["CpG"])


def test_cell_zone():
    slices = [checks.zone_slice(CODES.shape[1], int(zone)) for zone in GOLDEN["in:zone_lengths"]]
    codes, beta, p = ([row[at] for row, at in zip(x, slices, strict=True)] for x in (CODES, BETA, PROBABILITY))
    wanted = golden("cell_zone")
    found = checks.check_metrics(codes, beta, p, label_target="raw")
    for name in (name for name in wanted if "/" in name):
        assert found[name] == pytest.approx(float(wanted[name]), rel=1e-6), name
    joined = checks.region_masks(codes, cpg_across_windows=True)["CpG"]
    np.testing.assert_array_equal(joined, wanted["cpg_mask_concatenated"])
    assert checks.region_masks(codes, cpg_across_windows=False)["CpG"].sum() == wanted["cpg_mask_per_region_sum"]


def test_zone_of_one_base_or_reversed_is_empty():
    assert all(checks.zone_slice(400, zone) == slice(0, 0) for zone in (1, 0, -1, -5))
    assert checks.zone_slice(400, 5) == slice(198, 202)


def test_selection_score_and_best_step():
    scores = checks.selection_scores(
        {"valid": 0.61, "test": 0.60, "train": 0.0}, {"valid": 0.88, "test": 0.87, "train": 0.0}
    )
    wanted = golden("score")
    for name, value in wanted.items():
        assert scores[name.split("|")[1]] == pytest.approx(float(value)), name
    steps = {1000: scores["train"], 3000: scores["valid"], 2000: scores["valid"]}
    assert checks.best_step(steps) == GOLDEN["out:best_step"]


def test_single_class_is_nan():
    found = checks.check_metrics(CODES, np.zeros_like(BETA), PROBABILITY)
    assert np.isnan(found["aucs_and_accs/auc_CpG"]) and np.isnan(GOLDEN["out:single_class/auc_CpG"])


def test_published_convention_drops_missing_and_keeps_windows_apart():
    codes = [encode("ACGC"), encode("GACG")]
    beta = [np.array([0.0, 0.9, 0.9, 0.0]), np.array([0.0, 0.0, -1.0, 0.2])]
    prediction = [np.array([0.1, 0.8, 0.7, 0.2]), np.array([0.3, 0.1, 0.9, 0.3])]
    parity = checks.check_metrics(codes, beta, prediction)
    fixed = checks.check_metrics(codes, beta, prediction, missing="drop", cpg_across_windows=False)
    assert parity["aucs_and_accs/methy_CpG"] == pytest.approx(2 / 6)
    assert fixed["aucs_and_accs/methy_CpG"] == pytest.approx(2 / 3)
    assert (parity["aucs_and_accs/auc_CpG"], fixed["aucs_and_accs/auc_CpG"]) == (pytest.approx(6 / 8), 1.0)
    assert sum(is_cpg(window).sum() for window in codes) == 4
    with pytest.raises(ValueError, match="missing='hide'"):
        checks.check_metrics(codes, beta, prediction, missing="hide")
