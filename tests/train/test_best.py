"""Keep-best: by one metric or several, each in its own sense; and early stopping by the first."""

import jax.numpy as jnp
import pytest

from jaxepi.config import monitors
from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.train.best import Best

AUC, LOSS = "auc_cpg_per_track_mean", "loss_total"


def state(value: float) -> dict:
    return {"w": jnp.full((3, 4), value)}


def test_the_best_is_kept_and_ties_keep_the_earlier(tmp_path):
    best = Best(tmp_path, [AUC], patience=2)
    assert best.update(1, {AUC: 0.5}) and not best.update(2, {AUC: 0.5}) and not best.update(3, {AUC: float("nan")})
    assert best.out_of_patience(3) and best.step == 1
    assert best.update(4, {AUC: 0.6}) and not best.out_of_patience(4)
    best.save([AUC], 4, state(4.0), {})
    assert best.update(5, {AUC: 0.7})
    best.save([AUC], 5, state(5.0), {})
    best.close()
    assert Checkpoints(tmp_path / "best").steps() == [5]


def test_of_a_loss_the_smallest_is_kept_also_after_a_resume(tmp_path):
    first = Best(tmp_path, [LOSS])
    assert first.update(1, {LOSS: 2.0}) and first.update(2, {LOSS: 1.0})
    first.save([LOSS], 2, state(2.0), {})
    first.close()
    again = Best(tmp_path, [LOSS])
    again.from_json({"metric": LOSS, "value": 2.0, "step": 1, "since": 0})  # as earlier versions wrote it
    assert not again.update(2, {LOSS: 3.0}) and again.update(3, {LOSS: 1.5})
    again.save([LOSS], 3, state(3.0), {})
    again.close()
    assert Checkpoints(tmp_path / "best").steps() == [3]


def test_a_best_ahead_of_the_resumed_step_is_met_again(tmp_path):
    ahead = Best(tmp_path, [AUC])
    ahead.update(9, {AUC: 0.9})
    ahead.save([AUC], 9, state(9.0), {})
    ahead.close()
    resumed = Best(tmp_path, [AUC])
    resumed.from_json({"metric": AUC, "value": None, "step": None, "since": 0})
    assert resumed.update(6, {AUC: 0.6})
    resumed.save([AUC], 6, state(6.0), {})
    resumed.close()
    assert Checkpoints(tmp_path / "best").steps() == [6]


def test_several_metrics_have_a_best_each_and_the_first_decides_when_to_stop(tmp_path):
    best = Best(tmp_path, [AUC, LOSS], patience=1)
    assert best.update(1, {AUC: 0.5, LOSS: 2.0}) == [AUC, LOSS]
    best.save([AUC, LOSS], 1, state(1.0), {})
    assert best.update(2, {AUC: 0.4, LOSS: 1.0}) == [LOSS] and best.out_of_patience(2)
    best.save([LOSS], 2, state(2.0), {})
    best.wait()
    saved = best.to_json()
    best.close()
    assert Checkpoints(tmp_path / "best").steps() == [1] and Checkpoints(tmp_path / f"best_{LOSS}").steps() == [2]
    assert saved["metric"] == AUC and saved["step"] == 1 and saved["others"] == {LOSS: {"value": 1.0, "step": 2}}
    resumed = Best(tmp_path, [AUC, LOSS], patience=1)
    resumed.from_json(saved)
    assert resumed.out_of_patience(2) and resumed.update(3, {AUC: 0.45, LOSS: 0.5}) == [LOSS]
    resumed.close()


def test_patience_may_wait_for_all_metrics_and_for_a_step(tmp_path):
    best = Best(tmp_path, [AUC, LOSS], patience=2, watch="any", start=6)
    best.update(1, {AUC: 0.5, LOSS: 2.0})
    best.update(2, {AUC: 0.4, LOSS: 1.0})
    for step in (3, 4, 5):
        best.update(step, {AUC: 0.4, LOSS: 1.0})
        assert best.to_json()["since"] == step - 2 and not best.out_of_patience(step)
    assert best.out_of_patience(6)
    assert best.update(6, {AUC: 0.4, LOSS: 0.5}) == [LOSS] and not best.out_of_patience(6)
    best.close()


def test_an_unknown_metric_is_told_before_any_folder_is_made(tmp_path):
    with pytest.raises(JaxepiError, match=r"config\.monitor is 'aux_cpg_flat' \(did you mean 'auc'"):
        Best(tmp_path, [AUC, "aux_cpg_flat"])
    assert not list(tmp_path.iterdir())


def test_what_the_config_names():
    assert monitors(None, AUC) == (AUC,) and monitors("", AUC) == (AUC,) and monitors((), AUC) == (AUC,)
    assert monitors(LOSS, AUC) == (LOSS,)
    assert monitors(f"{LOSS}, {AUC}", AUC) == monitors([LOSS, AUC, LOSS], "x") == (LOSS, AUC)
