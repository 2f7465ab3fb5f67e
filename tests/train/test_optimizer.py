import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs.base import get_base
from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.storage.atomic import plain
from jaxepi.train.optimizer import OPTIMIZERS, make_optimizer
from jaxepi.train.schedules import OPTAX_SCHEDULES, make_schedule


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


def test_triangle_goes_up_and_down_and_then_to_its_final_scale():
    fields = {"schedule": "triangle", "warmup_steps": 4, "initial_scale": 0.2, "final_scale": 0.05}
    got = values(100, [0, 1, 4, 6, 7, 8, 50], **fields)
    np.testing.assert_allclose(got, [0.02, 0.04, 0.1, 0.06, 0.04, 0.005, 0.005], rtol=1e-6)


def _moved(params, gradients, **fields):
    """Parameters after an update by each of the gradients."""
    optimizer = make_optimizer(OptimizerConfig(**fields), 10)
    state = optimizer.init(params)
    for gradient in gradients:
        update, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, update)
    return params


def test_momentum_may_gather_gradients_times_their_learning_rate_as_keras_does():
    fields = {"name": "sgd", "b1": 0.9, "learning_rate": 0.1}
    warm = {"schedule": "linear_schedule", "schedule_arguments": {"init_value": 0.0, "end_value": 0.1}}
    params, gradients = jnp.array([1.0, -2.0]), [jnp.array([0.5, 1.0]), jnp.array([-1.0, 2.0]), jnp.array([0.3, 0.1])]
    for more, rates in (({}, [0.1] * 3), (warm | {"decay_steps": 2}, [0.0, 0.05, 0.1])):
        w, v = np.asarray(params, np.float64), 0.0
        for rate, gradient in zip(rates, gradients, strict=True):
            v = 0.9 * v - rate * np.asarray(gradient)
            w = w + v
        np.testing.assert_allclose(_moved(params, gradients, **fields, **more, rate_in_momentum=True), w, rtol=1e-6)
        assert np.allclose(_moved(params, gradients, **fields, **more), w, rtol=1e-6) == (not more)


def test_weights_may_decay_without_the_learning_rate():
    fields = {"name": "adamw", "learning_rate": 0.01, "epsilon": 1e-7, "epsilon_uncorrected": True}
    params, gradients = jnp.array([1.0, -2.0]), [jnp.array([0.5, 1.0]), jnp.array([-1.0, 2.0])]
    w, m, v = np.asarray(params, np.float64), 0.0, 0.0
    for t, gradient in enumerate(np.asarray(gradients, np.float64), 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        step = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        w = w - 0.004 * w - step
    got = _moved(params, gradients, **fields, weight_decay=0.004, weight_decay_without_rate=True)
    np.testing.assert_allclose(got, w, rtol=1e-6)
    np.testing.assert_allclose(_moved(params, gradients, **fields, weight_decay=0.4), w, rtol=1e-6)


def test_adaptive_clipping_takes_its_norms_as_basenji_does():
    """Over axis 0 of kernels of rank 2 and 3, axes 0 to 2 of rank 4, the whole of vectors."""
    random, clip = np.random.default_rng(0), 0.05
    for shape, axes in (((5,), (0,)), ((4, 3), (0,)), ((3, 4, 2), (0,)), ((3, 3, 2, 4), (0, 1, 2))):
        weight, gradient = random.normal(size=shape), random.normal(size=shape)
        of = [np.sqrt((array**2).sum(axis=axes, keepdims=True)) for array in (weight, gradient)]
        limit = np.maximum(of[0], 1e-3) * clip
        wanted = np.where(of[1] >= limit, gradient * limit / np.maximum(of[1], 1e-6), gradient)
        optimizer = make_optimizer(OptimizerConfig(name="sgd", b1=0.0, learning_rate=1.0, clip_adaptive=clip), 1)
        weight, gradient = jnp.asarray(weight, jnp.float32), jnp.asarray(gradient, jnp.float32)
        update, _ = optimizer.update(gradient, optimizer.init(weight), weight)
        np.testing.assert_allclose(update, -wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"name": "adamx"}, "did you mean 'adam"),
        ({"schedule": "warmup_cosine_decay_schedul"}, "did you mean 'warmup_cosine_decay_schedule'"),
        ({"schedule_arguments": {"alpha": 0.1}}, "those of a schedule of optax, but .*schedule is 'constant'"),
        (
            {"schedule": "cosine_decay_schedule", "schedule_arguments": {"alhpa": 0.1}},
            "schedule_arguments has 'alhpa' \\(did you mean 'alpha'.*takes init_value, decay_steps, alpha, exponent",
        ),
        ({"schedule": "polynomial_schedule"}, r"optax.polynomial_schedule needs end_value: give it as --config.*end_v"),
        (
            {"schedule": "polynomial_schedule", "schedule_arguments": {"end_value": 0.0, "power": "x"}},
            r"polynomial_schedule does not take config.optimizer.schedule_arguments = .*'power': 'x'",
        ),
        ({"name": "lion", "b2": 0.9}, "b2 is 0.9, which lion does not read"),
        ({"name": "lion", "arguments": {"b3": 0.9}}, "arguments has 'b3' .did you mean 'b"),
        ({"name": "sgd", "arguments": {"momentum": 0.9}}, "'momentum', which for sgd is config.optimizer.b1; set it"),
        ({"epsilon_uncorrected": True, "nesterov": True}, "Keras's plain adam, which has neither nesterov"),
        ({"name": "sgd", "rate_in_momentum": True, "nesterov": True}, "Keras's plain sgd, which has neither nesterov"),
        ({"schedule": "triangle"}, "warmup_steps must be set for the triangle schedule"),
        ({"schedule": "cosine", "warmup_steps": 100}, "warmup_steps is 100"),
        ({"schedule": "exponential"}, "decay_steps must be set"),
        ({"schedule": "step"}, "decay_steps must be set for the step schedule"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(JaxepiError, match=message):
        make_optimizer(OptimizerConfig(**fields), 100)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_moves_against_the_gradient(name):
    fields = {"weight_decay": 0.01} if name in ("adam", "adamw", "sgd") else {}
    optimizer = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, **fields), 10)
    params = {"w": jnp.ones(3)}
    update, _ = optimizer.update({"w": jnp.array([1.0, -1.0, 2.0])}, optimizer.init(params), params)
    assert (np.sign(update["w"]) == [-1, 1, -1]).all()


