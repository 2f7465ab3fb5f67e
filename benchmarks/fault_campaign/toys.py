"""Small data for the kill campaign, the same for the same seed: datasets of every system's toy, configs, a genome.

data/<system>/         a dataset with the splits train, valid and test
data/<system>_many/    the same with many records, for jobs over a dataset
data/<system>_folds/   the same in three folds
configs/<name>.py      a config for each of them
raw/<kind>/            raw files of each data_prep command, made by its own sample
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build import dataset
from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Tally

SPLITS = {"": {"train": 40, "valid": 16, "test": 8}, "_folds": {"fold1": 16, "fold2": 16, "fold3": 16}}
MANY = {"deepcpg": 2000}  # records of the large dataset of a system; 200 of others
# fields of config.model that make a toy's model start faster: tracing is most of the time of a small one
SMALLER = {"chromoformer": {"bin_sizes": (500,)}}
# command -> the options of its sample, which makes it as small as it can be
SAMPLES = {
    "melody": ("--megabases", "0.2"),
    "deepcpg": ("--megabases", "0.2"),
    "chromoformer": ("--genes", "80"),
    "coverage": ("--megabases", "0.3"),
}

CONFIG = '''"""A small run of the kill campaign."""

from ml_collections import ConfigDict

from configs.base import get_base


def get_config(variant: str = "") -> ConfigDict:
    """The experiment."""
    config = get_base()
    config.system, config.model, config.task = {system!r}, ConfigDict({model!r}), ConfigDict({task!r})
    config.dataset.path, config.dataset.readers = {path!r}, 2
    config.batch_size = config.eval_batch_size = 8
    config.steps, config.save_every, config.eval_every, config.log_every = 12, 2, 4, 1
    config.report = False
    config.optimizer.learning_rate, config.optimizer.ema_decay = 3e-3, 0.9
    if {folds!r}:
        config.dataset.folds, config.dataset.test_split, config.report_checkpoint = {folds!r}, "", "last"
        config.dataset.train_split, config.dataset.validation_split = {folds!r}[1], {folds!r}[0]
        config.steps, config.save_every, config.eval_every, config.report = 4, 2, 4, True
    return config
'''


class ToyRecipe(Recipe):
    """The records of a system's toy, as a dataset like any other."""

    def __init__(self, toy: Any, splits: Mapping[str, int]):
        self.toy, self.splits, self.name = toy, dict(splits), toy.manifest["kind"]

    def features(self) -> dict[str, Feature]:
        """From the records; an axis whose size differs between them has no fixed one."""
        columns = {name: [record[name] for record in self.toy.records] for name in self.toy.records[0]}
        return {name: _feature(values) for name, values in columns.items()}

    def blocks(self) -> dict[str, list[Block]]:
        """One a split."""
        ends = np.cumsum(list(self.splits.values())).tolist()
        return {name: [Block(0, size, end - size)] for (name, size), end in zip(self.splits.items(), ends, strict=True)}

    def make_block(self, block: Block) -> BlockResult:
        """The records of a split."""
        tally = Tally()
        tally.add(records=block.size)
        records = self.toy.records[block.payload : block.payload + block.size]
        return BlockResult(list(enumerate(records)), tally)

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        """The toy's own, and the counts."""
        return {**self.toy.manifest, "splits": {name: tally.to_json() for name, tally in tallies.items()}}

    def bytes_per_record(self) -> int:
        """They are small."""
        return 10_000


def _feature(values: list[Any]) -> Feature:
    if isinstance(values[0], str):
        return Feature("", None)
    arrays = [np.asarray(value) for value in values]
    dtype = "float32" if isinstance(values[0], float) else str(arrays[0].dtype)
    axes = zip(*(array.shape for array in arrays), strict=True)
    return Feature(dtype, tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in axes))


def write_toy(name: str, seed: int, folder: Path) -> None:
    """The datasets and configs of a system."""
    from jaxepi.registry import get_system

    for ending, splits in (*SPLITS.items(), ("_many", {"test": MANY.get(name, 200)})):
        toy = get_system(name).toy(seed, sum(splits.values()))
        place = folder / "data" / f"{name}{ending}"
        dataset.build(ToyRecipe(toy, splits), place, {}, [], dataset.Execution(processes=1, progress=False))
        folds = tuple(splits) if ending == "_folds" else ()
        model, task = {**toy.model, **SMALLER.get(name, {})}, dict(toy.task)
        text = CONFIG.format(system=name, model=model, task=task, path=str(place), folds=folds)
        path = folder / "configs" / f"{name}{ending}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def write_raw(kind: str, seed: int, folder: Path) -> None:
    """Raw files for a data_prep command, by its sample; for predictions, regions of its genome besides."""
    from data_prep.__main__ import main

    place = folder / "raw" / kind
    status = main([f"{kind}-sample", "--out", str(place), "--seed", str(seed), "--raw-only", *SAMPLES[kind]])
    if status:
        raise RuntimeError(f"the sample of {kind} left with {status}")
    if (place / "raw" / "genome.fa").exists():
        from jaxepi.genome.fasta import Genome

        lengths = Genome(place / "raw" / "genome.fa").lengths
        rows = [f"{chrom}\t{low}\t{min(low + 7_000, length)}\n" for chrom, length in lengths.items()
                for low in range(0, length, 10_000)]  # fmt: skip
        (place / "regions.bed").write_text("".join(rows))


def main(words: list[str]) -> int:
    """`what seed folder name`: writes the data of a system (toy) or of a command (raw)."""
    what, seed, folder, name = words
    {"toy": write_toy, "raw": write_raw}[what](name, int(seed), Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
