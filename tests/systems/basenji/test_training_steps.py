"""Training steps of the original: losses, gradients, running statistics, weights, clipping; one head or two."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from jaxepi.layers.keras_like import BatchNorm
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.sequence import one_hot
from jaxepi.systems.basenji.model import BasenjiConfig
from jaxepi.systems.basenji.params import train_fields
from jaxepi.systems.basenji.task import BasenjiTask
from jaxepi.task import collate
from jaxepi.train.state import make_steps

KERAS = {"kernel": "kernel", "bias": "bias", "scale": "gamma", "mean": "moving_mean", "var": "moving_variance"}
ORDER = ("trunk", "heads", "dilate", "back", "conv", "dense", "norm")
GLOBALS = ("activation", "norm_type", "bn_momentum", "l2_scale")


def layers(module):
    """Layers with weights in the order of Keras's numbers."""
    for name, child in sorted(vars(module).items(), key=lambda item: ORDER.index(item[0]) if item[0] in ORDER else 0):
        if name.startswith("_"):
            continue
        for one in child if isinstance(child, nnx.List) else [child]:
            if isinstance(one, nnx.Conv | nnx.Linear | BatchNorm):
                yield one
            elif isinstance(one, nnx.Module):
                yield from layers(one)


def variables(model):
    """Keras's name -> variable of the model."""
    seen: dict[str, int] = {}
    named = {}
    for layer in layers(model):
        rank = {3: "conv1d", 4: "conv2d"}
        kind = "batch_normalization" if isinstance(layer, BatchNorm) else rank.get(layer.kernel[...].ndim, "dense")
        number = seen[kind] = seen.get(kind, -1) + 1
        for name, keras in KERAS.items():
            value = getattr(layer, name, None)
            if isinstance(value, nnx.Variable) and value.get_value() is not None:
                keras = "beta" if isinstance(layer, BatchNorm) and name == "bias" else keras
                named[f"{kind}{f'_{number}' * (number > 0)}/{keras}:0"] = value
    return named


class Original:
    """A golden file of training, and the same training by the project's step."""

    def __init__(self, file, manifests):
        self.file = file
        model, train = (json.loads(str(file[f"in:{part}_config_json"])) for part in ("model", "train"))
        heads = [model[name] for name in sorted(model) if name.startswith("head")]
        sizes = {name: model[name] for name in GLOBALS if name in model} | {"trunk": model["trunk"], "heads": heads}
        sizes["head_names"] = [f"head_{number}" for number in range(len(heads))]
        sizes["glorot_gamma"] = False
        fields = train_fields({"batch_size": 4, **train})
        objective = {name.removeprefix("task."): value for name, value in fields.items() if name.startswith("task.")}
        optimizer = {name.partition(".")[2]: value for name, value in fields.items() if name.startswith("optimizer.")}
        manifest = manifests[0] if len(manifests) == 1 else {"datasets": manifests}
        self.task = BasenjiTask(sizes, objective, {**manifest, "kind": "coverage"})
        assert isinstance(self.task.model_config, BasenjiConfig)
        self.mesh = make_mesh(devices=jax.devices()[:1])
        self.steps = make_steps(self.task, OptimizerConfig(**optimizer), 10, 0, self.mesh)
        self.model = self.empty()
        self.model.train()
        self.read = {name for name in variables(self.model) if f"param:{name}" in file.files}  # not the idle head
        for name in self.read:
            variables(self.model)[name].set_value(jax.numpy.asarray(file[f"param:{name}"].astype(np.float32)))
        self.graph, params, rest = nnx.split(self.model, nnx.Param, ...)
        state = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), self.steps.shapes)
        # a copy, as the step takes the memory of what it gets
        self.state = jax.tree.map(jax.numpy.array, dataclasses.replace(state, params=params, rest=rest))
        self.scalars: list[dict] = []

    def empty(self):
        """A model of ones: drawing weights that are overwritten would take seconds."""
        graph, state = nnx.split(nnx.eval_shape(lambda: self.task.build_model(nnx.Rngs(0))))
        return nnx.merge(graph, jax.tree.map(lambda leaf: jax.numpy.ones(leaf.shape, leaf.dtype), state))

    def batch(self, x, y, number=None):
        records = [
            {"sequence": codes, "target": target, "dataset": number, "key": "", "chrom": "", "start": 0}
            for codes, target in zip(x, y, strict=True)
        ]
        made = collate(self.task, records) | {"target": y}  # float32, as the original's were
        return jax.device_put(made, batch_sharding(self.mesh))

    def step(self, x, y, number=None):
        self.state, scalars = self.steps.train(self.state, self.batch(x, y, number))
        self.scalars.append(jax.device_get(scalars))

    def named(self):
        """Keras's name -> array of the present state."""
        nnx.update(self.model, self.state.params, self.state.rest)
        return {name: np.asarray(variable.get_value()) for name, variable in variables(self.model).items()}

    def losses(self):
        return [scalars["loss"] for scalars in self.scalars]

    def check_state(self, when):
        prefix, now = f"state:{when}:", self.named()
        names = [name.removeprefix(prefix) for name in self.file.files if name.startswith(prefix)]
        assert names
        for name in names:
            np.testing.assert_allclose(now[name], self.file[prefix + name], atol=2e-4, rtol=0, err_msg=name)


