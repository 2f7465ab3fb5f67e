"""Finding the data of a run."""

import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jaxepi.config import dataset_source
from jaxepi.data import Dataset, Mixture
from jaxepi.data import open as opening
from jaxepi.data.open import find_dataset
from jaxepi.errors import JaxepiError


def test_one_dataset(dataset_dir: Path) -> None:
    dataset = find_dataset(str(dataset_dir), kinds=("melody",))
    assert isinstance(dataset, Dataset) and dataset.parts == {"dataset": dataset}
    assert find_dataset("nowhere", paths=(dataset_dir,)).path == dataset_dir
    with pytest.raises(JaxepiError, match="is of kind 'melody', but 'coverage' was asked for"):
        find_dataset(dataset_dir, kinds=("coverage",))


def test_several_datasets_are_a_mixture(dataset_dir: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(dataset_dir, tmp_path / "other"))
    with pytest.raises(JaxepiError, match="other is the same dataset as"):
        find_dataset("", paths=(dataset_dir, other))
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace("synthetic-0", "synthetic-1"))
    mixture = find_dataset("", paths=(dataset_dir, other))
    assert isinstance(mixture, Mixture) and mixture.splits == {"train": 46, "valid": 10}
    with pytest.raises(JaxepiError, match="There is no dataset at nowhere: make it with `prep x`"):
        find_dataset("", paths=(dataset_dir, "nowhere"), command="prep x")


def test_nothing_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(JaxepiError, match="There is no dataset at .*none: make it with `prep x`, point --config"):
        find_dataset(tmp_path / "none", command="prep x")


def test_a_sample_is_made_first(dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(name: str, path: Path) -> None:
        made.append(name)
        shutil.copytree(dataset_dir, path)

    monkeypatch.setattr(opening, "_make_sample", make)
    sample = {"sample": "toy-sample", "command": f"python -m data_prep toy-sample --out {tmp_path / 'sample'}"}
    for _ in range(2):
        assert find_dataset(tmp_path / "sample" / "dataset", **sample).kind == "melody"
    assert made == ["toy-sample"]


def test_a_sample_is_made_at_no_other_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_make_sample", lambda *more: pytest.fail("written"))
    sample = {"sample": "toy-sample", "command": "python -m data_prep toy-sample --out data/toy"}
    with pytest.raises(JaxepiError, match=r"no dataset at .*typo, and the embedded sample is made at data/toy/dataset"):
        find_dataset(tmp_path / "typo", **sample)
    with pytest.raises(JaxepiError, match="There is no dataset at .*x: make it with `toy`"):
        find_dataset(tmp_path / "x", sample="toy-sample", command="toy")
    assert not list(tmp_path.iterdir())


def test_the_config_says_where() -> None:
    section = {"path": "data/x", "sample": "s", "command": "c", "readers": 4}
    expected = {"path": "data/x", "paths": (), "sample": "s", "command": "c"}
    assert dataset_source(ConfigDict({"dataset": section})) == expected, "a config of before paths"
    several = ConfigDict({"dataset": section | {"paths": ("a", "b")}})
    assert dataset_source(several) == expected | {"paths": ("a", "b")}
