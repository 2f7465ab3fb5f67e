"""Losses, gradients and training steps against the original's, whole: records to updated weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.metrics.exact import pearson, spearman
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.pretrained.table import load_into, to_original, weights_of
from jaxepi.systems.cs282a import SYSTEM, losses
from jaxepi.systems.cs282a.original_metrics import running_pearson
from jaxepi.systems.cs282a.task import Cs282aTask
from jaxepi.train.state import make_steps

NAMES = {"linear": "probe", "conv": "conv_perceptron", "maxpool": "maxpool_perceptron", "transformer": "transformer"}
SGD = OptimizerConfig(name="sgd", learning_rate=5e-6, b1=0.8)
OPTIMIZERS = {
    "linear": OptimizerConfig(name="sgd", learning_rate=0.15, b1=0.99),
    "conv": SGD,
    "maxpool": SGD,
    "transformer": OptimizerConfig(name="adam", learning_rate=1e-3),
}


@pytest.fixture(scope="module")
def small(golden):
    file = golden("cs282a", "heads_small.npz")
    return {name: file[name] for name in file.files}


def case(small, head, labels="", **objective):
    """The task of a reduced head with the original's settings, its records and its weights under their names."""
    level = "bin" if head == "linear" else "window"
    manifest = {
        "kind": "embeddings", "tracks": [f"t{k}" for k in range(18)], "bins": 32, "bin_width": 128, "crop": 0,
        "channels": 24, "embedding_dtype": "float32", "resolution": level,
    }  # fmt: skip
    sizes = {"head": head, "hidden": 10, "heads": 6, "attention_axis": "batch", "dropout": 0.0}
    parity = {"truncate_labels": head == "linear", "nan_labels": "mask" if head == "linear" else "nan_to_num_grads"}
    task = Cs282aTask(sizes, {**parity, **objective}, manifest)
    target = small["in:labels_128bp" if head == "linear" else f"in:labels_single{labels}"]
    records = [
        {"key": str(i), "chrom": "chr1", "start": 0, "embedding": x.astype(np.float32), "target": t.astype(np.float32)}
        for i, (x, t) in enumerate(zip(small["in:embeddings"], target, strict=True))
    ]
    start = f"param:{NAMES[head]}/"
    return task, records, {n.removeprefix(start): a for n, a in small.items() if n.startswith(start)}


def loss_and_gradient(task, records, weights):
    """Loss of a batch and its mended gradient under the original's names."""
    table = SYSTEM.weights.table(task.model_config)
    model = task.build_model(nnx.Rngs(0))
    load_into(model, weights, table)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    batch = task.collate(records)

    @jax.jit
    def of(params):
        inputs, targets = task.prepare(batch, jax.random.key(0), True)
        return task.loss(task.apply(nnx.merge(graph, params, rest), inputs), targets)[0]

    loss, gradient = jax.value_and_grad(of)(params)
    return float(loss), to_original(nnx.merge(graph, task.mend_gradient(gradient), rest), table)


@pytest.mark.parametrize("head", NAMES)
def test_first_loss_and_gradients(small, head):
    loss, gradient = loss_and_gradient(*case(small, head))
    name = "poisson_truncated_labels" if head == "linear" else "mse"
    np.testing.assert_allclose(loss, small[f"loss:{NAMES[head]}_{name}"], rtol=1e-6)
    for tensor, found in gradient.items():
        np.testing.assert_allclose(found, small[f"grad:{NAMES[head]}/{tensor}"], rtol=2e-5, atol=2e-5, err_msg=tensor)


def test_labels_as_they_are(small):
    loss, _ = loss_and_gradient(*case(small, "linear", truncate_labels=False))
    np.testing.assert_allclose(loss, small["loss:probe_poisson_float_labels"], rtol=1e-6)


@pytest.mark.parametrize("head", ["conv", "maxpool"])
def test_gradients_of_a_batch_with_nan_labels(small, head):
    assert np.isnan(small[f"loss:{NAMES[head]}_mse_nan_labels"])
    loss, gradient = loss_and_gradient(*case(small, head, "_nan"))
    assert np.isfinite(loss)  # a run does not stop
    for tensor, found in gradient.items():
        expected = small[f"gradnan:{NAMES[head]}/{tensor}"]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5, err_msg=tensor)
    assert not gradient["layers.conv1x1.weight"].any() and not gradient["layers.fc1.bias"][[15, 17]].any()
    # without a label that is no number, both ways are the same
    plain = loss_and_gradient(*case(small, head, nan_labels="mask"))[1]
    for tensor, found in loss_and_gradient(*case(small, head))[1].items():
        np.testing.assert_allclose(found, plain[tensor], rtol=1e-6, err_msg=tensor)


