import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.train.optimizer import OptimizerConfig, make_optimizer, make_schedule


def values(steps, at, **fields):
    schedule = make_schedule(OptimizerConfig(learning_rate=0.1, **fields), steps)
    return [float(schedule(step)) for step in at]


def test_constant_with_warm_up():
    np.testing.assert_allclose(values(100, [0, 5, 10, 99], warmup_steps=10), [0, 0.05, 0.1, 0.1], rtol=1e-6)


def test_cosine_ends_at_its_final_scale():
    got = values(110, [0, 10, 60, 110], schedule="cosine", warmup_steps=10, final_scale=0.1)
    np.testing.assert_allclose(got, [0, 0.1, 0.055, 0.01], rtol=1e-6)


def test_exponential_has_a_floor():
    fields = {"schedule": "exponential", "decay_steps": 10, "decay_rate": 0.5, "final_scale": 0.2}
    np.testing.assert_allclose(values(100, [0, 10, 20, 90], **fields), [0.1, 0.05, 0.025, 0.02], rtol=1e-6)


def test_step_applies_its_factor_at_once():
    fields = {"schedule": "step", "decay_steps": 10, "decay_rate": 0.5}
    np.testing.assert_allclose(values(100, [0, 9, 10, 19, 20], **fields), [0.1, 0.1, 0.05, 0.05, 0.025], rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"name": "adamx"}, "did you mean 'adam"),
        ({"schedule": "cosine", "warmup_steps": 100}, "warmup_steps is 100"),
        ({"schedule": "exponential"}, "decay_steps must be set"),
        ({"schedule": "step"}, "decay_steps must be set for the step schedule"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(JaxepiError, match=message):
        make_optimizer(OptimizerConfig(**fields), 100)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_each_optimizer_moves_against_the_gradient(name):
    optimizer = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.01), 10)
    params = {"w": jnp.ones(3)}
    update, _ = optimizer.update({"w": jnp.array([1.0, -1.0, 2.0])}, optimizer.init(params), params)
    assert (np.sign(update["w"]) == [-1, 1, -1]).all()


def test_clipping_bounds_the_update():
    optimizer = make_optimizer(OptimizerConfig(name="sgd", b1=0.0, learning_rate=1.0, clip_norm=0.5), 10)
    params = {"w": jnp.zeros(4)}
    update, _ = optimizer.update({"w": jnp.full(4, 10.0)}, optimizer.init(params), params)
    np.testing.assert_allclose(jnp.linalg.norm(update["w"]), 0.5, rtol=1e-5)
