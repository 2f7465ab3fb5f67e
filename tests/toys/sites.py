"""The real demo genes of Chromoformer, where they are, and a small made-up DeepCpG dataset."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.build import dataset as prepared
from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Tally

CELLS = ["cellA", "cellB", "cellC"]
STATISTICS = ["cpg_stats/cat_var", "cpg_stats/entropy", "cpg_stats/mean", "cpg_stats/var"]
WINDOW, NEIGHBOURS = 41, 6


class ToyRecipe(Recipe):
    """Records as `python -m data_prep deepcpg` writes them."""

    name = "deepcpg"

    def __init__(self, counts: dict[str, int], fractional: bool = False):
        self.counts, self.fractional = counts, fractional

    def features(self) -> dict[str, Feature]:
        state = "float16" if self.fractional else "uint8"
        return {
            "key": Feature("", None),
            "chrom": Feature("", None),
            "start": Feature("int64"),
            "sequence": Feature("uint8", (WINDOW,)),
            "state": Feature(state, (len(CELLS), NEIGHBOURS)),
            "distance": Feature("uint16", (len(CELLS), NEIGHBOURS)),
            "cell": Feature("uint16", (None,)),
            "value": Feature("float32" if self.fractional else "uint8", (None,)),
            "statistics": Feature("float32", (len(STATISTICS),)),
            "annotation": Feature("uint8", (0,)),
        }

    def blocks(self) -> dict[str, list[Block]]:
        return {split: [Block(0, count, split)] for split, count in self.counts.items()}

    def make_block(self, block: Block) -> BlockResult:
        random = np.random.default_rng(list(self.counts).index(block.payload))
        tally = Tally()
        tally.add(records=block.size)
        return BlockResult([(i, self.record(random, block.payload, i)) for i in range(block.size)], tally)

    def record(self, random: np.random.Generator, split: str, number: int) -> dict:
        sequence = random.integers(0, 4, WINDOW).astype(np.uint8)
        sequence[[0, WINDOW // 2, WINDOW // 2 + 1]] = 4, 1, 2
        level = np.clip(0.2 + 0.6 * (sequence[WINDOW // 2 - 1] > 1) + random.normal(0, 0.05), 0, 1)
        state = (random.random((len(CELLS), NEIGHBOURS)) < level).astype(np.uint8)
        distance = random.integers(1, 40_000, (len(CELLS), NEIGHBOURS)).clip(max=25_000).astype(np.uint16)
        missing = random.random((len(CELLS), NEIGHBOURS)) < 0.1
        distance[missing] = 65535
        cell = np.flatnonzero(random.random(len(CELLS)) < 0.7).astype(np.uint16)
        value = (random.random(len(cell)) < level).astype(np.float32)
        if self.fractional:
            value[:1] = 0.5
            state = np.where(missing, np.nan, np.where(np.arange(len(CELLS))[:, None] == 2, state / 2, state)).astype(
                np.float16
            )
        else:
            value, state = value.astype(np.uint8), np.where(missing, 255, state).astype(np.uint8)
        mean = value.mean() if len(value) > 1 else np.nan
        var = mean * (1 - mean)
        statistics = [np.digitize(var, [0.084, 0.167]) if len(value) > 1 else np.nan, 2 * var, mean, var]
        return {
            "key": f"{split}:{number * 10}",
            "chrom": split,
            "start": number * 10,
            "sequence": sequence,
            "state": state,
            "distance": distance,
            "cell": cell,
            "value": value,
            "statistics": np.array(statistics, np.float32),
            "annotation": np.zeros(0, np.uint8),
        }

    def manifest(self, tallies) -> dict:
        return {
            "window": WINDOW,
            "neighbours": NEIGHBOURS,
            "max_distance": 25_000,
            "cells": CELLS,
            "binary_cells": [True, True, not self.fractional],
            "statistics": STATISTICS,
            "annotations": [],
            "tracks": [f"cpg/{cell}" for cell in CELLS] + STATISTICS,
            "class_counts": {
                **{"cpg/cellA": [30, 10], "cpg/cellB": [10, 10], "cpg/cellC": [5, 15]},
                "cpg_stats/cat_var": [3, 1, 1],
            },
            "splits": {split: {"records": tally.sums["records"]} for split, tally in tallies.items()},
        }  # fmt: skip

    def bytes_per_record(self) -> int:
        return 1_000


@pytest.fixture(scope="session")
def deepcpg_dataset(tmp_path_factory) -> Path:
    """256 training sites, 96 for validation and 50 for testing, of three binary cells."""
    out = tmp_path_factory.mktemp("deepcpg") / "dataset"
    execution = prepared.Execution(processes=1, progress=False)
    prepared.build(ToyRecipe({"train": 256, "valid": 96, "test": 50}), out, {}, [], execution)
    return out


@pytest.fixture(scope="session")
def deepcpg_manifest(deepcpg_dataset) -> dict:
    return json.loads((deepcpg_dataset / "manifest.json").read_text())


@pytest.fixture(scope="session")
def demo_genes():
    """demo_genes(genes or None): their records."""
    from toys.demo_genes import demo_records

    def load(genes=None):
        records = demo_records(genes)
        return records if records is not None else pytest.skip("the demo data are not here")

    return load
