"""Fixtures for every room, and what all tests and the programs that they start have in common."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

# A program of one test is there for the next, for other workers and for other processes: all share one folder.
if "JAXEPI_TEST_CACHE" not in os.environ:
    os.environ["JAXEPI_TEST_CACHE"] = tempfile.mkdtemp(prefix="jaxepi-tests-")
    atexit.register(shutil.rmtree, os.environ["JAXEPI_TEST_CACHE"], ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["JAXEPI_TEST_CACHE"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # also the small ones of single operations
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # broadcasting by accident is an error
os.environ["JAX_PLATFORMS"] = "cpu"
# Compilation is most of the time of small models: few optimizations, unless the environment says 0.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# A parent that ignores Ctrl-C, as a shell does for its background jobs, would make every child ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

# The same few examples in every run; pytest --hypothesis-profile=long draws many, others each time, and shrinks.
settings.register_profile(
    "short", derandomize=True, deadline=None, max_examples=30, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.register_profile(
    "long", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("short")

pytest_plugins = ["toys.sequences", "toys.runs", "toys.sites", "toys.splits"]

_PLACES = (Path(__file__).parent / "golden", Path(__file__).parents[2] / "shared" / "golden")


def pytest_collection_modifyitems(items):
    """Files that take longest come first, so that several workers end together."""
    first = ("tests/train/", "tests/contract/", "tests/systems/", "tests/runs/")

    def rank(item) -> int:
        place = item.nodeid.replace("\\", "/")
        return next((number for number, start in enumerate(first) if place.startswith(start)), len(first))

    items.sort(key=rank)


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
