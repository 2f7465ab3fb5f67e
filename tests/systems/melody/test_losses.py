"""Losses against the golden arrays: every configuration, mask, weight, class mapping and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.sequence import NOTHING, is_cpg
from jaxepi.systems.melody import losses as losses
from jaxepi.systems.melody.model import MelodyOutputs
from jaxepi.systems.melody.task import MelodyTask

CASES = {
    "plain_bce": {"focal": "none"},
    "fixed_focal": {"focal": "fixed"},
    "plain_bce_methy2bin": {"focal": "none", "target": "binary"},
    "fixed_focal_methy2bin": {"focal": "fixed", "target": "binary"},
    "fixed_focal_w3_11": {
        "any_cpg_weight": 3.0,
        "low_cpg_weight": 11.0,
        "count_weight": 0.5,
        "average_weight": 0.25,
    },
    "cgcls_n5_bw3": {"focal": "none", "count_bin_width": 3},
    "track1_exceeds_1e7": {"focal": "fixed"},
    "track0_nan": {"focal": "none"},
}


@pytest.fixture(scope="module")
def arrays(golden):
    return golden("melody", "losses.npz")


def make_task(tracks: int, **objective) -> MelodyTask:
    manifest = {"tracks": [f"t{i}" for i in range(tracks)], "window": 2000, "max_sites": 4, "max_cpg_letters": 8}
    return MelodyTask({"width": 8}, {"n_counts_as_cpg": True, **objective}, manifest)


def codes_of(one_hot: np.ndarray) -> np.ndarray:
    """One-hot back to codes: a row of 0.25 is N, a row of zeros is nothing at all."""
    codes = np.where(one_hot.max(-1) == 1, one_hot.argmax(-1), 4)
    return np.where(one_hot.max(-1) == 0, NOTHING, codes).astype(np.uint8)


def inputs(arrays, case: str) -> tuple[MelodyOutputs, dict]:
    logits = arrays["in:pred_BTL"].transpose(0, 2, 1).copy()
    count = arrays["in:pred_cg"].transpose(0, 2, 1)
    if case == "track1_exceeds_1e7":
        logits[..., 1] *= np.float32(1e9)
    elif case == "track0_nan":
        logits[0, 5, 0] = np.nan
    elif case == "cgcls_n5_bw3":
        count = count[..., :5]
    outputs = MelodyOutputs(*map(jnp.asarray, (logits, count, arrays["in:pred_avg"].transpose(0, 2, 1))))
    targets = {
        "codes": jnp.asarray(codes_of(arrays["in:seq_onehot_BL4"])),
        "beta": jnp.asarray(arrays["in:methy_BTL"].transpose(0, 2, 1)),
        "row_mask": jnp.ones(3),
    }
    return outputs, targets


@pytest.mark.parametrize("case", CASES)
def test_terms_and_total(arrays, case):
    outputs, targets = inputs(arrays, case)
    task = make_task(4, **CASES[case])
    total, terms = task.loss(outputs, targets)
    for ours, name in (("tracks", "tracks"), ("cpg_count", "cg_weighted"), ("regional_mean", "avg_weighted")):
        np.testing.assert_allclose(terms[ours], arrays[f"loss:{case}/{name}"], rtol=1e-6)
    np.testing.assert_allclose(total, arrays[f"loss:{case}/total"], rtol=1e-6)
    per_track = task.track_losses(outputs.logits, targets)
    used = [i for i in range(4) if f"loss:{case}/per_track/t{i}" in arrays]
    np.testing.assert_allclose(
        per_track[np.array(used)], [arrays[f"loss:{case}/per_track/t{i}"] for i in used], rtol=1e-6
    )
    assert terms["tracks_used"] == len(used)


@pytest.mark.parametrize("case", ["plain_bce", "fixed_focal"])
def test_gradients_of_the_three_heads(arrays, case):
    outputs, targets = inputs(arrays, case)
    task = make_task(4, **CASES[case])
    gradient = jax.grad(lambda o: task.loss(o, targets)[0])(outputs)
    for ours, name in ((gradient.logits, "pred"), (gradient.cg_count, "pred_cg"), (gradient.methy_avg, "pred_avg")):
        expected = arrays[f"out:{case}/grad_{name}"].transpose(0, 2, 1)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_no_gradient_flows_from_a_dropped_track(arrays):
    outputs, targets = inputs(arrays, "track0_nan")
    gradient = jax.grad(lambda o: make_task(4, focal="none").loss(o, targets)[0])(outputs)
    assert np.isfinite(gradient.logits).all()
    assert not gradient.logits[..., 0].any() and gradient.logits[..., 1].any()


def test_masks_and_weights(arrays):
    _, targets = inputs(arrays, "fixed_focal")
    codes, beta = targets["codes"], targets["beta"]
    parity = losses.cpg_or_n(codes)
    expected = arrays["out:cpg_mask_BTL"].transpose(0, 2, 1)
    np.testing.assert_array_equal(np.broadcast_to(parity[..., None], expected.shape), expected)
    np.testing.assert_array_equal(beta >= 0, arrays["out:valid_mask"].transpose(0, 2, 1))
    np.testing.assert_array_equal(
        parity[..., None] & (beta >= 0) & (beta < 0.5), arrays["out:combined_mask"].transpose(0, 2, 1)
    )
    np.testing.assert_array_equal(
        losses.fixed_weights(parity, beta, 8.0, 32.0), arrays["out:fixed_focal/alpha"].transpose(0, 2, 1)
    )
    np.testing.assert_array_equal(
        losses.fixed_weights(parity, beta, 3.0, 11.0), arrays["out:fixed_focal_w3_11/alpha"].transpose(0, 2, 1)
    )
    # the golden file lists the advanced weights at valid positions in (B, K, L) order
    advanced = np.asarray(losses.distance_weights(parity, beta)).transpose(0, 2, 1)
    np.testing.assert_allclose(
        advanced[arrays["out:valid_mask"]], arrays["out:advanced_alpha_per_valid_position"], rtol=1e-6
    )


def test_n_counts_as_cpg_only_for_parity(arrays):
    _, targets = inputs(arrays, "fixed_focal")
    exact, parity = is_cpg(targets["codes"]), losses.cpg_or_n(targets["codes"])
    assert (exact <= parity).all() and (exact != parity).any()


@pytest.mark.parametrize(("classes", "width"), [(7, 5), (5, 3), (2, 1)])
def test_count_classes(arrays, classes, width):
    ours = losses.count_classes(jnp.asarray(arrays["in:cg_counts"]), classes, width)
    np.testing.assert_array_equal(ours, arrays[f"out:cg_class_n{classes}_bw{width}"])


def test_advanced_focal_runs_and_differs(arrays):
    outputs, targets = inputs(arrays, "fixed_focal")
    advanced, _ = make_task(4, focal="advanced").loss(outputs, targets)
    fixed, _ = make_task(4, focal="fixed").loss(outputs, targets)
    assert np.isfinite(advanced) and abs(float(advanced) - float(fixed)) > 1e-3


@pytest.mark.parametrize("gamma", ["0", "0.5", "2"])
@pytest.mark.parametrize("weighted", ["", "_alpha"])
def test_focal_gamma(arrays, gamma, weighted):
    """The golden values take track 0, every position valid, and weights that rise from 0.5 to 3 over the batch."""
    outputs, targets = inputs(arrays, "fixed_focal")
    target = jnp.clip(targets["beta"][..., :1], 0, 1)
    weights = jnp.linspace(0.5, 3, target.size).reshape(target.shape) if weighted else 1.0
    ours = losses.track_losses(outputs.logits[..., :1], target, target >= 0, weights, float(gamma))
    np.testing.assert_allclose(ours[0], arrays[f"loss:focal_gamma{gamma}{weighted}"], rtol=1e-6)


def test_padding_rows_count_nowhere(arrays):
    outputs, targets = inputs(arrays, "fixed_focal")
    task = make_task(4)
    whole, _ = task.loss(MelodyOutputs(*(o[:2] for o in outputs[:3])), {k: v[:2] for k, v in targets.items()})
    masked = {**targets, "row_mask": jnp.array([1.0, 1.0, 0.0]), "beta": targets["beta"].at[2].set(-1.0)}
    np.testing.assert_allclose(task.loss(outputs, masked)[0], whole, rtol=1e-6)


def test_no_usable_track_gives_zero_and_no_gradient():
    value, used = losses.mean_of_usable(jnp.array([jnp.nan, jnp.inf, 2e7]))
    assert value == 0 and used == 0
    gradient = jax.grad(lambda x: losses.mean_of_usable(x)[0])(jnp.array([jnp.nan, jnp.inf, 2e7]))
    np.testing.assert_array_equal(gradient, 0)


def test_the_gradient_at_a_logit_of_zero_is_that_of_the_sigmoid():
    target = jnp.array([0.0, 0.3, 1.0])[None, :, None]
    gradient = jax.grad(lambda logits: losses.track_losses(logits, target, target >= 0).sum())(jnp.zeros((1, 3, 1)))
    np.testing.assert_allclose(gradient[0, :, 0], (0.5 - target[0, :, 0]) / 3, rtol=1e-6)
