"""Every loss of the golden file, masks, and what is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.systems.basenji.losses import LOSSES, LossRules, reduced, unreduced

TOLERANCE = {"rtol": 2e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def file(golden):
    return golden("basenji", "losses_metrics.npz")


def arrays(file, kind):
    truth, prediction = file[f"in:{kind}_true_batch0"], file[f"in:{kind}_pred_batch0"]
    return jnp.asarray(prediction), jnp.asarray(truth), jnp.ones(truth.shape[:2], bool)


def rules_of(label):
    """`poisson_kl_w0.5` to the rules that it stands for."""
    name, _, weight = label.partition("_w")
    weight = float(weight or 1)
    return LossRules(name, **{"total_weight" if name == "poisson_mn" else "spec_weight": weight})


def test_reduced_and_unreduced_losses_are_those_of_the_original(file):
    labels = [name.removeprefix("loss:") for name in file.files if name.startswith("loss:")]
    assert {label.partition("_w")[0] for label in labels if "none" not in label and "replica" not in label} == {*LOSSES}
    for label in labels:
        values = arrays(file, "bin" if label.startswith("bce") else "y")
        if "replica" in label:  # half of a batch of 8
            found = unreduced(*values, LossRules()).mean(axis=-1).sum() / 8
        elif "none" in label:
            found = unreduced(*values, rules_of(label.replace("_none", "")))
        else:
            found = reduced(*values, rules_of(label))
        np.testing.assert_allclose(found, file[f"loss:{label}"], **TOLERANCE, err_msg=label)


@pytest.mark.parametrize("loss", LOSSES)
def test_places_that_do_not_count_move_nothing(file, loss):
    prediction, target, keep = arrays(file, "bin" if loss == "bce" else "y")
    rules = LossRules(loss)
    places = prediction.shape[1]
    alone = reduced(prediction[:3], target[:3], keep[:3], rules)
    keep = keep.at[3].set(False)
    spoiled = target.at[3].set(jnp.nan)
    value, gradient = jax.value_and_grad(reduced)(prediction, spoiled, keep, rules)
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    assert np.isfinite(gradient).all() and not np.any(gradient[3]) and np.any(gradient[0])
    if places > 1:
        half = keep.at[:, places // 2 :].set(False)
        cut = (prediction[:3, : places // 2], target[:3, : places // 2], keep[:3, : places // 2])
        np.testing.assert_allclose(reduced(prediction, spoiled, half, rules), reduced(*cut, rules), rtol=2e-6)
    assert reduced(prediction, target, jnp.zeros_like(keep), rules) == 0


def test_the_epsilons_of_the_successor_are_fields(file):
    values = arrays(file, "y")
    for loss, field in (("poisson_kl", "kl_epsilon"), ("poisson_mn", "mn_epsilon")):
        assert reduced(*values, LossRules(loss)) != reduced(*values, LossRules(loss, **{field: 1e-2}))
