"""The task: where values lie, what training does to windows, and datasets that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.sequence import NOTHING, one_hot, reverse_complement
from jaxepi.systems.basenji import SYSTEM
from jaxepi.systems.basenji.params import translate
from jaxepi.systems.basenji.presets import AKITA, BASSET
from jaxepi.systems.basenji.task import BasenjiTask
from jaxepi.systems.basenji.toy import toy
from jaxepi.task import Grid
from jaxepi.windows import moved


@pytest.fixture(scope="module")
def made():
    return toy(0, 6)


def task_for(made, model=None, task=None, tracks=(), **manifest) -> BasenjiTask:
    sections = {**made.model, **(model or {})}
    return BasenjiTask(sections, task or {}, {**made.manifest, **manifest}, tracks)


def test_the_dataset_decides_window_units_and_grid(made):
    task = task_for(made)
    assert task.grid == Grid("bin", bin=32, crop=64) and task.model_config.window == 640
    assert task.model_config.units(0) == 3 and task.strand_pair == (0, 2, 1)
    one = task_for(made, tracks=("track_0",))
    assert one.model_config.units(0) == 1 and one.strand_pair is None
    both = task_for(made, tracks=("track_2", "track_1"))
    assert both.strand_pair == (1, 0)
    batch = both.collate(made.records[:2])
    np.testing.assert_array_equal(batch["target"][0], made.records[0]["target"][:, [2, 1]])


def test_grids_of_the_papers():
    model = translate(BASSET).model
    manifest = {"kind": "coverage", "window": 1344, "tracks": [f"t{i}" for i in range(164)]}
    told = {"bins": 1, "bin_width": 192, "crop": 576}
    assert BasenjiTask(model, {}, manifest | told).grid == BasenjiTask(model, {}, manifest).grid
    assert BasenjiTask(model, {}, manifest).grid == Grid("bin", bin=192, crop=576)
    akita = {"kind": "coverage", "window": 1_048_576, "tracks": list("abcde")}
    grid = BasenjiTask(translate(AKITA).model, {}, akita).grid
    assert grid == Grid("pair", bin=2048, crop=65_536, diagonal=2) and grid.values(1_048_576) == 99_681
    flat = {"trunk": [{"name": "Flatten"}], "heads": [{"name": "Dense"}], "head_names": ["head"]}
    assert BasenjiTask(flat, {}, {"window": 8, "tracks": ["a"]}).grid == Grid("site")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"bins": 15}, r"makes 16 values of a window of 640 bp \(32 bp a bin, 64 bp .*but the dataset has 15 of 32"),
        ({"bin_width": 64}, "makes bins of 32 bp, but those of the dataset have 64 bp"),
        ({"model": {"heads": ({"name": "final", "units": 5},)}}, "predicts 5 tracks, but the dataset has 3"),
        ({"task": {"head": 1}}, r"config.task.head is 1, but the model has 1 head"),
        ({"tracks": ("track_1",)}, "has 'track_1' without 'track_2', its track of the other strand"),
        ({"task": {"strand_pair": (0, 2, 2)}}, "each of the 3 tracks was expected once"),
        ({"task": {"shift": -1}}, "config.task.shift is -1, but must be a whole number, at least 0"),
        ({"window": 64}, "too short for this network"),
    ],
)
def test_what_does_not_fit_is_told(made, changed, told):
    with pytest.raises(JaxepiError, match=told):
        task_for(made, **changed)


def prepared(task, records, seed):
    batch = task.collate(records)
    return jax.jit(lambda batch, key: task.prepare(batch, key, True))(batch, jax.random.key(seed))


def seen_views(task, records, inputs, targets) -> list[tuple[bool, int]]:
    """Which flip and shift of its record each row of a training batch is."""
    views = []
    for row, record in enumerate(records):
        for flip in (False, True):
            codes = reverse_complement(record["sequence"]) if flip else record["sequence"]
            target = record["target"].astype(np.float32)
            target = target[::-1][:, [0, 2, 1]] if flip else target
            for by in range(-2, 3):
                code = np.asarray(moved(jnp.asarray(codes[None]), jnp.array([by]), 2, NOTHING))
                x = one_hot(code, n_value=0.0)[0]
                x[code[0] == NOTHING] = task.objective.shift_pad
                if np.array_equal(x, inputs["x"][row]):
                    np.testing.assert_array_equal(targets["target"][row], target)
                    views.append((flip, by))
    return views


def test_each_training_window_has_its_own_flip_and_shift(made):
    task = task_for(made, task={"reverse_complement": True, "shift": 2, "shift_pad": 0.25})
    views = seen_views(task, made.records, *prepared(task, made.records, 0))
    assert len(views) == 6 and {flip for flip, _ in views} == {False, True} and len({by for _, by in views}) > 2
    plain, _ = task.prepare(task.collate(made.records), jax.random.key(0), False)
    np.testing.assert_array_equal(plain["x"], one_hot(np.stack([r["sequence"] for r in made.records]), n_value=0.0))
    assert "rng" not in plain


def test_the_original_draws_once_a_batch(made):
    task = task_for(made, task={"reverse_complement": True, "shift": 2, "one_draw_per_batch": True})
    drawn = [seen_views(task, made.records, *prepared(task, made.records, seed)) for seed in range(4)]
    assert all(len(views) == 6 and len(set(views)) == 1 for views in drawn)
    assert len({views[0] for views in drawn}) > 1


def test_an_n_is_a_row_of_zeros(made):
    task = task_for(made)
    record = {**made.records[0], "sequence": np.full(640, 4, np.uint8)}
    inputs, _ = task.prepare(task.collate([record]), jax.random.key(0), False)
    assert not inputs["x"].any() and not task.expand(task.accept("N" * 640))["x"].any()


def test_loss_is_keras_poisson_and_the_penalty(made):
    task = task_for(made, model={"l2_scale": 1e-3})
    model = task.build_model(nnx.Rngs(0))

    @nnx.jit
    def run(model, batch):
        inputs, targets = task.prepare(batch, jax.random.key(0), False)
        outputs = task.apply(model, inputs)
        return task.loss(outputs, targets), task.values(outputs), targets["target"], model.penalty()

    (loss, terms), p, t, penalty = run(model, task.collate([*made.records[:3], None]))
    expected = (p[:3] - t[:3] * jnp.log(p[:3] + 1e-7)).mean()
    np.testing.assert_allclose(terms["fit"], expected, rtol=1e-5)
    np.testing.assert_allclose(loss, expected + penalty, rtol=1e-5)
    assert float(penalty) > 0


@pytest.fixture(scope="module")
def predictor(made):
    task = task_for(made)
    return Predictor(task.build_model(nnx.Rngs(0)), SYSTEM, task, source="toy")


def test_both_strands_are_seen_alike(predictor, made):
    """The mean over strands of a window and of its reverse complement are mirror images, tracks of strands swapped."""
    codes = np.stack([record["sequence"] for record in made.records])
    one = predictor.predict(codes, rc=True)
    other = predictor.predict(reverse_complement(codes), rc=True)
    np.testing.assert_allclose(other, one[:, ::-1][..., [0, 2, 1]], rtol=1e-4, atol=1e-5)
    assert not np.allclose(one, predictor.predict(codes), rtol=1e-2)


def test_records_have_the_views_that_windows_have(predictor, made):
    class Split(list):
        manifest = made.manifest

    codes = np.stack([record["sequence"] for record in made.records])
    views = {"rc": True, "shifts": (2, -1)}
    made_of_records = predictor.predict(Split(made.records), **views)
    np.testing.assert_allclose(made_of_records, predictor.predict(codes, **views), rtol=1e-4, atol=1e-5)
    shifted = [np.asarray(moved(jnp.asarray(codes), jnp.full(len(codes), by), 2, NOTHING)) for by in (2, -1)]
    expected = np.mean([predictor.predict(one_hot(each, n_value=0.0)) for each in shifted], axis=0)
    np.testing.assert_allclose(predictor.predict(codes, shifts=[2, -1]), expected, rtol=1e-4, atol=1e-5)


def test_wrong_views_are_told(predictor):
    for options, told in (
        ({"rc": 1}, "rc is 1, but must be True or False"),
        ({"shifts": ()}, r"shifts is \(\), but one or more whole numbers of bp"),
        ({"shifts": 1.5}, r"shifts is \(1.5,\), but"),
        ({"shifts": (0, 640)}, "shifts has 640 bp, but the window of toy has only 640 bp"),
    ):
        with pytest.raises(JaxepiError, match=told):
            predictor.predict("A" * 640, **options)
    with pytest.raises(JaxepiError, match="takes no input 'rc'"):
        predictor.features("A" * 640, rc=True)
