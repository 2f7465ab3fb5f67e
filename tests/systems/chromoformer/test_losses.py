import jax.numpy as jnp
import numpy as np
import pytest
from toys.demo_genes import make_task

from jaxepi.evaluate.evaluator import evaluate
from jaxepi.metrics.sums import PearsonSums
from jaxepi.systems.chromoformer import losses as losses
from jaxepi.systems.chromoformer.model import ChromoformerOutputs
from jaxepi.train.optimizer import OptimizerConfig, make_schedule


@pytest.fixture
def arrays(golden):
    return golden("chromoformer", "losses_metrics.npz")


def evaluated(task, values, target):
    """The summary of an evaluation in batches of 25 genes; the last one is padded."""
    batches = []
    for first in range(0, len(values), 25):
        rows = slice(first, first + 25)
        padding = 25 - len(values[rows])
        batches.append(
            {
                "values": np.pad(np.float32(values[rows]), [(0, padding), (0, 0)]),
                "value": np.pad(np.float32(target[rows]), (0, padding)),
                "row_mask": np.pad(np.ones(len(values[rows]), np.float32), (0, padding)),
            }
        )

    def step(batch):
        outputs = ChromoformerOutputs(jnp.asarray(batch["values"]))
        targets = {"value": jnp.asarray(batch["value"]), "counts": jnp.asarray(batch["row_mask"]) > 0}
        return task.metrics(outputs, targets), task.predictions(outputs, targets)

    return evaluate(step, batches, task, task.tracks, "fold1", options=task.options, progress=lambda text: None)


def test_golden_classifier_loss_and_metrics(arrays):
    logits, label = arrays["in:logits"], arrays["in:label"]
    loss = losses.cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(label), jnp.ones(60))
    np.testing.assert_allclose(loss, arrays["loss:cross_entropy"], rtol=1e-6)
    result = evaluated(make_task({}), logits, label)
    np.testing.assert_allclose(result.summary["loss_gene_flat"], arrays["loss:cross_entropy"], rtol=1e-6)
    for name, golden in (
        ("accuracy", "accuracy_x100"),
        ("auc_sampled", "roc_auc_x100"),
        ("average_precision_sampled", "average_precision_x100"),
    ):
        np.testing.assert_allclose(
            100 * result.summary[f"{name}_gene_per_track_mean"], arrays[f"loss:{golden}"], rtol=1e-6
        )
    for name, golden in (("auc", "roc_auc_x100"), ("average_precision", "average_precision_x100")):  # in 20,480 bins
        np.testing.assert_allclose(
            100 * result.summary[f"{name}_gene_per_track_mean"], arrays[f"loss:{golden}"], rtol=1e-3
        )
    score = result.samples.prediction[:, 0]
    np.testing.assert_allclose(np.sort(score), np.sort(arrays["out:val_score_softmax"]), rtol=1e-5)
    assert result.samples.complete and result.records == 60


def test_golden_values_of_the_demo(arrays):
    """The original's demo takes the sigmoid of the second logit."""
    task = make_task({}, {"probability": "sigmoid"})
    result = evaluated(task, arrays["in:logits"], arrays["in:label"])
    score = result.samples.prediction[:, 0]
    np.testing.assert_allclose(np.sort(score), np.sort(arrays["out:demo_prediction_sigmoid"]), rtol=1e-5)
    summary = result.summary
    np.testing.assert_allclose(summary["auc_sampled_gene_per_track_mean"], arrays["loss:demo_roc_auc"], rtol=1e-6)
    np.testing.assert_allclose(
        summary["average_precision_sampled_gene_per_track_mean"], arrays["loss:demo_average_precision"], rtol=1e-6
    )
    np.testing.assert_allclose(summary["accuracy_gene_per_track_mean"], arrays["loss:demo_accuracy"], rtol=1e-6)


def test_golden_regressor_loss_and_metrics(arrays):
    output, label = arrays["in:reg_output"], arrays["out:reg_label"]
    np.testing.assert_allclose(np.log2(arrays["in:expression"] + 1), label, rtol=1e-12)
    values = (jnp.asarray(output[:, 0], jnp.float32), jnp.asarray(label, jnp.float32), jnp.ones(60))
    np.testing.assert_allclose(losses.squared_error(*values), arrays["loss:mse_train"], rtol=1e-6)
    goal = {"target": "expression"}
    summary = evaluated(make_task({}, goal), output, label).summary
    np.testing.assert_allclose(summary["loss_gene_flat"], arrays["loss:mse_train"], rtol=1e-6)
    for name, golden, factor in (("r2", "r2_x100", 100), ("pearson", "pearson_x100", 100), ("spearman", "spearman", 1)):
        np.testing.assert_allclose(
            factor * summary[f"{name}_gene_per_track_mean"], arrays[f"loss:{golden}"], rtol=1e-6, err_msg=name
        )
    assert not any(name.startswith("auc") for name in summary)
    pairs = evaluated(make_task({}, {**goal, "validation_loss": "all_pairs"}), output, label).summary
    np.testing.assert_allclose(pairs["loss_gene_flat"], arrays["loss:mse_val_as_coded_broadcast"], rtol=1e-6)


def test_golden_learning_rates(arrays):
    """Gamma 0.87 after each epoch; of num_epoch 10 the original trains nine."""
    config = OptimizerConfig(learning_rate=3e-5, schedule="step", decay_steps=7, decay_rate=0.87)
    schedule = make_schedule(config, 9 * 7)
    rates = [float(schedule(step)) for step in range(9 * 7)]
    np.testing.assert_allclose(rates[::7], arrays["out:learning_rate_per_epoch"], rtol=1e-6)
    np.testing.assert_array_equal(rates, np.repeat(rates[::7], 7))


def test_all_pairs_by_hand():
    prediction, target = np.array([[1.0], [2.0], [9.0]]), np.array([[0.0], [5.0], [np.nan]])
    sums = PearsonSums.from_values(prediction, target, np.array([[1], [1], [0]]))
    np.testing.assert_allclose(losses.all_pairs_error(sums), [(1 + 16 + 4 + 9) / 4], rtol=1e-12)
    assert np.isnan(losses.all_pairs_error(PearsonSums.zero(1))).all()


def test_losses_by_hand():
    logits, label = jnp.log(jnp.array([[0.25, 0.75], [0.5, 0.5], [0.1, 0.9]])), jnp.array([1, 0, 0])
    counts = jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(losses.cross_entropy(logits, label, counts), -np.log([0.75, 0.5]).mean(), rtol=1e-6)
    value, target = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.0, 5.0, jnp.nan])
    np.testing.assert_allclose(losses.squared_error(value, target, counts), 5.0, rtol=1e-6)
    assert losses.squared_error(value, target, jnp.zeros(3)) == 0
