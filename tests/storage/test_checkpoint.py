import errno
import gc
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.storage.checkpoint import Checkpoints, checksum
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


def change_the_description(folder):
    """A flipped bit in what is told about the state."""
    path = folder / "meta" / "metadata"
    path.write_text(path.read_text().replace("step 20", "step 21"))


DAMAGES = [damage_nothing_but_truncate, remove_the_description, change_the_checksum, change_the_description]


@pytest.mark.parametrize("damage", DAMAGES)
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


def test_all_damaged_is_an_error_that_says_what_to_do(saved, capfd):
    for step in ("10", "20"):
        damage_nothing_but_truncate(saved / step)
    with pytest.raises(JaxepiError, match=r"None of the 2 checkpoint\(s\) .* can be read; restore them from a copy"):
        Checkpoints(saved).restore_newest(abstract(), warn=lambda text: None)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("file", ["d/*", "manifest.ocdbt"])
def test_errors_of_other_arrays_are_not_printed(saved, file, capfd):
    for path in (saved / "20" / "state").glob(file):
        path.write_bytes(b"") if file == "d/*" else path.unlink()
    warnings = []
    Checkpoints(saved).restore_newest(abstract(), warnings.append)
    gc.collect()
    assert len(warnings) == 1 and capfd.readouterr().err == ""


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


def test_what_a_kill_left_half_written_goes_when_the_holder_of_the_lock_opens_the_folder(saved):
    for name in ("30.orbax-checkpoint-tmp", "30.orbax-checkpoint-tmp-1700000000"):
        (saved / name / "state").mkdir(parents=True)
        (saved / name / "state" / "d").write_bytes(b"half")
    assert Checkpoints(saved).steps() == [20, 10]  # a reader leaves alone what another process may be writing
    assert len(list(saved.glob("30*"))) == 2
    checkpoints = Checkpoints(saved, owner=True)
    assert checkpoints.steps() == [20, 10] and not list(saved.glob("30*"))
    checkpoints.save(30, state(30.0), {})
    checkpoints.close()
    assert Checkpoints(saved).steps() == [30, 20]


def test_a_description_that_was_not_saved_so_is_noticed_by_every_reader(saved):
    change_the_description(saved / "20")
    with pytest.raises(ValueError, match="its description does not match its checksum"):
        Checkpoints(saved).meta(20)
    with pytest.raises(JaxepiError, match=r"20 is damaged \(its description does not match its checksum\)"):
        restore_model(saved.parent)
    assert Checkpoints(saved).meta(10)["note"] == "step 10"


def test_a_description_of_an_earlier_version_has_no_checksum(saved):
    path = saved / "20" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    del meta["meta_checksum"]
    path.write_text(json.dumps(meta | {"note": "of old"}))
    restored, meta = Checkpoints(saved).restore_newest(abstract(), warn=pytest.fail)
    assert meta["note"] == "of old" and float(restored["w"][0, 0]) == 20


def test_a_description_is_replaced_and_the_state_stays(saved):
    checkpoints = Checkpoints(saved)
    checkpoints.describe(20, {"note": "told anew", "evaluated": 20})
    checkpoints.close()
    restored, meta = Checkpoints(saved).restore_newest(abstract(), warn=pytest.fail)
    np.testing.assert_array_equal(restored["w"], 20.0)
    assert meta["note"] == "told anew" and meta["evaluated"] == meta["step"] == 20


def test_one_that_goes_is_never_half(saved, monkeypatch):
    """It is moved away whole and then removed; a kill in between leaves it to the next start."""
    monkeypatch.setattr(Checkpoints, "_empty", lambda self: None)
    checkpoints = Checkpoints(saved, keep=1, owner=True)
    checkpoints.save(30, state(30.0), {})
    checkpoints.close()
    assert sorted(path.name for path in (saved / "deleted").iterdir()) == ["10", "20"]
    monkeypatch.undo()
    assert Checkpoints(saved).steps() == [30] and (saved / "deleted").exists()
    checkpoints = Checkpoints(saved, keep=1, owner=True)
    assert not (saved / "deleted").exists()
    checkpoints.save(40, state(40.0), {})
    checkpoints.remove_after(30)
    checkpoints.close()
    assert [path.name for path in saved.iterdir()] == []


def test_that_of_an_interrupted_start_displaces_no_regular_one_and_goes_with_the_next(tmp_path):
    def reopened():
        return Checkpoints(tmp_path, keep=2, owner=True)

    checkpoints = reopened()
    for step in (8, 10):
        checkpoints.save(step, state(step), {})
    checkpoints.save(11, state(11), {}, passing=True)
    checkpoints.close()
    assert reopened().steps() == [11, 10, 8]
    checkpoints = reopened()
    checkpoints.save(12, state(12), {})
    checkpoints.close()
    assert reopened().steps() == [12, 10]


def test_the_last_step_of_an_interrupted_run_may_turn_out_to_be_a_regular_one(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1, owner=True)
    checkpoints.save(11, state(11), {}, passing=True)
    checkpoints.describe(11, {})
    checkpoints.save(12, state(12), {}, passing=True)
    checkpoints.close()
    assert Checkpoints(tmp_path, keep=1, owner=True).steps() == [12, 11]


def test_what_a_kill_kept_from_being_removed_goes_when_its_successor_is_met_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, owner=True)
    for step in (8, 12):
        checkpoints.save(step, state(step), {})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=1, owner=True)
    assert checkpoints.steps() == [12, 8]
    checkpoints.save(12, state(12), {})
    checkpoints.close()
    assert Checkpoints(tmp_path).steps() == [12]


def test_ctrl_c_while_a_checkpoint_is_read_is_no_damage(saved, monkeypatch):
    checkpoints = Checkpoints(saved, keep=2, owner=True)
    read = ocp.CheckpointManager.restore

    def interrupted(*args, **kwargs):
        if "state" in kwargs["args"]:
            os.kill(os.getpid(), signal.SIGINT)
        return read(*args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "restore", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.restore_newest(abstract(), warn=pytest.fail)
    assert checkpoints.steps() == [20, 10] and not (saved.parent / "damaged").exists()
