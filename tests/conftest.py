"""Fixtures for every room."""

from pathlib import Path

import numpy as np
import pytest

_PLACES = (Path(__file__).parents[2] / "shared" / "golden", Path(__file__).parent / "golden")


@pytest.fixture(scope="session")
def golden():
    """golden(system, file): the arrays of a golden file, from beside the checkout or from the copy of the tests."""

    def load(system: str, file: str):
        for place in _PLACES:
            if (place / system / file).exists():
                return np.load(place / system / file, allow_pickle=False)
        pytest.skip(f"golden file {system}/{file} is not here")

    return load
