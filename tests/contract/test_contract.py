"""Every registered system through one set of tests, on the system's own toy data and a tiny model."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.evaluate.step import make_evaluate_step
from jaxepi.metrics.base import merge_metrics
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.predictor import Predictor
from jaxepi.pretrained.table import weights_digest
from jaxepi.registry import SYSTEMS, get_system, known_systems, task_of
from jaxepi.released import load_released
from jaxepi.task import PLACES, predicted
from jaxepi.train.state import make_steps

pytestmark = pytest.mark.usefixtures("compiled_quickly")

TOY = {"windowsum": "toys.windowsum"}  # the system of docs/extending.md, registered here alone


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, *next(iter(TOY.items())))
        yield


class Case:
    """A system's toy with a model; everything is made once a system."""

    def __init__(self, name: str):
        self.system = get_system(name)
        self.toy = self.system.toy(0, 8)
        self.task = task_of(self.system, self.toy.model, self.toy.task, self.toy.manifest)
        self.model = self.task.build_model(nnx.Rngs(0))
        self.predictor = Predictor(self.model, self.system, self.task, source=name)

    def predict(self, records, size=8):
        return np.concatenate([v for _, v in self.predictor.over(records, self.task, predicted, size)])


_cases: dict[str, Case] = {}


@pytest.fixture(params=[*known_systems(), *TOY])
def case(request, registered):
    if request.param not in _cases:
        _cases[request.param] = Case(request.param)
    return _cases[request.param]


@pytest.fixture(scope="module", autouse=True)
def forget_cases():
    yield
    _cases.clear()


def test_the_system_says_what_it_is(case):
    system = case.system
    assert system.about and system.datasets and case.toy.manifest["kind"] in system.datasets
    assert dataclasses.is_dataclass(system.sizes) and dataclasses.is_dataclass(system.objective)
    assert isinstance(case.model, system.model) and isinstance(case.model.config, system.sizes)
    assert isinstance(case.task.objective, system.objective) and case.task.options.system == system.name


def test_values_lie_where_the_grid_says(case):
    values = case.predict(case.toy.records)
    grid = case.task.grid
    assert grid.at in PLACES
    assert values.shape == (8, grid.values(case.task.window), len(case.task.tracks))
    assert values.dtype == np.float32 and np.isfinite(values).all() and np.ptp(values) > 0


def test_evaluated_predictions_are_values(case):
    """What metrics see is what users get, at the places that count."""
    batch = case.task.collate(case.toy.records)

    @nnx.jit
    def both(model, batch):
        inputs, targets = case.task.prepare(batch, jax.random.key(0), False)
        outputs = case.task.apply(model, inputs)
        return case.task.values(outputs), case.task.predictions(outputs, targets)

    values, seen = jax.device_get(both(case.model, batch))
    known = np.broadcast_to(seen["mask"], seen["prediction"].shape)
    assert known.any()
    if seen["prediction"].shape == values.shape:
        at_places = values
    else:
        place = np.minimum(seen["offset"], values.shape[1] - 1)
        at_places = np.take_along_axis(values, place[:, :, None], axis=1)
    np.testing.assert_allclose(seen["prediction"][known], at_places[known], rtol=1e-6, atol=1e-7)
    assert np.isfinite(seen["target"][known]).all()


def evaluated(case, batches):
    """Summary over batches of the toy's records, merged."""
    graph, params, rest = nnx.split(case.model, nnx.Param, ...)
    mesh = make_mesh(devices=jax.devices()[:1])
    step = make_evaluate_step(case.task, graph, mesh)
    merged = None
    for records in batches:
        metrics, _ = step(params, rest, jax.device_put(case.task.collate(records), batch_sharding(mesh)))
        merged = merge_metrics(merged, {name: metric.to_host() for name, metric in metrics.items()})
    return case.task.summarize(merged)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, float | int):
            np.testing.assert_allclose(other[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


def test_metrics_merge_and_padding_rows_count_nowhere(case):
    records = case.toy.records
    whole = evaluated(case, [records])
    assert_same(
        whole, evaluated(case, [records[:3] + [None] * 5, records[3:7] + [None] * 4, [records[7]] + [None] * 7])
    )
    assert np.isfinite(whole[case.task.monitor]) or case.task.monitor in whole


def test_the_loss_ignores_padding_rows(case):
    rows = case.toy.records[:4]

    @nnx.jit
    def loss(model, batch):
        inputs, targets = case.task.prepare(batch, jax.random.key(0), False)
        return case.task.loss(case.task.apply(model, inputs), targets)[0]

    alone = loss(case.model, case.task.collate(rows))
    padded = loss(case.model, case.task.collate([*rows, *[None] * 4]))
    np.testing.assert_allclose(padded, alone, rtol=2e-5)


def test_a_prediction_does_not_depend_on_the_batch(case):
    whole = case.predict(case.toy.records, 8)
    np.testing.assert_allclose(case.predict(case.toy.records, 3), whole, rtol=1e-4, atol=1e-5)


def test_what_a_user_gives_is_predicted_like_records(case):
    """`accept` and `expand` make the inputs that `prepare` makes of records."""
    batch = case.task.collate(case.toy.records)
    inputs, _ = jax.jit(lambda b: case.task.prepare(b, jax.random.key(0), False))(batch)
    given = {name: np.asarray(batch[name]) for name in case.task.further if name in batch}
    if "distance" in given:
        missing = given["distance"] == 65535
        given = {name: np.where(missing, np.nan, array.astype(np.float32)) for name, array in given.items()}
    x = np.asarray(batch["sequence"]) if "sequence" in batch else jax.device_get(inputs)
    values = case.predictor.predict(x, batch_size=8, **given)
    np.testing.assert_allclose(values, case.predict(case.toy.records), rtol=1e-4, atol=1e-5)


def test_export_and_import_are_bit_equal(case, tmp_path):
    if case.system.weights is None:
        pytest.skip("it has no released layout")
    for ending in (".npz", ".safetensors"):
        jaxepi.export(case.model, tmp_path / f"out{ending}", tracks=case.task.tracks)
        sizes = {name: value for name, value in dataclasses.asdict(case.model.config).items()}
        back, system, _ = load_released(tmp_path / f"out{ending}", case.system.name, **sizes)
        assert system is case.system
        assert weights_digest(back) == weights_digest(case.model), ending


@pytest.fixture(scope="module")
def on_many_devices():
    """System -> mesh -> losses, from one process with eight devices."""
    program = Path(__file__).with_name("many_devices.py")
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(TOY)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [*known_systems(), *TOY])
def test_one_and_eight_devices_have_the_same_loss(on_many_devices, name):
    losses = on_many_devices[name]
    assert losses["1x1"][1] != losses["1x1"][0]
    for mesh in losses.keys() - {"1x1"}:
        np.testing.assert_allclose(losses[mesh], losses["1x1"], rtol=2e-5, err_msg=mesh)


def test_training_makes_the_loss_smaller(case):
    mesh = make_mesh(devices=jax.devices()[:1])
    made = make_steps(case.task, OptimizerConfig(learning_rate=1e-2), 12, 0, mesh)
    state = made.initial()
    batch = jax.device_put(case.task.collate(case.toy.records), batch_sharding(mesh))
    losses = []
    for _ in range(12):
        state, scalars = made.train(state, batch)
        losses.append(float(scalars["loss"]))
    assert losses[-1] < losses[0]
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), state.params))