def test_clipping_bounds_the_update():
    optimizer = make_optimizer(OptimizerConfig(name="sgd", b1=0.0, learning_rate=1.0, clip_norm=0.5), 10)
    params = {"w": jnp.zeros(4)}
    update, _ = optimizer.update({"w": jnp.full(4, 10.0)}, optimizer.init(params), params)
    np.testing.assert_allclose(jnp.linalg.norm(update["w"]), 0.5, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_takes_the_parameters_of_a_model(name):
    model = nnx.Conv(4, 4, (3,), rngs=nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    optimizer = make_optimizer(OptimizerConfig(name=name, clip_adaptive=0.1), 10)
    update, _ = jax.jit(optimizer.update)(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(optax.apply_updates(params, update)))


def one_update(gradient, params=None, **fields):
    """The update of sgd with rate 1 and no momentum: minus the clipped gradient."""
    optimizer = make_optimizer(OptimizerConfig(name="sgd", b1=0.0, learning_rate=1.0, **fields), 10)
    params = params or jax.tree.map(jnp.zeros_like, gradient)
    return optimizer.update(gradient, optimizer.init(params), params)[0]


def test_each_variable_is_clipped_by_itself_as_in_keras():
    gradient = {"a": jnp.array([[3.0, 4.0]]), "b": jnp.array([0.3, 0.4]), "c": jnp.zeros(2)}
    update = one_update(gradient, clip_variable_norm=2.0)
    np.testing.assert_allclose(update["a"], [[-1.2, -1.6]], rtol=1e-6)
    np.testing.assert_array_equal(update["b"], -gradient["b"])
    np.testing.assert_array_equal(update["c"], 0.0)


def test_elements_are_clipped_before_norms():
    update = one_update({"a": jnp.array([30.0, 0.4])}, clip_value=0.3, clip_norm=0.5)
    np.testing.assert_allclose(update["a"], [-0.3, -0.3], rtol=1e-6)


def test_adaptive_clipping_is_relative_to_the_weights():
    params = {"a": jnp.array([[3.0, 1.0], [4.0, 0.0]])}  # units are columns: norms 5 and 1
    update = one_update({"a": jnp.array([[6.0, 0.01], [8.0, 0.0]])}, params, clip_adaptive=0.1)
    np.testing.assert_allclose(update["a"], [[-0.3, -0.01], [-0.4, 0.0]], rtol=1e-6)


def test_nesterov_looks_ahead_along_the_momentum():
    """v = m v - r g; w = w + m v - r g."""
    optimizer = make_optimizer(OptimizerConfig(name="sgd", learning_rate=0.1, b1=0.9, nesterov=True), 10)
    params, v = {"w": jnp.zeros(1)}, 0.0
    state = optimizer.init(params)
    for gradient in (1.0, -2.0, 0.5):
        update, state = optimizer.update({"w": jnp.array([gradient])}, state, params)
        v = 0.9 * v - 0.1 * gradient
        np.testing.assert_allclose(update["w"], [0.9 * v - 0.1 * gradient], rtol=1e-6)


def updates(config, steps=4):
    optimizer = make_optimizer(config, 10)
    params = {"w": jnp.ones(3)}
    state, found = optimizer.init(params), []
    for gradient in np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32):
        update, state = optimizer.update({"w": jnp.asarray(gradient)}, state, params)
        found.append(update["w"])
    return np.asarray(found)


def test_nadam_is_adam_with_nesterov_and_arguments_go_through():
    ours = updates(OptimizerConfig(nesterov=True))
    np.testing.assert_array_equal(updates(OptimizerConfig(name="nadam")), ours)
    half = updates(OptimizerConfig(name="nadam", arguments={"b1": 0.5}))
    np.testing.assert_array_equal(half, updates(OptimizerConfig(nesterov=True, b1=0.5)))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_config_of_earlier_versions_keeps_the_shape_of_its_optimizer_state(clip):
    """Their checkpoints hold it so."""
    params, plain = {"w": jnp.ones(3)}, optax.adam(optax.constant_schedule(1e-3))
    before = plain if clip is None else optax.chain(optax.clip_by_global_norm(clip), plain)
    now = make_optimizer(OptimizerConfig(clip_norm=clip), 10)
    assert jax.tree.structure(now.init(params)) == jax.tree.structure(before.init(params))


def test_schedules_of_optax_take_their_arguments_and_the_fields_of_the_same_name():
    assert {"cosine_onecycle_schedule", "exponential_decay", "sgdr_schedule"} < set(OPTAX_SCHEDULES)
    at = [0, 5, 10, 60, 110]
    ours = values(110, at, schedule="cosine", warmup_steps=10)
    arguments = {"init_value": 0.0}
    same = values(110, at, schedule="warmup_cosine_decay_schedule", warmup_steps=10, schedule_arguments=arguments)
    np.testing.assert_allclose(same, ours, rtol=1e-5, atol=1e-9)
    given = values(
        7, at, schedule="warmup_cosine_decay_schedule",
        schedule_arguments={"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 10, "decay_steps": 110},
    )  # fmt: skip
    np.testing.assert_array_equal(given, same)
    linear = values(
        100, [0, 10, 60, 110], schedule="linear_schedule", warmup_steps=10, schedule_arguments={"end_value": 0}
    )
    np.testing.assert_allclose(linear, [0, 0.1, 0.05, 0], atol=1e-7)


@pytest.mark.parametrize("arguments", [{"boundaries_and_scales": {10: 0.5, 20: 0.1}}])
def test_arguments_survive_configs_and_json(arguments):
    config = get_base()
    config.optimizer.schedule = "piecewise_constant_schedule"
    config.optimizer.schedule_arguments = arguments
    for section in (config.optimizer, ConfigDict(plain(config.optimizer))):
        schedule = make_schedule(from_section(OptimizerConfig, section, "config.optimizer"), 100)
        np.testing.assert_allclose([float(schedule(step)) for step in (5, 15, 25)], [1e-3, 5e-4, 5e-5], rtol=1e-6)


def test_every_field_has_its_comment_where_it_is_described():
    lines = inspect.getsource(OptimizerConfig).splitlines()
    for field in dataclasses.fields(OptimizerConfig):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{field.name}: "))
        assert "#" in lines[at] or lines[at - 1].strip().startswith("#"), field.name