def manifest_of(window, target, stride):
    places, tracks = target.shape[-2:]
    found = {"window": window, "tracks": [f"t{k}" for k in range(tracks)], "bins": places}
    if stride is None:  # pairs of bins, of which the network says where they lie
        return found
    return found | {"bin_width": stride, "crop": (window - places * stride) // 2}


def one_dataset(golden, name):
    file = golden("basenji", name)
    stride = 64 if "basenji2" in name else None
    return Original(file, [manifest_of(file["in:x_step0"].shape[1], file["in:y_step0"], stride)])


@pytest.mark.parametrize(
    "name", ["train_basenji2_sgd.npz", pytest.param("train_akita_sgd.npz", marks=pytest.mark.slow)]
)
def test_three_steps_of_one_dataset(golden, name):
    original = one_dataset(golden, name)
    file = original.file
    before = original.named()
    assert {key.removeprefix("param:") for key in file.files if key.startswith("param:")} == original.read

    def objective(params, rest, batch):
        model = nnx.merge(original.graph, params, rest, copy=True)
        model.train()
        inputs, targets = original.task.prepare(batch, jax.random.key(0), train=True)
        return original.task.loss(original.task.apply(model, inputs), targets)[0]

    batch = original.batch(file["in:x_step0"], file["in:y_step0"])
    gradient = jax.jit(jax.grad(objective))(original.state.params, original.state.rest, batch)
    holder = original.empty()
    nnx.update(holder, gradient)
    gradients = {key: np.asarray(variable.get_value()) for key, variable in variables(holder).items()}
    for key, norm in zip(file["in:grad_names"], file["out:grad_norm_step0"], strict=True):
        np.testing.assert_allclose(np.linalg.norm(gradients[str(key)]), norm, rtol=1e-3, atol=1e-6, err_msg=key)
    raw = [key for key in file.files if key.startswith("out:grad_step0:")]
    assert len(raw) == 3
    for key in raw:
        wanted = file[key]
        np.testing.assert_allclose(
            gradients[key.removeprefix("out:grad_step0:")], wanted, atol=1e-3 * np.abs(wanted).max(), err_msg=key
        )
    for number in range(3):
        original.step(file[f"in:x_step{number}"], file[f"in:y_step{number}"])
        if number == 0:
            original.check_state("after_step0")
    np.testing.assert_allclose(original.losses(), file["loss:total_per_step"], rtol=1e-4)
    penalties = [scalars["penalty"] for scalars in original.scalars]
    np.testing.assert_allclose(penalties, file["loss:regularization_per_step"], rtol=1e-4, atol=1e-7)
    original.check_state("after_last_step")
    after = original.named()
    assert len(before) - len(original.read) == (2 if "basenji2" in name else 0)
    for key in before.keys() - original.read:  # the head of the other genome
        np.testing.assert_array_equal(after[key], before[key])
    original.model.eval()
    nnx.update(original.model, original.state.params, original.state.rest)
    x = jax.numpy.asarray(one_hot(file["in:x_eval"], n_value=0.0))
    seen = nnx.jit(lambda model, x: original.task.values(original.task.apply(model, {"x": x})))(original.model, x)
    np.testing.assert_allclose(seen, file["out:eval_pred_after"], atol=2e-3)


def test_six_steps_of_two_heads(golden):
    file = golden("basenji", "train_basenji2_two_heads.npz")
    window = file["in:x_head0"].shape[-1]
    original = Original(file, [manifest_of(window, file[f"in:y_head{head}"], 64) for head in range(2)])
    assert [part.tracks for part in original.task.parts] == [[f"t{k}" for k in range(n)] for n in (6, 4)]
    used = [0, 0]
    for head in map(int, file["in:head_per_step"]):
        original.step(file[f"in:x_head{head}"][used[head]], file[f"in:y_head{head}"][used[head]], head)
        used[head] += 1
    np.testing.assert_allclose(original.losses(), file["loss:total_per_step"], rtol=1e-4)
    original.check_state("after_last_step")