def test_masked_nan_labels_leave_the_others_to_learn(small):
    loss, gradient = loss_and_gradient(*case(small, "maxpool", "_nan", nan_labels="mask"))
    prediction, target = small["out:maxpool_perceptron"], small["in:labels_single_nan"][:, 0]
    np.testing.assert_allclose(loss, np.nanmean((prediction - target) ** 2), rtol=1e-6)
    assert gradient["layers.conv1x1.weight"].any() and gradient["layers.fc1.bias"][15] != 0


def trained(task, records, weights, optimizer, count):
    """Weights under the original's names after some updates, and the losses before each."""
    mesh = make_mesh(devices=jax.devices()[:1])
    steps = make_steps(task, optimizer, count, 0, mesh)
    state, model, table = steps.initial(), task.build_model(nnx.Rngs(0)), SYSTEM.weights.table(task.model_config)
    load_into(model, weights, table)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
    state, found = dataclasses.replace(state, params=placed), []
    for _ in range(count):
        state, scalars = steps.train(state, jax.device_put(task.collate(records), batch_sharding(mesh)))
        found.append(float(scalars["loss"]))
    return to_original(nnx.merge(graph, state.params, rest), table), found


@pytest.mark.parametrize("head", NAMES)
def test_three_updates(small, head):
    arrays, found = trained(*case(small, head), OPTIMIZERS[head], 3)
    np.testing.assert_allclose(found, small[f"loss:{NAMES[head]}_steps"], rtol=1e-5)
    for tensor, array in arrays.items():
        expected = small[f"after3:{NAMES[head]}/{tensor}"]
        if (
            tensor == "attention.in_proj_bias"
        ):  # what is added to every key changes no softmax: its gradient is rounding
            array, expected = (np.delete(values, slice(24, 48)) for values in (array, expected))
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5, err_msg=tensor)


def test_an_update_with_nan_labels(small):
    """The training step uses the mended gradient."""
    task, records, weights = case(small, "maxpool", "_nan")
    arrays, found = trained(task, records, weights, OptimizerConfig(name="sgd", learning_rate=0.1, b1=0.0), 1)
    assert np.isfinite(found).all()
    for tensor, array in arrays.items():
        expected = weights[tensor] - 0.1 * small[f"gradnan:maxpool_perceptron/{tensor}"]
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6, err_msg=tensor)


def test_padding_and_unknown_values_of_the_loss():
    prediction, target = jnp.ones((2, 1, 2)), jnp.array([[[3.0, jnp.nan]], [[9.0, 9.0]]])
    known, counts = jnp.isfinite(target), jnp.array([1.0, 0.0])[:, None, None]
    assert losses.mean_loss("mse", prediction, target, known, counts) == 2.0  # 4 / 2: as the original divides
    assert losses.mean_loss("mse", prediction, target, known, counts * known) == 4.0


def test_the_original_running_correlation(golden):
    arrays = golden("cs282a", "pearsonr.npz")
    found = running_pearson((arrays[f"in:true_{i}"], arrays[f"in:pred_{i}"]) for i in range(4))
    np.testing.assert_allclose(found, arrays["loss:pearsonr_per_track"], rtol=1e-4)
    np.testing.assert_allclose(found.mean(), arrays["loss:pearsonr_mean"], rtol=1e-4)
    assert found.dtype == np.float32 and found[5] == 0  # a constant prediction


def test_flat_correlations_are_the_reported_ones(small):
    prediction, target = small["in:metric_pred"].ravel(), small["in:labels_single"].ravel()
    assert pearson(prediction, target) == pytest.approx(small["loss:metric_pearson_flat"], rel=1e-9)
    assert spearman(prediction, target) == pytest.approx(small["loss:metric_spearman_flat"], rel=1e-9)


def test_every_weight_of_a_head_has_a_line(small):
    for head in NAMES:
        task, _, weights = case(small, head)
        table = SYSTEM.weights.table(task.model_config)
        assert [line.original for line in table] == list(weights)
        assert {line.path for line in table} == set(weights_of(task.build_model(nnx.Rngs(0))))
