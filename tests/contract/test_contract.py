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
import pyfaidx
import pytest
from Bio.Seq import Seq
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.evaluate.step import make_evaluate_step
from jaxepi.metrics.base import merge_metrics
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.predictor import Predictor
from jaxepi.pretrained.table import weights_digest
from jaxepi.registry import SYSTEMS, get_system, known_systems, task_of
from jaxepi.released import load_released
from jaxepi.sequence import decode, one_hot
from jaxepi.task import PLACES, featured, predicted
from jaxepi.train.state import make_steps

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


def what_a_user_gives(case):
    """The toy's records as arguments of `Predictor.predict`: the first one, and those by name."""
    batch = case.task.collate(case.toy.records)
    inputs, _ = jax.jit(lambda b: case.task.prepare(b, jax.random.key(0), False))(batch)
    given = {name: np.asarray(batch[name]) for name in case.task.further if name in batch}
    if "distance" in given:
        missing = given["distance"] == 65535
        given = {name: np.where(missing, np.nan, array.astype(np.float32)) for name, array in given.items()}
    return (np.asarray(batch["sequence"]) if "sequence" in batch else jax.device_get(inputs)), given


def test_what_a_user_gives_is_predicted_like_records(case):
    """`accept` and `expand` make the inputs that `prepare` makes of records."""
    x, given = what_a_user_gives(case)
    values = case.predictor.predict(x, batch_size=8, **given)
    np.testing.assert_allclose(values, case.predict(case.toy.records), rtol=1e-4, atol=1e-5)


def test_features_are_what_the_head_reads(case):
    x, given = what_a_user_gives(case)
    found = case.predictor.features(x, batch_size=8, **given)
    assert found.ndim == 3 and found.shape[0] == 8 and found.dtype == np.float32 and np.ptp(found, axis=0).max() > 0
    if case.system.name in TOY:  # that records become the same inputs is tested above
        records = [part for _, part in case.predictor.over(case.toy.records, case.task, featured, 8)]
        np.testing.assert_allclose(found, np.concatenate(records), rtol=1e-4, atol=1e-5)
        assert case.predictor.features([]).shape == (0, *found.shape[1:])


def test_sequences_in_every_form_that_notebooks_have(case, tmp_path):
    if case.task.window is None:
        pytest.skip("it reads no sequence")
    x, given = what_a_user_gives(case)
    x = np.minimum(x, 3)  # of an N a one-hot array says what its maker wants
    texts = [decode(row) for row in x]
    (tmp_path / "g.fa").write_text("".join(f">{number}\n{text}\n" for number, text in enumerate(texts)))
    file, hot = pyfaidx.Fasta(str(tmp_path / "g.fa")), one_hot(x)
    expected = case.predictor.predict(x, batch_size=8, **given)
    for form in (
        texts, tuple(texts), (text for text in texts), [text.encode() for text in texts], [*map(Seq, texts)],
        [file[str(number)][:] for number in range(8)], np.array(texts), np.array(texts, "S"), np.array(texts, object),
        x.astype(np.int64), x.tolist(), hot, hot.astype(np.int8), hot.astype(bool), jnp.asarray(hot),
    ):  # fmt: skip
        np.testing.assert_allclose(case.predictor.predict(form, batch_size=8, **given), expected, atol=1e-5)
    ragged = [f"A{text}C" for text in texts]
    np.testing.assert_array_equal(case.predictor.predict(ragged, 8, pad="N", **given), expected)
    with pytest.raises(JaxepiError, match="channels before its bases"):
        case.predictor.predict(np.swapaxes(hot, 1, 2), **given)
    with pytest.raises(JaxepiError, match="Sequence 0 has .*pad="):
        case.predictor.predict(ragged, **given)


def test_a_notebook_is_told_what_is_wrong(case, tmp_path):
    x, given = what_a_user_gives(case)
    told = repr(case.predictor)
    assert case.system.name in told and str(case.task.grid) in told and case.task.tracks[0] in told
    for name in ("predict", "features"):
        method = getattr(case.predictor, name)
        for size in (0, "8", 2.5, True, None):
            with pytest.raises(JaxepiError, match="batch_size is .* but must be a whole number of at least 1"):
                method(x, batch_size=size, **given)
        with pytest.raises(JaxepiError, match=r"takes no input 'batchsize' \(did you mean 'batch_size'\?\)"):
            method(x, batchsize=8, **given)
        for wrong in (3, object(), "ACGT!" * 1000):
            with pytest.raises(JaxepiError):
                method(wrong, **given)
    for tracks in ([*case.task.tracks, "more"], [], [3] * len(case.task.tracks)):
        with pytest.raises(JaxepiError, match=rf"but the model predicts {len(case.task.tracks)} tracks"):
            jaxepi.export(case.model, tmp_path / "out.npz", tracks=tracks)
    assert not list(tmp_path.iterdir())
    for source in (123, None, ["a"], b"a", 1.5, ""):
        with pytest.raises(JaxepiError, match="was given as weights, but a path or a mapping of arrays was expected"):
            jaxepi.from_pretrained(case.system.name, source) if source is not None else jaxepi.from_pretrained(source)


def test_an_exported_file_is_recognised(case, tmp_path):
    path = tmp_path / "out.npz"
    jaxepi.export(case.model, path, tracks=case.task.tracks)
    loaded = jaxepi.load(path)
    assert loaded.system is case.system and loaded.tracks == case.task.tracks and loaded.grid == case.task.grid
    assert loaded.digest() == weights_digest(case.model)


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
