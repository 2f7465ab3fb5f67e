"""Runs that version 0.1 trained, before the rooms were rebuilt: they load, evaluate, predict and go on training."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import jaxepi
from jaxepi.data import open_dataset
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.runs.verify import verify
from jaxepi.trained import restore_model

ARCHIVE = Path(__file__).parents[1] / "golden" / "runs" / "version_0.1.tar.gz"
SYSTEMS = ["chromoformer", "deepcpg", "melody"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders <system>/{run,dataset} with what version 0.1 predicted of a split and measured on it."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def config_of(runs):
    def make(system):
        config = restore_model(runs / system / "run").config
        config.dataset.path = str(runs / system / "dataset")
        return config

    return make


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_predicts_the_same(runs, system):
    predictor = jaxepi.load(runs / system / "run")
    records = open_dataset(runs / system / "dataset").split("fold1" if system == "chromoformer" else "test")
    expected = np.load(runs / system / "predictions.npy")
    values = predictor.predict(records)
    assert predictor.system.name == system and values.shape[0] == len(records) == len(expected)
    np.testing.assert_allclose(values.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_evaluates_to_the_same_numbers(runs, system, config_of, tmp_path):
    run = Path(shutil.copytree(runs / system / "run", tmp_path / "run"))
    results = evaluate_run(run, config_of(system), None, report=False)
    expected = json.loads((runs / system / "summary.json").read_text())
    assert set(results) == set(expected)
    for split, numbers in expected.items():
        for name, value in numbers.items():
            assert results[split].summary[name] == pytest.approx(value, rel=1e-4, abs=1e-5), (split, name)


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_is_whole(runs, system):
    for folder in ("run", "dataset"):
        found = list(verify(runs / system / folder))
        assert found and {one.state for one in found} == {"whole"}, "\n".join(map(str, found))
