"""A small dataset made by the very command that users run, and a config that trains on it in seconds."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TOY_CONFIG = "tests/toys/windowsum_config.py"  # of the system of docs/extending.md, which compiles in a moment


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """60 windows of 2000 bp, two tracks, splits by chromosome, from a seeded random genome."""
    folder = tmp_path_factory.mktemp("train_data")
    random = np.random.default_rng(7)
    lengths = {"chr1": 80_000, "chr8": 16_000, "chr10": 17_000}
    write_genome(folder, random, lengths)
    bigwigs = [str(folder / f"track{k}.bw") for k in range(2)]
    command = [sys.executable, "-m", "data_prep", "melody", "--fasta", str(folder / "genome.fa"), "--bigwigs", *bigwigs]
    command += ["--window", "2000", "--test-chroms", "chr8", "--drop-chroms", "none", "--out", str(folder / "dataset")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dataset"


def write_genome(folder: Path, random: np.random.Generator, lengths: dict[str, int]) -> None:
    import pyBigWig

    letters = np.frombuffer(b"ACGT", np.uint8)
    sequence = {}
    for name, length in lengths.items():
        codes = random.integers(0, 4, length)
        islands = np.repeat(random.random(length // 1000) < 0.3, 1000)[:length]
        codes = np.where(islands & (random.random(length) < 0.4), 1 + (np.arange(length) % 2), codes)
        sequence[name] = codes
    with (folder / "genome.fa").open("w") as file:
        for name, codes in sequence.items():
            file.write(f">{name}\n{letters[codes].tobytes().decode()}\n")
    for track in range(2):
        with pyBigWig.open(str(folder / f"track{track}.bw"), "w") as bigwig:
            bigwig.addHeader(list(lengths.items()))
            for name, codes in sequence.items():
                at = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
                density = np.convolve((codes == 2) | (codes == 1), np.ones(200) / 200, "same")[at]
                beta = np.clip(1.4 - 1.2 * density + 0.1 * track + random.normal(0, 0.05, at.size), 0, 1)
                beta[random.random(at.size) < 0.05] = -1
                bigwig.addEntries([name] * at.size, at.tolist(), ends=(at + 2).tolist(), values=beta.tolist())


@pytest.fixture(scope="session")
def genes(tmp_path_factory) -> Path:
    """Four folds of twelve genes each."""
    from toys.gene_dataset import write_genes

    return write_genes(tmp_path_factory.mktemp("genes") / "dataset")


@pytest.fixture(scope="session")
def compilation_cache() -> Path:
    """Programs compiled by one test are there for the next, also in other processes."""
    return Path(os.environ["JAXEPI_TEST_CACHE"])


@pytest.fixture
def config(dataset, compilation_cache):
    """The smoke variant on the small dataset."""
    spec = importlib.util.spec_from_file_location("melody_mt", ROOT / "configs" / "melody_mt.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT))
    config = module.get_config("smoke")
    config.dataset.path = str(dataset)
    config.dataset.sample = ""
    config.compilation_cache = str(compilation_cache)
    config.batch_size = config.eval_batch_size = 8
    config.model.width = 4
    return config


def flags_of(config: str, dataset: Path, cache: Path, *further: str) -> list[str]:
    """The words of a command that trains with small batches and logs every step."""
    fields = {"dataset.path": dataset, "compilation_cache": cache, "batch_size": 8, "eval_batch_size": 8}
    fields |= {"log_every": 1, "optimizer.ema_decay": 0.9}
    return [f"--config={config}", *(f"--config.{name}={value}" for name, value in fields.items()), *further]


@pytest.fixture(scope="module")
def registered():
    """The toy system is one of the known ones."""
    from jaxepi.registry import SYSTEMS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "windowsum", "toys.windowsum")
        yield


@pytest.fixture(scope="module")
def small(registered, tmp_path_factory) -> Path:
    """A dataset of the toy system: 64 windows to learn from."""
    from data_prep.build import dataset as prepared
    from toys.windowsum_recipe import WindowSumRecipe

    out = tmp_path_factory.mktemp("small") / "dataset"
    recipe = WindowSumRecipe({"train": 64, "valid": 16, "test": 16})
    prepared.build(recipe, out, {}, [], prepared.Execution(1, progress=False))
    return out


@pytest.fixture
def toy(small, compilation_cache):
    """The config of the toy system on its dataset, without evaluations."""
    from jaxepi.verbs.config_file import read_config

    config = read_config(str(ROOT / TOY_CONFIG), flags_of(TOY_CONFIG, small, compilation_cache)[1:])
    config.eval_every, config.report, config.optimizer.schedule = 0, False, "constant"
    return config
