"""The learning rates of the original's schedules, which change once an epoch, and the form without a lost epoch."""

import jax
import numpy as np
import pytest

from jaxepi.config import in_steps
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.train.schedules import make_schedule

BATCHES = 7  # of an epoch
SCHEDULES = {
    "cosine_warmup": {"schedule": "warmed_cosine", "warmup_steps": 10},
    "cosine_warmup_20_50": {"schedule": "warmed_cosine", "warmup_steps": 20},
    "cosine_restarts3": {"schedule": "cosine_restarts", "warmup_steps": 10, "cycles": 3},
    "linear_warmup": {"schedule": "warmed_linear", "warmup_steps": 10},
    "constant_warmup": {"schedule": "constant", "warmup_steps": 10},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_the_original_s_epoch_by_epoch(golden, name):
    wanted = golden("epiformer", "losses_metrics.npz")[f"out:lr_{name}"]
    fields = {key: BATCHES * value if key.endswith("_steps") else value for key, value in SCHEDULES[name].items()}
    config = OptimizerConfig(learning_rate=1e-4, hold_steps=BATCHES, **fields)
    rates = jax.vmap(make_schedule(config, BATCHES * len(wanted)))(np.arange(BATCHES * len(wanted)))
    assert rates.dtype == np.float32
    np.testing.assert_allclose(
        rates.reshape(-1, BATCHES), np.repeat(wanted[:, None], BATCHES, 1), rtol=2e-5, atol=1e-11
    )


def test_without_hold_the_warm_up_rises_within_the_first_epoch():
    schedule = make_schedule(OptimizerConfig(learning_rate=1.0, schedule="warmed_cosine", warmup_steps=70), 700)
    rates = [float(schedule(step)) for step in (0, 1, 6, 70, 350, 700, 900)]
    np.testing.assert_allclose(rates[:2], [0, 1 / 70], rtol=1e-4)
    np.testing.assert_allclose(rates[3:], [0.5 * (1 + np.cos(0.1 * np.pi)), 0.5, 0, 0], rtol=1e-5, atol=1e-7)


def test_hold_counts_epochs_where_the_unit_says_so_and_holds_any_schedule():
    from configs.base import get_base

    config = get_base()
    config.unit, config.optimizer.hold_steps, config.optimizer.warmup_steps = "epoch", 1, 2
    resolved = in_steps(config, BATCHES).optimizer
    assert (resolved.hold_steps, resolved.warmup_steps) == (BATCHES, 2 * BATCHES)
    held = make_schedule(OptimizerConfig(learning_rate=1.0, warmup_steps=4, hold_steps=2), 10)
    assert [float(held(step)) for step in range(6)] == [0, 0, 0.5, 0.5, 1, 1]
