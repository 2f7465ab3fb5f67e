"""What the records of a windowsum dataset hold, and how a block of work becomes records."""

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Tally
from toys.windowsum.toy import BIN, WINDOW, record, toy


class WindowSumRecipe(Recipe):
    """Made-up windows, so many a split."""

    name = "windowsum"  # the kind of dataset

    def __init__(self, counts: dict[str, int]):
        self.counts = counts

    def features(self):
        return {
            "key": Feature("", None),
            "chrom": Feature("", None),
            "start": Feature("int64"),
            "sequence": Feature("uint8", (WINDOW,)),
            "target": Feature("float32", (WINDOW // BIN, 2)),
        }

    def blocks(self):
        return {split: [Block(0, count, seed)] for seed, (split, count) in enumerate(self.counts.items())}

    def make_block(self, block):
        random, tally = np.random.default_rng(block.payload), Tally()
        tally.add(records=block.size)
        return BlockResult([(number, record(random, number)) for number in range(block.size)], tally)

    def manifest(self, tallies):
        splits = {split: {"records": tally.sums["records"]} for split, tally in tallies.items()}
        return {**toy(records=0).manifest, "splits": splits}

    def bytes_per_record(self):
        return 2 * WINDOW
