import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from jaxepi.errors import JaxepiError
from jaxepi.parallel.mesh import make_mesh
from jaxepi.pretrained.table import weights_of
from jaxepi.registry import make_task
from jaxepi.released import export
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig
from jaxepi.train.optimizer import OptimizerConfig, make_optimizer, make_schedule
from jaxepi.train.state import make_steps
from jaxepi.train.transfer import check_frozen, start_from, trainable


def model(network="FcAvg", seed=0, **sizes):
    config = DeepCpGConfig(network=network, **{"neighbours": 2, "outputs": ("cpg/a",), **sizes})
    return DeepCpG(config, rngs=nnx.Rngs(seed))


def state_of(module):
    _, params, rest = nnx.split(module, nnx.Param, ...)
    return params, rest


def test_patterns_fit_whole_paths():
    params, _ = state_of(model())
    mask = nnx.to_pure_dict(trainable(params, ("cpg.*", "*.bias")))
    assert mask == {"cpg": {"dense": {"kernel": False, "bias": False}}, "heads": {"kernel": True, "bias": False}}


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (("dna.*",), r"config.frozen has 'dna.\*', which fits no weight of the model; its weights are"),
        (("*",), "leaves nothing to train"),
    ],
)
def test_wrong_patterns_of_frozen_weights(frozen, message):
    with pytest.raises(JaxepiError, match=message):
        check_frozen(state_of(model())[0], frozen, "running")


def test_unknown_statistics_of_frozen_layers():
    with pytest.raises(JaxepiError, match=r"config.frozen_statistics is 'batches' \(did you mean 'batch'\?\)"):
        check_frozen(state_of(model())[0], (), "batches")


def residual_run(frozen, statistics, accumulate=1):
    """A step of a small residual network with other than fresh statistics: (state before, state after, loss, batch)."""
    manifest = {
        "window": 41, "neighbours": 0, "max_distance": 25_000, "cells": ["a"], "binary_cells": [True], "statistics": [],
        "tracks": ["cpg/a"], "class_counts": {},
    }  # fmt: skip
    sizes = {"network": "ResConv01", "l1": 0.0, "l2": 0.0}
    task = make_task(ConfigDict({"system": "deepcpg", "model": sizes, "task": {}}), manifest)
    steps = make_steps(
        task, OptimizerConfig(accumulate=accumulate), 1, 0, make_mesh(), frozen=frozen, frozen_statistics=statistics
    )
    state = steps.initial()
    rest = jax.tree.map(lambda leaf: leaf + 0.5 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state.rest)
    state = dataclasses.replace(state, rest=rest)
    random = np.random.default_rng(0)
    records = [
        {
            "sequence": random.integers(0, 4, 41).astype(np.uint8),
            "cell": np.array([0]),
            "value": np.array([int(i % 3 == 0)]),
        }
        for i in range(8)
    ]
    batch = task.collate(records)
    before = jax.tree.map(np.asarray, state)
    after, scalars = steps.train(state, batch)
    return before, after, float(scalars["loss"]), steps, batch


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_frozen_normalisation(statistics):
    """Neither way changes frozen statistics; `running` trains on what evaluation computes, `batch` does not."""
    before, after, loss, steps, batch = residual_run(("dna.*",), statistics)
    assert same(before.rest, after.rest) and same(before.params.dna, after.params.dna)
    assert not same(before.params.heads, after.params.heads)
    metrics, _ = steps.evaluate(before.params, before.rest, batch)
    evaluated = float(metrics["outputs/loss"].finalize()["loss"][0])
    assert (loss == pytest.approx(evaluated, rel=1e-5)) == (statistics == "running")


def test_normalisation_that_is_not_frozen_learns():
    before, after, *_ = residual_run(("heads.*",), "running", accumulate=2)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), before.rest, after.rest)
    assert all(jax.tree.leaves(moved)) and same(before.params.heads, after.params.heads)


def test_weights_are_taken_from_a_released_file(tmp_path):
    source = model(seed=1)
    export(source, tmp_path / "source.npz")
    params, rest = state_of(model())
    for patterns, taken in (("", ("cpg", "heads")), ("::cpg.*", ("cpg",))):
        fresh, _ = start_from(params, rest, (f"{tmp_path / 'source.npz'}{patterns}",), "deepcpg")
        for part in ("cpg", "heads"):
            path = (part, "dense", "kernel") if part == "cpg" else (part, "kernel")
            place = {**dict(nnx.to_flat_state(fresh))}[path][...]
            origin = weights_of(source if part in taken else model())[".".join(path)][...]
            np.testing.assert_array_equal(place, origin)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{file}::dna.*", r"asks .*source.npz for 'dna.\*'"),
        ("{file}::cpg.*", "has no cpg.dense.bias, which .*source.npz holds; take only what fits"),
        ("{file}::heads.*", r"heads.kernel of .*source.npz has shape \(512, 1\), but this model's has \(16, 1\)"),
        ("nowhere", "config.init_from names nowhere, but there is no run and no file of weights"),
    ],
)
def test_what_cannot_be_taken_is_told(tmp_path, source, message):
    export(model(), tmp_path / "source.npz")
    params, rest = state_of(model("CnnL1h128", hidden=16, window=41))
    with pytest.raises(JaxepiError, match=message):
        start_from(params, rest, (source.format(file=tmp_path / "source.npz"),), "deepcpg")


def test_normalisation_statistics_are_taken_too(tmp_path):
    source = nnx.eval_shape(lambda: model("ResConv01"))
    random = np.random.default_rng(0)
    nnx.update(
        source,
        jax.tree.map(
            lambda leaf: random.random(leaf.shape, np.float32), nnx.state(source, nnx.Any(nnx.Param, nnx.BatchStat))
        ),
    )
    export(source, tmp_path / "source.npz")
    params, rest = jax.tree.map(jnp.zeros_like, state_of(source))
    _, rest = start_from(params, rest, (f"{tmp_path / 'source.npz'}::dna.*",), "deepcpg")
    np.testing.assert_array_equal(rest.dna.norm.mean[...], source.dna.norm.mean[...])


def test_keras_adam_is_its_formula():
    optimizer = make_optimizer(OptimizerConfig(learning_rate=0.1, epsilon=1e-2, epsilon_uncorrected=True), 10)
    value, first, second = jnp.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    state, expected = optimizer.init(value), np.array([1.0, -2.0])
    for t, gradient in enumerate(np.array([[0.3, -0.01], [0.2, 0.5], [-0.1, 0.0]]), 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected - rate * first / (np.sqrt(second) + 1e-2)
        update, state = optimizer.update(jnp.asarray(gradient), state, value)
        value = value + update
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_steps_change_once_a_period():
    config = OptimizerConfig(learning_rate=1.0, schedule="step", decay_steps=3, decay_rate=0.5)
    schedule = make_schedule(config, 10)
    np.testing.assert_allclose([schedule(step) for step in range(7)], [1, 1, 1, 0.5, 0.5, 0.5, 0.25])
