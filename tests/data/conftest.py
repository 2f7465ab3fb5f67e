"""A small dataset directory, written as the benchmark writes its own, for the tests of jaxepi.data."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def benchmark() -> ModuleType:
    """benchmarks/input_pipeline.py as a module."""
    spec = importlib.util.spec_from_file_location("input_pipeline", REPOSITORY / "benchmarks" / "input_pipeline.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _master(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "dataset"
    benchmark.write_synthetic_dataset(path, {"train": [9, 1, 13], "valid": [5]}, tracks=3, window=2000)
    return path


@pytest.fixture
def dataset_dir(_master: Path, tmp_path: Path) -> Path:
    """23 training records in three shards and 5 validation records; a copy that a test may damage."""
    return Path(shutil.copytree(_master, tmp_path / "dataset"))
