"""How much of a record is read: less context, stretches of its bins, and no unmappable bins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.systems.basenji.task import BasenjiTask
from jaxepi.systems.basenji.toy import BIN, TRUNK, toy

BINS = 16


def made(cropping=2, bins=BINS, **objective):
    """The toy's task, its collated records and the records."""
    data = toy(0, 6, bins=bins)
    trunk = [{**block, "cropping": cropping} if block["name"] == "Cropping1D" else block for block in TRUNK]
    task = BasenjiTask({"trunk": trunk}, objective, data.manifest)
    return task, data.records


def prepared(task, batch, seed, train):
    return jax.jit(lambda batch: task.prepare(batch, jax.random.key(seed), train))(batch)


def test_less_context_is_read():
    task, records = made(cropping=1, context=BIN)
    assert task.window == (BINS + 2) * BIN and task.grid.crop == BIN and task.grid.values(task.window) == BINS
    batch = task.collate(records)
    np.testing.assert_array_equal(batch["sequence"][3], records[3]["sequence"][BIN:-BIN])
    np.testing.assert_array_equal(batch["target"][3], records[3]["target"])
    assert task.settled()["context"] == BIN
    with pytest.raises(JaxepiError, match="context is 65 bp, but records have 64 bp"):
        made(context=65)


def test_stretches_have_their_own_sequence_and_targets():
    task, records = made(train_bins=4)
    batch = jax.tree.map(jnp.asarray, task.collate([*records[:5], None]))
    inputs, targets = prepared(task, batch, 3, True)
    window = (4 + 4) * BIN
    assert inputs["x"].shape == (6, window, 4) and targets["target"].shape == (6, 4, 3)
    starts = []
    for row in range(5):
        codes = np.asarray(inputs["x"][row]).argmax(-1)
        places = [s for s in range(BINS - 3) if (records[row]["sequence"][s * BIN : s * BIN + window] == codes).all()]
        assert len(places) == 1
        np.testing.assert_array_equal(targets["target"][row], records[row]["target"][places[0] : places[0] + 4])
        starts += places
    assert len(set(starts)) > 1 and targets["keep"][:5].all() and not targets["keep"][5].any()
    whole, _ = prepared(task, batch, 3, False)  # evaluation takes everything
    assert whole["x"].shape == (6, task.window, 4)
    one = dataclasses.replace(task.objective, one_draw_per_batch=True)
    task.objective = one
    _, same = prepared(task, batch, 3, True)
    first = [np.flatnonzero([(records[row]["target"][s : s + 4] == same["target"][row]).all() for s in range(13)])
             for row in range(5)]  # fmt: skip
    assert set.intersection(*map(set, first))


def test_stretches_that_the_network_cannot_read_are_refused():
    with pytest.raises(JaxepiError, match="train_bins is 17, but records have 16 values"):
        made(train_bins=17)
    flat = [{"name": "conv_block", "filters": 4, "pool_size": 2}, {"name": "dense_block", "flatten": True, "units": 3}]
    data = toy(0, 1, bins=1, bin_width=32, crop=64)
    with pytest.raises(JaxepiError, match="train_bins is 2, but records have 1 values"):
        BasenjiTask({"trunk": flat}, {"train_bins": 2}, data.manifest)


def test_unmappable_bins_count_nowhere_if_asked():
    task, records = made(mask_unmappable=True, reverse_complement=True)
    marks = np.zeros((6, BINS), np.uint8)
    marks[:, 0] = 1
    records = [{**record, "unmappable": mark} for record, mark in zip(records, marks, strict=True)]
    batch = jax.tree.map(jnp.asarray, task.collate(records))
    _, targets = prepared(task, batch, 0, False)
    np.testing.assert_array_equal(targets["keep"], marks == 0)
    _, flipped = prepared(task, batch, 1, True)
    masked = np.argmin(flipped["keep"], axis=1)
    assert set(masked.tolist()) == {0, BINS - 1}  # at the other end of those that were turned round
    with pytest.raises(JaxepiError, match="does not tell which of its bins are unmappable"):
        task.collate([{name: value for name, value in records[0].items() if name != "unmappable"}])
    plain, _ = made()
    assert "unmappable" not in plain.collate(records)
