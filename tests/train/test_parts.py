"""Datasets that go through heads of their own: what a batch of one leaves alone, in steps and in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from toys.windowsum.model import WindowSum
from toys.windowsum.task import WindowSumTask
from toys.windowsum.toy import toy

from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.task import collate, part_of, split_part
from jaxepi.train.state import make_steps


class Genomes(WindowSum):
    """A trunk with normalisation and a head of two tracks for each of two genomes."""

    def __init__(self, config, *, rngs):
        super().__init__(config, rngs=rngs)
        del self.head
        self.norm = nnx.BatchNorm(config.width, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(config.width, config.tracks, rngs=rngs) for _ in range(2)])

    def __call__(self, x, head):
        return self.heads[head](self.norm(self.trunk(x)))


class GenomesTask(WindowSumTask):
    """Both genomes, or one of them by its head."""

    def __init__(self, head=None):
        manifest = toy(records=0).manifest
        super().__init__({"width": 4}, {"reverse_complement": False}, manifest)
        self.head = head
        if head is None:
            self.parts = tuple(map(GenomesTask, range(2)))
        else:
            self.tracks = [f"{track}_{head}" for track in self.tracks]
            self.idle = (f"heads.{1 - head}.*",)

    def build_model(self, rngs):
        return Genomes(self.model_config, rngs=rngs)

    def apply(self, model, inputs):
        return model(inputs["x"], self.head)


@pytest.fixture(scope="module")
def task():
    return GenomesTask()


def batch_of(task, number):
    records = [record | {"dataset": number} for record in toy(number, 4).records]
    return jax.device_put(collate(task, records), batch_sharding(make_mesh(devices=jax.devices()[:1])))


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_a_batch_tells_by_its_structure_which_part_reads_it(task):
    for number in range(2):
        own, batch = split_part(task, batch_of(task, number))
        assert own is part_of(task, number) and own.head == number
        assert set(batch) == {"sequence", "target", "row_mask"}
    records = toy().records[:2]
    padded = collate(task, [None, None], number=1)
    assert split_part(task, padded)[0].head == 1 and not padded["row_mask"].any()
    single = part_of(task, 1)
    assert split_part(single, collate(single, records))[0] is single


OPTIMIZERS = {
    "sgd": {"b1": 0.9},
    "sgd_keras": {"name": "sgd", "b1": 0.9, "rate_in_momentum": True, "clip_variable_norm": 1.0},
    "adam": {"clip_norm": 1.0},
    "adamw": {"weight_decay": 0.1},
}


@pytest.mark.parametrize(("name", "frozen"), [*((name, ()) for name in OPTIMIZERS), ("adam", ("words.*",))])
def test_an_idle_head_gets_no_update_and_its_momentum_does_not_age(task, name, frozen):
    fields = {"name": name, "learning_rate": 0.1, **OPTIMIZERS[name]}
    steps = make_steps(task, OptimizerConfig(**fields), 10, 0, make_mesh(devices=jax.devices()[:1]), frozen=frozen)
    state, batches = steps.initial(), [batch_of(task, number) for number in range(2)]
    for number in (0, 1, 0):
        before = leaves((state.params, state.optimizer, state.rest))
        assert not any("MaskedNode" in key for key in before)
        state, scalars = steps.train(state, batches[number])
        moved = changed(before, leaves((state.params, state.optimizer, state.rest)))
        assert np.isfinite(scalars["loss"])
        assert not [key for key in moved if f"['heads'][{1 - number}]" in key]
        assert {key for key in before if f"['heads'][{number}]" in key and "rng" not in key} <= moved
        assert any("['norm']" in key and "mean" in key for key in moved)  # the statistics see both genomes
        assert any("['words']" in key for key in moved) != bool(frozen)
    assert steps.train._cache_size() == 2  # a program for each part, whatever comes in between


def test_a_part_is_evaluated_by_its_own_head(task):
    mesh = make_mesh(devices=jax.devices()[:1])
    steps = make_steps(task, OptimizerConfig(), 1, 0, mesh)
    state, batch = steps.initial(), batch_of(task, 0)
    model = nnx.merge(nnx.split(task.build_model(nnx.Rngs(0)))[0], state.params, state.rest)
    model.eval()
    for number in range(2):
        _, seen = steps.evaluate(state.params, state.rest, batch_of(task, number))
        batch = split_part(task, batch_of(task, number))[1]
        wanted = part_of(task, number).values(model(jax.nn.one_hot(batch["sequence"], 4, dtype=jnp.float32), number))
        np.testing.assert_allclose(seen["prediction"], wanted, rtol=1e-5, atol=1e-6)


def test_what_an_optimizer_remembers_of_parameters_is_found():
    from jaxepi.train.state import remembered

    params, mask = {"a": jnp.ones(2), "b": jnp.ones(3)}, {"a": True, "b": False}
    optimizer = optax.masked(optax.chain(optax.clip(1.0), optax.adam(0.1)), {"a": True, "b": True})
    found = remembered(optimizer, optimizer.init(params), mask)
    flags = [flag for path, flag in jax.tree_util.tree_leaves_with_path(found) if "['b']" in jax.tree_util.keystr(path)]
    assert flags == [False, False] and found.inner_state[1][0].count is True
