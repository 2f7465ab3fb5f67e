"""--overwrite deletes datasets of this program, and nothing else."""

import json
import shutil

import pytest

from data_prep.build.replace import check_replaceable
from jaxepi.errors import JaxepiError


@pytest.fixture
def dataset(tmp_path):
    """A folder that looks like a dataset."""
    out = tmp_path / "d"
    out.mkdir()
    for name in ("record_index.npz", "dataset_info.json", "features.json", "melody-train.tfrecord-00000-of-00001"):
        (out / name).write_text("x")
    (out / "manifest.json").write_text(json.dumps({"fingerprint": "f", "jaxepi_version": "1", "inputs": []}))
    return out


def test_a_dataset_an_empty_folder_and_nothing_may_be_replaced(dataset, tmp_path):
    other = tmp_path / "track.bw"
    other.write_text("x")
    check_replaceable(dataset, [{"role": "track", "path": str(other)}])
    check_replaceable(tmp_path / "none", [])
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty", [])


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"fingerprint": 1'])
def test_other_folders_are_not_touched(dataset, manifest):
    (dataset / "manifest.json").unlink()
    if manifest is not None:
        (dataset / "manifest.json").write_text(manifest)
    with pytest.raises(JaxepiError, match="is no dataset of data_prep .*remove the folder yourself"):
        check_replaceable(dataset, [])


def test_what_lies_beside_a_dataset_is_named(dataset):
    (dataset / "thesis.txt").write_text("precious")
    with pytest.raises(JaxepiError, match="holds 'thesis.txt' beside its dataset"):
        check_replaceable(dataset, [])


def test_files_are_not_replaced(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(JaxepiError, match="is a file, so --overwrite does not delete it"):
        check_replaceable(tmp_path / "f", [])


def test_inputs_are_never_deleted(dataset, tmp_path):
    inside = dataset / "record_index.npz"
    link = tmp_path / "link"
    link.symlink_to(dataset)
    for out, path in ((dataset, inside), (dataset, dataset), (dataset, tmp_path), (link, inside), (dataset, link)):
        with pytest.raises(JaxepiError, match="would delete .*, which holds, or lies in, an input of this command"):
            check_replaceable(out, [{"role": "npy", "path": str(path)}])


def test_the_command_deletes_neither_its_inputs_nor_a_foreign_folder(world, prepare):
    before = {path.name: path.read_bytes() for path in world.folder.iterdir()}
    status, _, err = prepare(world.argv(world.folder, "--overwrite"))
    assert status == 2 and "which holds, or lies in, an input" in err
    (world.folder / "notes").mkdir()
    (world.folder / "notes" / "thesis.txt").write_text("precious")
    status, _, err = prepare(world.argv(world.folder / "notes", "--overwrite"))
    assert status == 2 and "is no dataset of data_prep" in err
    assert (world.folder / "notes" / "thesis.txt").read_text() == "precious"
    shutil.rmtree(world.folder / "notes")
    after = {path.name: path.read_bytes() for path in world.folder.iterdir() if path.suffix != ".fai"}
    assert after == before
