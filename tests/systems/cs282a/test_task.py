"""Records to inputs and targets, what an evaluation measures, and datasets that do not fit."""

import dataclasses
import re

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.registry import task_of
from jaxepi.systems.cs282a import SYSTEM
from jaxepi.systems.cs282a.model import HEADS
from jaxepi.systems.cs282a.toy import toy
from jaxepi.task import Grid


def task_for(made, sizes=None, objective=None, **manifest):
    return task_of(SYSTEM, {**made.model, **(sizes or {})}, objective or {}, {**made.manifest, **manifest})


def prepared(task, records, train=False):
    return task.prepare(task.collate(records), jax.random.key(0), train)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_its_grid_loss_and_monitor(head):
    made = toy(head=head)
    task = task_for(made)
    bins = head == "linear"
    assert task.loss_name == ("poisson" if bins else "mse")
    assert task.grid == (Grid("bin", 128, 256, places=6) if bins else Grid("bin", 6 * 128, 256))
    assert task.window is None and task.grid.values(None) == (6 if bins else 1)
    assert task.monitor == f"pearson_{'bin' if bins else 'window'}_per_track_mean"
    outputs = jax.eval_shape(lambda: task.apply(task.build_model(nnx.Rngs(0)), prepared(task, made.records)[0]))
    assert outputs.values.shape == (8, task.grid.values(None), 3)


def test_targets_are_masked_truncated_and_chosen():
    made = toy(head="linear")
    made.records[0]["target"][2, 1] = np.nan
    task = task_of(SYSTEM, made.model, {"truncate_labels": True}, made.manifest, ("motifs", "methylation"))
    _, targets = prepared(task, [made.records[0], None])
    known = made.records[0]["target"][:, [2, 1]]
    np.testing.assert_array_equal(targets["mask"], [np.isfinite(known), np.zeros_like(known, bool)])
    np.testing.assert_array_equal(targets["target"][0], np.trunc(np.nan_to_num(known)))
    assert not targets["mask"][0, 2, 1] and targets["counts"][0].all() and not targets["counts"][1].any()


def test_bfloat16_is_kept_as_two_bytes():
    made = toy(head="linear")
    plain = np.stack([record["embedding"] for record in made.records]).astype(ml_dtypes.bfloat16)
    for record, row in zip(made.records, plain, strict=True):
        record["embedding"] = row.view(np.uint16)
    task = task_for(made, embedding_dtype="bfloat16")
    batch = task.collate(made.records)
    assert batch["embedding"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(prepared(task, made.records)[0]["embedding"], plain.astype(np.float32))


def test_examples_of_a_batch_see_each_other_only_where_they_shall():
    made = toy(head="transformer")
    for axis, mix, train, seen in (
        ("sequence", True, True, False),
        ("batch", False, True, True),
        ("batch", False, False, False),
        ("batch", True, False, True),
    ):
        task = task_for(made, {"attention_axis": axis}, {"mix_in_evaluation": mix})
        inputs, _ = prepared(task, made.records, train)
        assert ("rows" in inputs) == seen and ("rng" in inputs) == train


def test_predictions_of_the_original_transformer_do_not_depend_on_the_batch():
    made = toy(head="transformer")
    task = task_for(made, {"attention_axis": "batch"}, {"mix_in_evaluation": True})
    predictor = Predictor(task.build_model(nnx.Rngs(0)), SYSTEM, task, source="toy")
    x = np.stack([record["embedding"] for record in made.records])
    np.testing.assert_allclose(predictor.predict(x, batch_size=8), predictor.predict(x, batch_size=1), rtol=1e-5)


def test_an_evaluation_names_what_it_measures():
    made = toy(head="maxpool")
    task = task_for(made)
    model = task.build_model(nnx.Rngs(0))
    inputs, targets = prepared(task, [*made.records, None])
    outputs = task.apply(model, inputs)
    found = task.summarize({name: metric.to_host() for name, metric in task.metrics(outputs, targets).items()})
    known = np.asarray(targets["mask"])
    error = (np.asarray(outputs.values) - np.asarray(targets["target"]))[known]
    np.testing.assert_allclose([found["mse_window_flat"], found["loss_window_flat"]], (error**2).mean(), rtol=1e-5)
    assert len(found["per_track"]["pearson_window"]) == 3 and np.isfinite(found["pearson_window_flat"])
    seen = task.predictions(outputs, targets)
    assert (seen["offset"] == 256).all() and task.options.flat_ranks


def test_datasets_that_do_not_fit_are_told():
    made, window = toy(head="linear"), toy(head="conv")
    with pytest.raises(JaxepiError, match="head=linear predicts bins, but the dataset holds one label a window"):
        task_for(made, resolution="window")
    with pytest.raises(
        JaxepiError, match="head=conv predicts one value a window, but the dataset holds labels in bins"
    ):
        task_for(window, resolution="bin")
    averaged = task_for(window, objective={"window_labels": "mean"}, resolution="bin")
    _, targets = prepared(averaged, made.records)
    whole = np.stack([np.nanmean(record["target"], axis=0, keepdims=True) for record in made.records])
    assert np.isnan([record["target"] for record in made.records]).any() and targets["mask"].all()
    np.testing.assert_allclose(targets["target"], whole, rtol=1e-6)
    with pytest.raises(JaxepiError, match="embeddings of 'int8', but float16, bfloat16, float32 are read"):
        task_for(made, embedding_dtype="int8")
    with pytest.raises(JaxepiError, match="config.model.trunk is 'melody', but the dataset holds embeddings"):
        task_for(made, {"trunk": "melody"})
    with pytest.raises(JaxepiError, match="The dataset holds sequence, which a head alone does not read"):
        task_for(made, kind="coverage")
    with pytest.raises(JaxepiError, match="reads datasets of 'embeddings' or 'coverage', but"):
        task_for(made, kind="melody")
    for name, shape in (("embedding", (5, 12)), ("target", (6, 2))):
        record = {**made.records[0], name: np.zeros(shape, np.float32)}
        with pytest.raises(JaxepiError, match=f"Record chr1:0 .* of shape {re.escape(str(shape))}"):
            task_for(made).collate([record])


def test_embeddings_of_another_trunk_are_refused():
    made = toy(head="linear")
    task = task_for(made)
    assert task.settled()["trunk_weights"] == "toy"
    predictor = Predictor(task.build_model(nnx.Rngs(0)), SYSTEM, task, source="toy")
    assert predictor.for_dataset(made.manifest).tracks == task.tracks
    with pytest.raises(JaxepiError, match="come from a trunk with weights abc, but the head was made for those of toy"):
        predictor.for_dataset({**made.manifest, "trunk": {"weights": "abc"}})
    with pytest.warns(UserWarning, match="does not tell which trunk made its embeddings"):
        predictor.for_dataset({**made.manifest, "trunk": None})
    with pytest.raises(JaxepiError, match="holds a model with channels 12, but this dataset .* needs 13"):
        predictor.for_dataset({**made.manifest, "channels": 13})
    assert dataclasses.asdict(task.objective)["nan_labels"] == "mask"
