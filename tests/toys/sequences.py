"""A tiny model with random weights as a file, and a small genome with many CpGs."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.predictor import Predictor
from jaxepi.systems.melody.model import Melody, MelodyConfig

WINDOW = 2000
LENGTHS = {"chr1": 13_000, "chr10": 5_000, "chr2": 2_000, "short": 700}


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Released-style file of a width-4, two-track model whose predictions spread over [0, 1]."""
    model = Melody(MelodyConfig(width=4, tracks=2), rngs=nnx.Rngs(0))
    last = model.head_signal.convs[-1]
    last.kernel.set_value(last.kernel[...] + jax.random.normal(jax.random.key(1), last.kernel.shape))
    path = tmp_path_factory.mktemp("weights") / "tiny.npz"
    jaxepi.export(model, path, tracks=["liver", "B cells/naive"])
    return path


@pytest.fixture(scope="session")
def predictor(weights) -> Predictor:
    return jaxepi.load(weights, window=WINDOW)


@pytest.fixture(scope="session")
def fasta(tmp_path_factory) -> Path:
    """Four contigs; every tenth dinucleotide or so is a CG."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    with open(path, "w") as file:
        for name, length in LENGTHS.items():
            letters = rng.choice(list("ACGTacgtN"), length, p=[0.12] * 8 + [0.04])
            letters[1::17], letters[2::17] = "C", "G"
            letters = letters[:length]
            file.write(f">{name}\n")
            file.writelines("".join(letters[i : i + 50]) + "\n" for i in range(0, length, 50))
    return path
