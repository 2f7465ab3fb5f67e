"""The task in training: augmentation, targets that are not known, labels, and validation as the original has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.evaluate.step import make_evaluate_step
from jaxepi.parallel.mesh import make_mesh
from jaxepi.sequence import one_hot, reverse_complement
from jaxepi.systems.epiformer.losses import LossRules, mean_over, signal_loss
from jaxepi.systems.epiformer.model import EpiformerOutputs
from jaxepi.systems.epiformer.task import EpiformerTask
from jaxepi.systems.epiformer.toy import toy
from jaxepi.task import UPDATE

KEY = jax.random.key(3)
ALTERNATE = {"augment": "alternate", "shift_pad": 0.25, "shift_conservation": False}


@pytest.fixture(scope="module")
def made():
    return toy(0, 6)


def task_for(made, model=None, **task) -> EpiformerTask:
    return EpiformerTask({**made.model, **(model or {})}, task, made.manifest)


def outputs_of(values) -> EpiformerOutputs:
    return EpiformerOutputs(values, values, values)


def test_by_default_each_window_is_turned_and_moved_by_itself_with_all_that_lies_along_it(made):
    task = task_for(made)
    batch = task.collate(made.records * 4)
    inputs, targets = task.prepare(batch, KEY, True)
    flip, by = task.draws(batch, jax.random.fold_in(KEY, 1))
    assert 0 < flip.sum() < 24 and len(set(np.asarray(by))) > 4 and np.abs(by).max() == 3
    for row in range(6):
        codes, along = batch["sequence"][row], batch["conservation"][row].astype(np.float32)
        if flip[row]:
            codes, along = reverse_complement(codes), along[::-1]
        kept = slice(3, -3)
        wanted = np.roll(one_hot(codes, n_value=0.0), int(by[row]), axis=0)
        np.testing.assert_array_equal(inputs["x"][row, kept], wanted[kept])
        np.testing.assert_array_equal(inputs["conservation"][row, kept], np.roll(along, int(by[row]))[kept])
        target = batch["target"][row][:: -1 if flip[row] else 1]
        np.testing.assert_array_equal(targets["target"][row], target.astype(np.float32))
    plain, same = task.prepare(batch, KEY, False)
    np.testing.assert_array_equal(plain["x"], one_hot(batch["sequence"], n_value=0.0))
    np.testing.assert_array_equal(same["target"], batch["target"].astype(np.float32))
    assert "rng" in inputs and "rng" not in plain and not task.counts_updates and task.shift_pad == 0


def test_the_original_s_scheme_goes_by_the_number_of_the_update(made):
    task = task_for(made, **ALTERNATE)
    assert task.counts_updates and task.shift_pad == 0.25
    batch = task.collate(made.records)
    plain, augmented = ({**batch, UPDATE: jnp.full(6, number)} for number in (2, 3))
    inputs, targets = task.prepare(plain, KEY, True)
    np.testing.assert_array_equal(inputs["x"], one_hot(batch["sequence"], n_value=0.0))
    unnumbered, _ = task.prepare(batch, KEY, True)  # validation
    np.testing.assert_array_equal(unnumbered["x"], inputs["x"])
    turned, reversed_targets = task.prepare(augmented, KEY, True)
    by = set(np.asarray(task.draws(augmented, jax.random.fold_in(KEY, 1)).by))
    assert len(by) == 1
    wanted = np.roll(one_hot(reverse_complement(batch["sequence"]), n_value=0.0), by.pop(), axis=1)
    np.testing.assert_array_equal(turned["x"][:, 3:-3], wanted[:, 3:-3])
    np.testing.assert_array_equal(turned["conservation"], inputs["conservation"][:, ::-1])  # it does not move
    np.testing.assert_array_equal(reversed_targets["target"], targets["target"][:, ::-1])


def test_targets_that_are_nan_count_nowhere_and_are_counted(made):
    task = task_for(made)
    records = [{**record, "target": record["target"].copy()} for record in made.records]
    records[1]["target"][4:7, 0] = np.nan
    batch = task.collate([*records, None])
    inputs, targets = task.prepare(batch, KEY, False)
    assert targets["lost"].sum() == 3 and not targets["keep"][6].any() and targets["keep"].sum() == 6 * 12 * 2 - 3
    values = jnp.asarray(np.random.default_rng(0).gamma(2.0, size=(7, 12, 2)), jnp.float32)
    loss, terms = task.loss(outputs_of(values), targets)
    known = np.where(targets["keep"], targets["target"], 1.0)
    each = np.asarray(values - known * np.log(values + 1e-8))
    np.testing.assert_allclose(loss, each[np.asarray(targets["keep"])].mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["lost"], 3 / (7 * 12 * 2), rtol=1e-6)
    summary = task.summarize(task.metrics(outputs_of(values), targets))
    assert summary["n_nan_bin_total"] == 3 and summary["n_values_bin_total"] == 6 * 12 * 2 - 3
    np.testing.assert_allclose(summary["loss_total"], loss, rtol=1e-5)
    keep = np.asarray(targets["keep"][..., 0])
    wanted = np.corrcoef(np.log2(1 + values[..., 0][keep]), np.log2(1 + known[..., 0][keep]))[0, 1]
    np.testing.assert_allclose(summary["per_track"]["pearson_log2_bin"][0], wanted, rtol=1e-4)
    assert task.monitor in summary and {"r2_bin_per_track_mean", "pearson_bin_flat"} <= summary.keys()


def test_the_penalty_reaches_the_loss_by_its_fields(made):
    found = {}
    for form in ("elementwise", "mean"):
        task = task_for(made, penalty=2.0, penalty_form=form)
        _, targets = task.prepare(task.collate(made.records), KEY, False)
        values = jnp.ones_like(targets["target"]) * 0.3
        found[form], _ = task.loss(outputs_of(values), targets)
        wanted = signal_loss(values, targets["target"], targets["keep"], LossRules(penalty=2.0, penalty_form=form))
        np.testing.assert_allclose(found[form], mean_over(wanted, targets["keep"]), rtol=1e-6)
    assert abs(found["mean"] - found["elementwise"]) > 1e-3


def test_labels_are_what_a_label_model_is_trained_on(made):
    task = task_for(made, {"kind": "label"}, class_weights=(1.0, 3.0))
    batch = task.collate(made.records)
    _, targets = task.prepare(batch, KEY, False)
    np.testing.assert_array_equal(targets["target"], np.stack([r["label"][2:-2] for r in made.records]))
    loss, _ = task.loss(outputs_of(jnp.full(targets["target"].shape, 0.25)), targets)
    share = targets["target"].mean()
    np.testing.assert_allclose(loss, -3 * share * np.log(0.25) - (1 - share) * np.log(0.75), rtol=1e-5)
    summary = task.summarize(task.metrics(outputs_of(jnp.full(targets["target"].shape, 0.25)), targets))
    assert task.monitor == "auc_bin_per_track_mean" and task.monitor in summary


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment": "window "}, "config.task.augment is 'window '.*must be one of"),
        ({"penalty_form": "mena"}, "did you mean 'mean'"),
        ({"penalty_where": "q99"}, "config.task.penalty_where"),
        ({"class_weights": (1.0,)}, r"class_weights is \(1.0,\), but two numbers were expected"),
        ({"shift": -1}, "config.task.shift is -1, but must be a whole number, at least 0"),
        ({"epsilon": 0}, "config.task.epsilon is 0, but must be a number, above 0"),
    ],
)
def test_fields_that_cannot_be_are_told(made, fields, message):
    with pytest.raises(JaxepiError, match=message):
        task_for(made, **fields)


def test_validation_may_run_as_training_does_and_leaves_the_statistics_alone(made):
    """Dropout and the statistics of the batch; two evaluations of the same state are the same."""
    task = task_for(made, **ALTERNATE, validate_in_training_mode=True)
    assert task.validates_as_trained and not task_for(made).validates_as_trained
    model = task.build_model(nnx.Rngs(0))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    batch, mesh = task.collate(made.records), make_mesh(devices=jax.devices()[:1])
    trained, usual = (make_evaluate_step(task, graph, mesh, training=training) for training in (True, False))
    (_, first), (_, second) = (trained(params, rest, batch) for _ in range(2))
    np.testing.assert_array_equal(first["prediction"], second["prediction"])
    assert np.abs(first["prediction"] - usual(params, rest, batch)[1]["prediction"]).max() > 1e-3
    np.testing.assert_array_equal(first["target"], task.prepare(batch, KEY, False)[1]["target"])  # plain windows

    def direct(params, rest):
        model = nnx.merge(graph, params, rest, copy=True)
        model.train()
        inputs, _ = task.prepare(batch, jax.random.key(0), True)
        return task.apply(model, inputs).values

    np.testing.assert_allclose(first["prediction"], jax.jit(direct)(params, rest), rtol=1e-4, atol=1e-6)
