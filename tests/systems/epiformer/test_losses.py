"""Losses, penalties and metrics of the golden file, masks, and what is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.metrics.standard import PearsonSums, summarize
from jaxepi.systems.epiformer.losses import LossRules, label_loss, mean_over, penalty_weights, signal_loss
from jaxepi.systems.epiformer.original_metrics import (
    areas,
    flattened,
    pearson_of_batches,
    pearson_of_epoch,
    pearson_rows,
)

AS_FLOAT32 = {"rtol": 1e-5}


@pytest.fixture(scope="module")
def file(golden):
    return golden("epiformer", "losses_metrics.npz")


def pair(file, kind=""):
    """Prediction and target (B, T, K) and a mask of ones; the original has tracks before bins."""
    p, t = (jnp.asarray(file[f"in:{kind}{name}"].transpose(0, 2, 1), jnp.float32) for name in ("pred", "target"))
    return p, t, jnp.ones(p.shape, bool)


def reduced(loss, values, rules):
    return mean_over(loss(*values, rules), values[2])


def test_the_poisson_loss_with_either_epsilon(file):
    values = pair(file)
    each = signal_loss(*values, LossRules())
    np.testing.assert_allclose(each, file["loss:poisson_none"].transpose(0, 2, 1), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(reduced(signal_loss, values, LossRules()), file["loss:poisson_mean"], **AS_FLOAT32)
    older = reduced(signal_loss, values, LossRules(epsilon=1e-6))
    np.testing.assert_allclose(older, file["loss:poisson_mean_eps1e-6"], **AS_FLOAT32)


@pytest.mark.parametrize("penalty", [2, 5])
@pytest.mark.parametrize(
    ("form", "where", "name"),
    [
        ("mean", "below_q99", "as_coded"),
        ("elementwise", "below_q99", "elementwise"),
        ("elementwise", "above_q90", "q90above_elementwise"),
    ],
)
def test_the_penalty_as_it_is_coded_and_as_it_was_meant(file, penalty, form, where, name):
    rules = LossRules(penalty=penalty, penalty_form=form, penalty_where=where)
    found = reduced(signal_loss, pair(file), rules)
    np.testing.assert_allclose(found, file[f"loss:penalty{penalty}_{name}"], **AS_FLOAT32)


def test_the_quantile_is_of_the_targets_that_count(file):
    p, t, keep = pair(file)
    most = float(jnp.sort(t[t < file["out:q99"]])[-1])
    marked = penalty_weights(t, keep, LossRules(penalty=3)) == 3
    assert marked.sum() == (t < file["out:q99"]).sum() and float(t[marked].max()) == most
    huge = jnp.concatenate([t, jnp.full_like(t, 1e6)])
    half = jnp.concatenate([keep, ~keep])
    np.testing.assert_array_equal(penalty_weights(huge, half, LossRules(penalty=3))[: len(t)] == 3, marked)


def test_the_cross_entropy_of_labels_weighs_its_classes(file):
    weights = tuple(float(weight) for weight in file["in:bce_weights"])
    found = reduced(label_loss, pair(file, "bce_"), LossRules(class_weights=weights))
    np.testing.assert_allclose(found, file["loss:bce_class_weighted"], **AS_FLOAT32)
    assert abs(found - reduced(label_loss, pair(file, "bce_"), LossRules())) > 0.1


@pytest.mark.parametrize(("loss", "kind"), [(signal_loss, ""), (label_loss, "bce_")])
@pytest.mark.parametrize("rules", [LossRules(), LossRules(penalty=2), LossRules(penalty=2, penalty_form="mean")])
def test_values_that_do_not_count_move_nothing(file, loss, kind, rules):
    p, t, keep = pair(file, kind)
    alone = reduced(loss, (p[:2], t[:2], keep[:2]), rules)
    spoiled, keep = t.at[2].set(jnp.nan), keep.at[2].set(False)
    value, gradient = jax.value_and_grad(lambda p: mean_over(loss(p, spoiled, keep, rules), keep))(p)
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    assert np.isfinite(gradient).all() and not np.any(gradient[2]) and np.any(gradient[0])
    assert mean_over(loss(p, spoiled, jnp.zeros_like(keep), rules), jnp.zeros_like(keep)) == 0


def test_correlations_of_log2_are_the_original_s_and_those_of_the_sums(file):
    p, t = (file[f"in:{name}"].transpose(0, 2, 1) for name in ("pred", "target"))
    np.testing.assert_allclose(flattened(p), file["out:flat_pred"], rtol=1e-12)
    rows = pearson_rows(flattened(t), flattened(p))
    np.testing.assert_allclose(rows, file["loss:pearson_rows"][:, 0], rtol=1e-9)
    np.testing.assert_allclose(pearson_of_epoch([p[:2], p[2:]], [t[:2], t[2:]]), file["loss:pearson_mean"], rtol=1e-9)
    sums = PearsonSums.from_values(np.log2(1 + p[:1]), np.log2(1 + t[:1]))
    sums = sums.merge(PearsonSums.from_values(np.log2(1 + p[1:]), np.log2(1 + t[1:])))
    np.testing.assert_allclose(sums.finalize()["pearson"], rows, rtol=1e-9)


def test_a_constant_track_is_told_and_left_out_where_the_original_has_nan(file):
    p, t = (file[f"in:{name}"].transpose(0, 2, 1).copy() for name in ("pred", "target"))
    t[..., 1] = 3.0
    assert np.isnan(pearson_of_epoch([p], [t]))
    found = summarize({"log2_bin/pearson": PearsonSums.from_values(np.log2(1 + p), np.log2(1 + t))})
    assert found["undefined"]["pearson_log2_bin"] == {1: "the target is constant"}
    np.testing.assert_allclose(found["pearson_log2_bin_per_track_mean"], file["loss:pearson_rows"][0], rtol=1e-9)


def test_scripts_of_the_backup_average_correlations_over_batches(file):
    p, t = (file[f"in:{name}"].transpose(0, 2, 1).copy() for name in ("pred", "target"))
    t[0, :, 0] = 1.0
    each = [pearson_rows(flattened(t[n : n + 1]), flattened(p[n : n + 1])) for n in range(3)]
    batches = [p[:1], p[1:2], p[2:]], [t[:1], t[1:2], t[2:]]
    np.testing.assert_allclose(pearson_of_batches(*batches), np.mean([each[1].mean(), each[2].mean()]), rtol=1e-9)
    zeroed = pearson_of_batches([p], [t], of="windows", undefined="zero")
    np.testing.assert_allclose(zeroed, np.mean(np.nan_to_num(each)), rtol=1e-9)
    assert np.isnan(pearson_of_batches([p[:1]], [t[:1]]))


def test_areas_under_curves_are_trapezoids(file):
    found = areas(file["in:bce_pred"], file["in:bce_target"])
    np.testing.assert_allclose(found, [file["loss:roc_auc"], file["loss:prc_auc_trapezoid"]], rtol=1e-9)
