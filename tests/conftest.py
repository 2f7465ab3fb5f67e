"""Fixtures for every room."""

from pathlib import Path

import jax
import numpy as np
import pytest

pytest_plugins = ["toys.sequences", "toys.runs", "toys.sites", "toys.splits"]

_PLACES = (Path(__file__).parent / "golden", Path(__file__).parents[2] / "shared" / "golden")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of a module are of no use to the next; kept, they would fill gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def golden():
    """golden(system, file): the arrays of a golden file, from the copy of the tests, else from beside the checkout."""

    def load(system: str, file: str):
        for place in _PLACES:
            if (place / system / file).exists():
                return np.load(place / system / file, allow_pickle=False)
        pytest.skip(f"golden file {system}/{file} is not here")

    return load


@pytest.fixture(scope="session")
def golden_path():
    """golden_path(system, name): a golden file or folder, found as `golden` finds it."""

    def find(system: str, name: str) -> Path:
        for place in _PLACES:
            if (place / system / name).exists():
                return place / system / name
        pytest.skip(f"golden {system}/{name} is not here")

    return find


@pytest.fixture
def mt_weights(golden) -> dict[str, np.ndarray]:
    """Original name -> float32 array of the golden Melody of width 16 with three tracks."""
    file = golden("melody", "melody_mt_w16.npz")
    return {key[6:]: file[key].astype(np.float32) for key in file.files if key.startswith("param:")}
