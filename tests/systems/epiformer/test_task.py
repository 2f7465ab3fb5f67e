"""Records and users' arrays as inputs: the cut of the dataset's bins, labels, conservation, strands and shifts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.data.mixture import SharedManifest
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.registry import get_system, task_of
from jaxepi.sequence import one_hot
from jaxepi.task import Views

EPIFORMER = get_system("epiformer")
TOY = EPIFORMER.toy(0, 4)


def task_for(manifest=(), **sizes):
    return task_of(EPIFORMER, TOY.model | sizes, TOY.task, TOY.manifest | dict(manifest))


@pytest.fixture(scope="module")
def predictor():
    task = task_for()
    return Predictor(task.build_model(nnx.Rngs(0)), EPIFORMER, task, source="toy")


@pytest.fixture(scope="module")
def given():
    """Codes (4, L) and conservation (4, L) of the toy's records."""
    return tuple(np.stack([record[name] for record in TOY.records]) for name in ("sequence", "conservation"))


def test_the_bins_of_a_record_are_cut_to_those_of_the_model():
    task, record = task_for(), TOY.records[0]
    assert task.grid.crop == 2 * task.grid.bin and task.grid.values(task.window) == 12
    np.testing.assert_array_equal(task.collate([record])["target"][0], record["target"][2:14])
    whole = task_for(crop_size=0).collate([record, None])
    np.testing.assert_array_equal(whole["target"][0], record["target"])
    assert whole["row_mask"].tolist() == [1.0, 0.0] and whole["conservation"].dtype == np.float16
    cropped = task_for({"crop": 4, "bins": 14})
    np.testing.assert_array_equal(cropped.collate([record | {"target": record["target"][1:15]}])["target"][0],
                                  record["target"][2:14])  # fmt: skip


@pytest.mark.parametrize(
    ("manifest", "sizes", "told"),
    [
        ({"bin_width": 8, "bins": 8}, {}, "makes bins of 4 bp, but those of the dataset have 8 bp"),
        ({"crop": 12, "bins": 10}, {}, "predicts 12 bins .* but the dataset has 10 bins and crops 12 bp"),
        ({"bins": 13}, {}, "the dataset has 13 bins"),
        ({"crop": 2}, {}, "crops 2 bp"),
        ({"labels": False}, {"kind": "label"}, "the dataset has no labels"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(manifest, sizes, told):
    with pytest.raises(JaxepiError, match=told):
        task_for(manifest, **sizes)


def test_labels_are_targets_of_a_label_model():
    task, record = task_for(kind="label"), TOY.records[0]
    batch = task.collate([record])
    np.testing.assert_array_equal(batch["target"][0], record["label"][2:14])
    assert batch["target"].dtype == np.uint8 and task.options.label_threshold == 0.5
    _, targets = task.prepare(batch, jax.random.key(0), False)
    values = jnp.full((1, 12, 2), 0.25)
    outputs = dataclasses.make_dataclass("Outputs", ["values"])(values)
    loss = float(task.loss(outputs, targets)[0])
    share = float(record["label"][2:14].mean())
    assert loss == pytest.approx(-share * np.log(0.25) - (1 - share) * np.log(0.75), rel=1e-5)
    assert "auc_bin_per_track_mean" in task.summarize(task.metrics(outputs, targets))


def test_a_dataset_without_conservation_is_read_as_zeros(predictor, given):
    codes, conservation = given
    bare = task_for({"conservation": None})
    assert "conservation" not in bare.collate(TOY.records)
    plain = predictor.predict(codes)
    np.testing.assert_array_equal(predictor.predict(codes, conservation=np.zeros(codes.shape)), plain)
    known = predictor.predict(codes, conservation=conservation)
    assert np.abs(known - plain).max() > 1e-3
    np.testing.assert_array_equal(predictor.begin(codes.astype(np.uint8), conservation=conservation), known)
    np.testing.assert_allclose(predictor.predict(codes[0], conservation=conservation[0]), known[:1], rtol=1e-4)


def test_conservation_that_cannot_be_right_is_refused(predictor, given):
    codes, conservation = given
    for wrong, told in (
        (conservation[:, :-1], r"conservation has the shape \(4, 63\)"),
        (conservation[:2], r"shape \(2, 64\)"),
        (np.full(codes.shape, np.nan), "conservation holds NaN or infinity"),
        (np.full(codes.shape, "x"), "one number for each base"),
    ):
        with pytest.raises(JaxepiError, match=told):
            predictor.predict(codes, conservation=wrong)
    without = task_for(conservation=False)
    with pytest.raises(JaxepiError, match="trained without conservation"):
        without.accept(codes, conservation=conservation)
    assert "conservation" not in without.collate(TOY.records)


def test_an_array_of_other_windows_is_taken_with_a_warning(predictor, given):
    codes, conservation = given
    with pytest.warns(UserWarning, match="windows of 48 bp were given to a model of 64 bp: it predicts 8 bins of them"):
        shorter = predictor.predict(one_hot(codes[:, :48]), conservation=conservation[:, :48])
    assert shorter.shape == (4, 8, 2)
    for length, told in ((50, "multiples of 4 bp"), (16, "leave none")):
        with pytest.raises(JaxepiError, match=told):
            predictor.predict(one_hot(codes[:, :length]))


def test_conservation_turns_and_shifts_with_the_sequence(predictor, given):
    """Views of a window are what predicting the moved and turned arrays gives."""
    codes, conservation = given
    task, by = predictor.task, 3
    views = Views(True, (0, by))
    views.check(task, "toy")
    hot = one_hot(codes, n_value=0.0)
    moved = np.full_like(hot, task.shift_pad)
    moved[:, by:] = hot[:, :-by]
    along = np.zeros_like(conservation)
    along[:, by:] = conservation[:, :-by]
    expected = []
    for x, c in ((hot, conservation), (moved, along)):
        expected.append(predictor.predict(x, conservation=c))
        expected.append(predictor.predict(x[:, ::-1, ::-1], conservation=c[:, ::-1])[:, ::-1])
    made = predictor.predict(codes, conservation=conservation, rc=True, shifts=(0, by))
    np.testing.assert_allclose(made, np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)


def test_datasets_that_differ_in_conservation_are_told():
    bare = {name: value for name, value in TOY.manifest.items() if name != "conservation"}
    with pytest.raises(JaxepiError, match="differ in 'conservation'"):
        task_of(EPIFORMER, TOY.model, TOY.task, SharedManifest([TOY.manifest, bare]))
