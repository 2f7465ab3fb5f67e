"""Metrics of one track as Melody's own check functions compute them (parity), and their corrected form.

The original joins all windows into one sequence, marks CpGs on it, keeps CpGs without coverage (-1) as unmethylated,
and reports three regions: all bases, every C or G, and both letters of CpGs. Each of these choices is an argument.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxepi.metrics import exact
from jaxepi.sequence import C, G, is_cpg

_CLASS_NAME = {"All": "all", "C/G": "C/G", "CpG": "CpG"}  # the original writes "all" in AUC and accuracy


def region_masks(codes: Sequence[np.ndarray], cpg_across_windows: bool) -> dict[str, np.ndarray]:
    """Masks over the joined windows: `All`, `C/G` and `CpG`, each (sum of L,).

    Args:
        codes: base codes of each window, (L,) each; lengths may differ.
        cpg_across_windows: a C that ends a window followed by a G that starts the next is a CpG (the original).
    """
    joined = np.concatenate([*codes, np.zeros(0, np.uint8)])
    cpg = is_cpg(joined) if cpg_across_windows else np.concatenate([*map(is_cpg, codes), np.zeros(0, bool)])
    return {"All": np.ones(len(joined), bool), "C/G": (joined == C) | (joined == G), "CpG": cpg}


def check_metrics(
    codes: Sequence[np.ndarray],
    methylation: Sequence[np.ndarray],
    prediction: Sequence[np.ndarray],
    *,
    label_target: str = "binarised",
    correlation_target: str = "raw",
    missing: str = "keep",
    cpg_across_windows: bool = True,
) -> dict[str, float]:
    """Correlation, AUC, accuracy and means per region; the defaults are the original's.

    Args:
        codes: base codes of each window, (L,) each.
        methylation: beta of each window, (L,) each; -1 is a CpG without coverage.
        prediction: of each window, (L,) each; probabilities (one of the original's evaluators passes logits).
        label_target: `binarised` (1 if beta >= 0.5) or `raw`; the label is this value > 0.5.
        correlation_target: `raw` or `binarised`.
        missing: `keep` -1 as a value and as class 0 (the original), or `drop` it (the published convention).
        cpg_across_windows: see `region_masks`; False is the correction.

    Returns:
        `correlations/<region>`, `aucs_and_accs/{auc,acc}_<region>`, `aucs_and_accs/{methy,pred}_<region>` (means),
        `num_regions`, `total_positions`; NaN where undefined.
    """
    if missing not in ("keep", "drop"):
        raise ValueError(f"missing={missing!r}, expected 'keep' or 'drop'")
    masks = region_masks(codes, cpg_across_windows)
    raw = np.concatenate([*methylation, np.zeros(0)])
    predicted = np.concatenate([*prediction, np.zeros(0)])
    forms = {"raw": raw, "binarised": binarise(raw)}
    values, compared = forms[label_target], forms[correlation_target]
    label, kept = values > 0.5, (raw >= 0) | (missing == "keep")
    report: dict[str, float] = {}
    for region, mask in masks.items():
        at, name = mask & kept, _CLASS_NAME[region]
        report[f"correlations/{region}"] = exact.pearson(predicted[at], compared[at])
        report[f"aucs_and_accs/auc_{name}"] = exact.auc(predicted[at], label[at])
        report[f"aucs_and_accs/acc_{name}"] = _mean((predicted[at] > 0.5) == label[at])
        if region != "All":
            report[f"aucs_and_accs/methy_{name}"] = _mean(values[at])
            report[f"aucs_and_accs/pred_{name}"] = _mean(predicted[at])
    return report | {"num_regions": len(codes), "total_positions": len(raw)}


def check_loss(probability: Sequence[np.ndarray], methylation: Sequence[np.ndarray]) -> float:
    """The original's evaluation "loss": mean over windows of the mean binary cross-entropy with binarised beta."""
    losses = []
    for p, beta in zip(probability, methylation, strict=True):
        label = binarise(beta) > 0.5
        likelihood = np.where(label, p, 1.0 - np.asarray(p, np.float64))
        # -100 as the smallest logarithm, like the original's framework, keeps the loss finite at 0 and 1.
        losses.append(-np.log(np.maximum(likelihood, np.exp(-100.0))).mean())
    return _mean(losses)


def binarise(beta: np.ndarray) -> np.ndarray:
    """1.0 where beta >= 0.5, else 0.0; -1 (no coverage) becomes 0.0."""
    return (np.asarray(beta) >= 0.5).astype(np.float64)


def zone_slice(window: int, zone: int) -> slice:
    """The crop of a cell-specific region of `zone` bp around the middle of a window of `window` bp.

    As the original: [window/2 - zone//2, window/2 + zone//2), so odd zones lose a base; a zone of fewer than two bases
    (or of negative length, from reversed regions) contributes nothing.
    """
    half = zone // 2
    return slice(window // 2 - half, window // 2 + half) if half > 0 else slice(0, 0)


def selection_scores(correlation: Mapping[str, float], auc: Mapping[str, float]) -> dict[str, float]:
    """The original's checkpoint score from the CpG correlation and AUC of each split: half of each, added.

    Returns:
        `corr_<split>` and `auc_<split>` (each halved), `<split>` (their sum) and `valid_&_test` if both are there.
    """
    scores: dict[str, float] = {}
    for split in correlation:
        scores[f"corr_{split}"], scores[f"auc_{split}"] = 0.5 * correlation[split], 0.5 * auc[split]
        scores[split] = scores[f"corr_{split}"] + scores[f"auc_{split}"]
    if {"valid", "test"} <= scores.keys():
        scores["valid_&_test"] = scores["valid"] + scores["test"]
    return scores


def best_step(scores: Mapping[int, float]) -> int:
    """The step with the highest score; of equal ones the earliest, as the original keeps it."""
    return max(sorted(scores), key=scores.__getitem__)


def _mean(values: np.ndarray | list[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
