"""Three epochs of the original's training loop by the project's own step, in float64: nothing hides in rounding."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.pretrained.table import load_into, to_original
from jaxepi.sequence import NOTHING, N
from jaxepi.systems.epiformer import SYSTEM
from jaxepi.systems.epiformer.augment import Draws
from jaxepi.systems.epiformer.losses import LossRules, mean_over, signal_loss
from jaxepi.systems.epiformer.original_metrics import pearson_of_epoch
from jaxepi.systems.epiformer.task import EpiformerTask
from jaxepi.systems.epiformer.weights import table
from jaxepi.train.optimizer import make_optimizer
from jaxepi.train.state import make_steps

EPOCHS, MICRO, ACCUMULATE, ROWS, BINS, CROP, UPDATES = 3, 4, 2, 2, 16, 2, 6
SIZES = {
    "num_cnn_layer": 4, "max_len": 16, "embed_size": 16, "num_heads": 2, "dim_feedforward": 24, "crop_size": CROP,
    "num_encoder_layers": 1, "att_dropout": 0.0, "enc_dropout": 0.0, "head_dropout": 0.0,
}  # fmt: skip
PARITY = {"augment": "alternate", "shift_pad": 0.25, "shift_conservation": False}
MANIFEST = {
    "kind": "coverage", "window": 512, "bins": BINS, "bin_width": 32, "crop": 0, "tracks": ["a", "b"],
    "conservation": {"missing": 0.0},
}  # fmt: skip
OPTIMIZER = OptimizerConfig(
    learning_rate=1e-3, schedule="warmed_cosine", warmup_steps=10 * MICRO // ACCUMULATE, clip_norm=5.0,
    decay_steps=100 * MICRO // ACCUMULATE, hold_steps=MICRO // ACCUMULATE, accumulate=ACCUMULATE,
)  # fmt: skip


class Replayed(EpiformerTask):
    """The task with the shifts that the original drew, at the updates that its own rule augments."""

    def draws(self, batch, rng):
        flip, _ = super().draws(batch, rng)
        return Draws(flip, jnp.where(flip, -batch["left"], 0))

    def prepare(self, batch, rng, train):
        inputs, targets = super().prepare(batch, rng, train)
        return inputs | {"x": inputs["x"].astype(jnp.float64)}, targets


def wide(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


class Training:
    """What the golden file holds, and the same made by the project."""

    def __init__(self, file):
        self.file = file
        self.task = Replayed(SIZES, PARITY, MANIFEST)
        self.task.model_config = dataclasses.replace(self.task.model_config, dtype="float64")
        self.mesh = make_mesh(devices=jax.devices()[:1])
        self.model = SYSTEM.abstract(self.task.model_config)
        load_into(self.model, self.arrays("param:init/"), table(self.task.model_config))
        self.graph, params, rest = nnx.split(self.model, nnx.Param, ...)
        steps = make_steps(self.task, OPTIMIZER, 1, 0, self.mesh, epoch=MICRO // ACCUMULATE)
        self.train, params, rest = steps.train, wide(params), wide(rest)
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), steps.shapes)
        optimizer = make_optimizer(OPTIMIZER, 1).init(params)
        self.state = dataclasses.replace(state, params=params, rest=rest, optimizer=optimizer)

    def arrays(self, prefix):
        return {name.removeprefix(prefix): self.file[name] for name in self.file.files if name.startswith(prefix)}

    def batch(self, names, left):
        """The windows of micro-batches, of which number i has every n-th row from i on; `left`: the shift of each."""
        seq, cons, signal = (
            np.stack([self.file[f"in:{name}/{part}"] for name in names], axis=1).reshape(-1, *shape)
            for part, shape in (("seq", (4, 512)), ("seqcons", (512,)), ("signal", (2, BINS)))
        )
        codes = np.where(seq.any(axis=1), seq.argmax(axis=1), N)
        codes = np.where((seq == 0.25).all(axis=1), NOTHING, codes).astype(np.uint8)  # ends that a shift had padded
        records = [
            {"key": "", "sequence": code, "target": target.T, "conservation": along}
            for code, along, target in zip(codes, cons, signal, strict=True)
        ]
        made = self.task.collate(records)
        exact = {"target": signal.transpose(0, 2, 1)[:, CROP:-CROP], "conservation": cons}  # more than float16 holds
        shifts = np.tile(np.asarray(left, np.int32), ROWS)
        return jax.device_put({**made, **exact, "left": shifts}, batch_sharding(self.mesh))

    def named(self, params, rest):
        nnx.update(self.model, params, rest)
        return to_original(self.model, table(self.task.model_config))


def seen(training, mode, params, rest, batch):
    """Predictions, targets and the new statistics of a batch that is prepared as in training."""
    model = nnx.merge(training.graph, params, rest, copy=True)
    getattr(model, mode)()
    inputs, targets = training.task.prepare(batch, jax.random.key(0), True)
    outputs = training.task.apply(model, inputs)
    return outputs.values, targets["target"], nnx.split(model, nnx.Param, ...)[2]


@pytest.fixture(scope="module")
def done(golden):
    """The training, with what was seen on the way."""
    file = golden("epiformer", "train_loop.npz")
    with jax.enable_x64(True):
        training = Training(file)
        look = {mode: jax.jit(functools.partial(seen, training, mode)) for mode in ("eval", "train")}
        found = types.SimpleNamespace(scalars=[], predictions=[], targets=[], gradient={}, training=training)
        shifts = file["out:shifts"].reshape(-1, ACCUMULATE)
        for update in range(UPDATES):
            names = [f"micro{MICRO // 2 * (update % 2) + i}" for i in range(ACCUMULATE)]
            batch = training.batch(names, shifts[update])
            for i in range(ACCUMULATE):
                own = {key: rows[i::ACCUMULATE] for key, rows in batch.items()}
                own["update"] = jnp.full(ROWS, update % 2)
                p, t, _ = look["train"](training.state.params, training.state.rest, own)
                found.predictions.append(np.asarray(p))
                found.targets.append(np.asarray(t))
            training.state, scalars = training.train(training.state, batch)
            found.scalars.append(jax.device_get(scalars))
            if update == 0:  # Adam's first moment is a tenth of the first gradient, which clipping has scaled
                moment = jax.tree.map(lambda leaf: leaf / 0.1, training.state.optimizer[1][0].mu)
                found.gradient = training.named(moment, training.state.rest)
        found.final = training.named(training.state.params, training.state.rest)
        values = training.batch(["val"], [0]) | {"update": jnp.zeros(ROWS, int)}  # so that nothing is augmented
        for mode, make in look.items():
            setattr(found, mode, make(training.state.params, training.state.rest, values))
        found.after = training.named(training.state.params, found.train[2])
    return found


def test_losses_rates_and_norms_of_every_update(done, golden):
    file = golden("epiformer", "train_loop.npz")
    of = {name: np.array([scalars[name] for scalars in done.scalars], np.float64) for name in done.scalars[0]}
    wanted = file["loss:per_microbatch"].reshape(-1, ACCUMULATE)
    np.testing.assert_allclose(of["loss"], wanted.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(of["gradient_norm"], file["out:grad_norms_before_clip"], rtol=1e-6)
    np.testing.assert_allclose(of["learning_rate"].reshape(EPOCHS, -1).T[0], file["out:learning_rates"], rtol=1e-6)
    each = [mean_over(signal_loss(p, t, jnp.ones(p.shape, bool), LossRules()), jnp.ones(p.shape, bool))
            for p, t in zip(done.predictions, done.targets, strict=True)]  # fmt: skip
    np.testing.assert_allclose(each, wanted.ravel(), rtol=1e-5)
    assert len(set(file["out:shifts"])) > 2 and not file["out:shifts"].reshape(-1, 2, ACCUMULATE)[:, 0].any()


def test_gradients_of_the_first_update_are_clipped_as_the_original_clips_them(done, golden):
    file = golden("epiformer", "train_loop.npz")
    names = [name for name in file.files if name.startswith("out:grad_step0/")]
    assert len(names) == sum("running" not in name and "num_batches" not in name for name in done.final)
    scale = min(1.0, 5.0 / float(done.scalars[0]["gradient_norm"]))
    squares = sum(float((file[name] ** 2).sum()) for name in names) ** 0.5
    before = abs(squares - done.scalars[0]["gradient_norm"]) < 1e-3  # whether the file has them before clipping
    for name in names:
        wanted = file[name] * (scale if before else 1.0)
        found = done.gradient[name.removeprefix("out:grad_step0/")]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max() + 1e-12, err_msg=name)


def test_correlations_of_each_epoch(done, golden):
    wanted = golden("epiformer", "train_loop.npz")["loss:epoch_corr"]
    for epoch in range(EPOCHS):
        own = slice(epoch * MICRO, (epoch + 1) * MICRO)
        np.testing.assert_allclose(pearson_of_epoch(done.predictions[own], done.targets[own]), wanted[epoch], rtol=1e-4)


def test_parameters_and_running_statistics_after_three_epochs(done, golden):
    file = golden("epiformer", "train_loop.npz")
    for name, found in done.final.items():
        if "num_batches_tracked" in name:
            continue
        wanted, first = file[f"out:final/{name}"], file[f"param:init/{name}"]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8, err_msg=name)
        moved = np.abs(wanted - first).max()
        if moved > 1e-5:  # the way that it went, of which the largest part is six ten-thousandths
            np.testing.assert_allclose(found - first, wanted - first, atol=1e-2 * moved, rtol=0, err_msg=name)


def test_validation_in_either_mode(done, golden):
    file = golden("epiformer", "train_loop.npz")
    for mode in ("eval", "train"):
        values, target, _ = getattr(done, mode)
        np.testing.assert_allclose(values.transpose(0, 2, 1), file[f"out:val_pred_{mode}_mode"], rtol=1e-5)
        keep = jnp.ones(values.shape, bool)
        loss = mean_over(signal_loss(values, target, keep, LossRules()), keep)
        np.testing.assert_allclose(loss, file[f"loss:val_{mode}_mode"], rtol=1e-5)
    names = [name for name in file.files if name.startswith("out:after_val_train_mode/")]
    assert len(names) == 2 * (1 + 2 * 4 + 1)
    for name in names:  # what the original's validation does to its running statistics
        found = done.after[name.removeprefix("out:after_val_train_mode/")]
        np.testing.assert_allclose(found, file[name], rtol=1e-5, atol=1e-8, err_msg=name)
