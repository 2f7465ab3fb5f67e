import errno

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints, checksum
from jaxepi.train.best import Best
from jaxepi.trained import restore_model


def state(value: float) -> dict:
    return {"w": jnp.full((3, 4), value), "step": jnp.asarray(7, jnp.int32), "flag": jnp.asarray(True)}


def abstract() -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state(0.0))


@pytest.fixture
def saved(tmp_path):
    """Steps 10 and 20 on disk."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=5)
    for step in (10, 20):
        checkpoints.save(step, state(float(step)), {"note": f"step {step}"})
    checkpoints.close()
    return tmp_path / "checkpoints"


def test_the_newest_comes_back_with_its_description(saved):
    restored, meta = Checkpoints(saved).restore_newest(abstract(), warn=pytest.fail)
    np.testing.assert_array_equal(restored["w"], 20.0)
    assert meta["step"] == 20 and meta["note"] == "step 20"


def test_nothing_saved_is_none(tmp_path):
    assert Checkpoints(tmp_path / "none").restore_newest(abstract(), warn=pytest.fail) is None


def damage_nothing_but_truncate(folder):
    for file in (folder / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove_the_description(folder):
    (folder / "meta" / "metadata").unlink()


def change_the_checksum(folder):
    """Stands for a flipped bit that the storage itself does not notice."""
    path = folder / "meta" / "metadata"
    text = path.read_text()
    path.write_text(text.replace('"checksum": ', '"checksum": 1'))
    assert path.read_text() != text


@pytest.mark.parametrize("damage", [damage_nothing_but_truncate, remove_the_description, change_the_checksum])
def test_a_damaged_one_is_named_set_aside_and_the_one_before_is_taken(saved, damage):
    damage(saved / "20")
    warnings = []
    checkpoints = Checkpoints(saved)
    restored, meta = checkpoints.restore_newest(abstract(), warnings.append)
    np.testing.assert_array_equal(restored["w"], 10.0)
    assert meta["step"] == 10
    assert len(warnings) == 1 and f"{saved}/20 is damaged" in warnings[0]
    assert (saved.parent / "damaged" / "checkpoints-20").is_dir() and checkpoints.steps() == [10]
    checkpoints.save(20, state(20.0), {})  # the run comes to this step again
    checkpoints.close()
    assert Checkpoints(saved).steps() == [20, 10]


def test_all_damaged_is_an_error_that_says_what_to_do(saved):
    for step in ("10", "20"):
        damage_nothing_but_truncate(saved / step)
    with pytest.raises(JaxepiError, match=r"None of the 2 checkpoint\(s\) .* can be read; restore them from a copy"):
        Checkpoints(saved).restore_newest(abstract(), warn=lambda text: None)


def test_another_model_is_not_damage(saved):
    other = {**abstract(), "w": jax.ShapeDtypeStruct((3, 5), jnp.float32)}
    with pytest.raises(JaxepiError, match=r"20 holds w with shape \(3, 4\), but the config makes \(3, 5\)"):
        Checkpoints(saved).restore_newest(other, warn=pytest.fail)
    assert (saved / "20").is_dir()


def test_a_full_disk_is_told_and_earlier_checkpoints_stay(saved, monkeypatch):
    checkpoints = Checkpoints(saved)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(JaxepiError, match=r"Cannot write a checkpoint .*No space left on device.*untouched: make room"):
        checkpoints.save(30, state(30.0), {})
    assert Checkpoints(saved).steps() == [20, 10]


def test_the_checksum_sees_every_bit_and_its_place():
    base = checksum(state(1.0))
    assert checksum(state(1.0)) == base
    flipped = state(1.0)
    flipped["w"] = flipped["w"].at[2, 1].set(np.nextafter(np.float32(1), np.float32(2)))
    swapped = state(1.0)
    swapped["w"] = swapped["w"].at[0, 0].set(2.0)
    moved = state(1.0)
    moved["w"] = moved["w"].at[0, 1].set(2.0)
    assert len({base, checksum(flipped), checksum(swapped), checksum(moved)}) == 4


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(JaxepiError, match="No checkpoint in .*; expected the --workdir of a run"):
        restore_model(tmp_path)


def test_best_keeps_the_best_and_ties_keep_the_earlier(tmp_path):
    best = Best(tmp_path / "best", "auc", "max", patience=2)
    assert best.update(1, 0.5) and not best.update(2, 0.5) and not best.update(3, float("nan"))
    assert best.out_of_patience() and best.step == 1
    assert best.update(4, 0.6) and not best.out_of_patience()
    best.save(4, state(4.0), {})
    assert best.update(5, 0.7)
    best.save(5, state(5.0), {})
    best.close()
    assert Checkpoints(tmp_path / "best").steps() == [5]


def test_best_by_the_smallest_and_after_a_resume(tmp_path):
    first = Best(tmp_path / "best", "loss", "min")
    assert first.update(1, 2.0) and first.update(2, 1.0)
    first.save(2, state(2.0), {})
    first.close()
    again = Best(tmp_path / "best", "loss", "min")
    again.from_json({"metric": "loss", "value": 2.0, "step": 1, "since": 0})
    assert not again.update(2, 3.0) and again.update(3, 1.5)
    again.save(3, state(3.0), {})
    again.close()
    assert Checkpoints(tmp_path / "best").steps() == [3]
    with pytest.raises(JaxepiError, match="'maximum', but must be 'max' or 'min'"):
        Best(tmp_path / "best", "loss", "maximum")


def test_a_best_ahead_of_the_resumed_step_is_met_again(tmp_path):
    ahead = Best(tmp_path / "best", "auc", "max")
    ahead.update(9, 0.9)
    ahead.save(9, state(9.0), {})
    ahead.close()
    resumed = Best(tmp_path / "best", "auc", "max")
    resumed.from_json({"metric": "auc", "value": None, "step": None, "since": 0})
    assert resumed.update(6, 0.6)
    resumed.save(6, state(6.0), {})
    resumed.close()
    assert Checkpoints(tmp_path / "best").steps() == [6]
