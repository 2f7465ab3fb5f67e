"""The golden Melody weights as a state dict of the original."""

import numpy as np
import pytest


@pytest.fixture
def mt_weights(golden) -> dict[str, np.ndarray]:
    """Original name -> float32 array of the width-16, three-track model."""
    file = golden("melody", "melody_mt_w16.npz")
    return {key[6:]: file[key].astype(np.float32) for key in file.files if key.startswith("param:")}
