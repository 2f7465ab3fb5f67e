"""A few made-up genes as a dataset in memory, and small Chromoformers for them."""

import dataclasses
from pathlib import Path

import numpy as np
from flax import nnx

from jaxepi.predictor import Predictor
from jaxepi.systems.chromoformer import SYSTEM
from jaxepi.systems.chromoformer.model import Chromoformer, ChromoformerConfig
from jaxepi.systems.chromoformer.task import ChromoformerObjective, ChromoformerTask

MARKS, WIDTH, R, SIZES = ["a", "b"], 4000, 100, (400, 100)
MANIFEST = {"system": "chromoformer", "marks": MARKS, "resolution": R, "promoter_length": WIDTH}


class Records(list):
    """A split: records with the manifest."""

    manifest = MANIFEST


class Data:
    """What jobs over genes need of a dataset: eight genes with 0 to 5 contacts in two folds."""

    path, fingerprint, manifest = Path("data"), "f", MANIFEST

    def __init__(self, count: int = 8):
        self.records = {
            "fold1": Records(gene(number) for number in range(count // 2)),
            "fold2": Records(gene(number) for number in range(count // 2, count)),
            "fold3": Records(),
        }
        self.splits = {name: len(records) for name, records in self.records.items()}

    def split(self, name):
        return Records(record for part in name.split("+") for record in self.records[part])


def gene(number, contacts=None, minus=None):
    """Contacts lie upstream and downstream of the TSS, one of them far away and the last on another chromosome."""
    random = np.random.default_rng(number)
    contacts = number % 6 if contacts is None else contacts
    lengths = random.integers(1, WIDTH, contacts).astype(np.int32)
    starts = 100_000 + np.array([3_000, -9_000, 2_000_000, -30_000, 0])[:contacts]
    chroms = ["chr1"] * min(contacts, 4) + ["chr2"] * (contacts - 4)
    return {
        "key": f"gene{number}",
        "chrom": "chr1",
        "start": 100_000,
        "minus": np.uint8(number % 2 if minus is None else minus),
        "fold": 1 + number // 4,
        "expression": np.float32(np.nan if number == 1 else number / 3),
        "label": -1 if number == 1 else number % 2,
        "promoter_sum": random.integers(0, 900, (WIDTH // R, 2)).astype(np.float32),
        "promoter_span": np.array([0, WIDTH], np.int32),
        "pcre_length": lengths,
        "pcre_sum": random.integers(0, 900, (int((-(-lengths // R)).sum()), 2)).astype(np.float32),
        "score": 3 - np.arange(contacts, dtype=np.float32) / 4,
        "neighbors": ";".join(
            f"{chrom}:{start}-{start + length}" for chrom, start, length in zip(chroms, starts, lengths, strict=True)
        ),
    }


def config(**sizes):
    return ChromoformerConfig(
        **{
            "marks": 2, "bin_sizes": SIZES, "width": 12, "embedding_hidden": 10, "pairwise_hidden": 14,
            "regulation_layers": 2, "regulation_heads": 4, "regulation_inner": 16, "regulation_hidden": 10,
            "head_width": 8, "outputs": 2, **sizes,
        }
    )  # fmt: skip


def objective(**fields):
    return ChromoformerObjective(**{"promoter_width": WIDTH, "region_width": WIDTH, "max_pcres": 5, **fields})


def predictor(sizes=(), **fields):
    """A model with random weights."""
    return predictor_of(Chromoformer(config(**dict(sizes)), rngs=nnx.Rngs(1)), objective(**fields))


def predictor_of(model, goal, source="tiny"):
    """Any model and objective, for datasets like MANIFEST."""
    task = ChromoformerTask(dataclasses.asdict(model.config), dataclasses.asdict(goal), MANIFEST)
    return Predictor(model, SYSTEM, task, source=source)
