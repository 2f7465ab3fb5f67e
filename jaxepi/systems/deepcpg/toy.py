"""A made-up dataset of CpG sites in a few cells, for tests and benchmarks."""

import numpy as np

from jaxepi.sequence import C, G, N
from jaxepi.system import Toy
from jaxepi.systems.deepcpg.task import NO_DISTANCE, NO_STATE

CELLS = ("cellA", "cellB", "cellC")
STATISTICS = ("cpg_stats/cat_var", "cpg_stats/entropy", "cpg_stats/mean", "cpg_stats/var")


def toy(seed: int = 0, records: int = 8, *, window: int = 41, neighbours: int = 6) -> Toy:
    """Sites whose methylation follows the base before the CpG; one neighbour in ten and a third of the labels miss."""
    random = np.random.default_rng(seed)
    manifest = {
        "kind": "deepcpg", "window": window, "neighbours": neighbours, "max_distance": 25_000, "cells": list(CELLS),
        "binary_cells": [True] * len(CELLS), "statistics": list(STATISTICS), "annotations": [],
        "tracks": [f"cpg/{cell}" for cell in CELLS] + list(STATISTICS),
        "class_counts": {f"cpg/{cell}": [10, 10] for cell in CELLS},
    }  # fmt: skip
    made = [_record(random, window, neighbours, number) for number in range(records)]
    return Toy(manifest, made, {"network": "JointL1h512_CnnL1h128_FcAvg", "joint_hidden": 8, "hidden": 8}, {})


def _record(random: np.random.Generator, window: int, neighbours: int, number: int) -> dict[str, object]:
    sequence, middle, cells = random.integers(0, 4, window).astype(np.uint8), window // 2, len(CELLS)
    sequence[[0, middle, middle + 1]] = N, C, G
    level = np.clip(0.2 + 0.6 * (sequence[middle - 1] > 1) + random.normal(0, 0.05), 0, 1)
    state = (random.random((cells, neighbours)) < level).astype(np.uint8)
    distance = random.integers(1, 25_000, (cells, neighbours)).astype(np.uint16)
    missing = random.random((cells, neighbours)) < 0.1
    cell = np.flatnonzero(random.random(cells) < 0.7).astype(np.uint16)
    value = (random.random(len(cell)) < level).astype(np.uint8)
    mean = value.mean() if len(value) > 1 else np.nan
    var = mean * (1 - mean)
    kind = np.digitize(var, [0.084, 0.167]) if len(value) > 1 else np.nan
    return {
        "key": f"chr1:{number * 10}", "chrom": "chr1", "start": number * 10, "sequence": sequence,
        "state": np.where(missing, NO_STATE, state).astype(np.uint8),
        "distance": np.where(missing, NO_DISTANCE, distance).astype(np.uint16), "cell": cell, "value": value,
        "statistics": np.array([kind, 2 * var, mean, var], np.float32), "annotation": np.zeros(0, np.uint8),
    }  # fmt: skip
