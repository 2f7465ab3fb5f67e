"""The golden networks of the Basenji programs."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def original_params(golden_path):
    """original_params(name): the section `model` of the params.json of a golden network."""
    content = json.loads(golden_path("basenji", "params.json").read_text())
    return content.__getitem__


@pytest.fixture(scope="session")
def golden_weights(golden):
    """golden_weights(name): Keras's names -> float32 arrays, those of all heads."""

    def load(name: str) -> dict[str, np.ndarray]:
        file = golden("basenji", f"{name}.npz")
        return {key[6:]: file[key].astype(np.float32) for key in file.files if key.startswith("param:")}

    return load
