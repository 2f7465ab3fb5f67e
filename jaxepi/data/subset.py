"""Some records out of many."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from jaxepi.data.dataset import Dataset, Record, Split
from jaxepi.errors import JaxepiError, did_you_mean


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some records of a split of a dataset."""

    dataset: Dataset
    split: str  # such as fold1 or fold1+fold2
    numbers: list[int]  # of the records, ascending

    @property
    def records(self) -> Iterator[Record]:
        split = self.dataset.split(self.split)
        return (split[number] for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def choose_records(
    dataset: Dataset, split: str | None = None, keys: Sequence[str] | None = None, most: int | None = None,
    flag: str = "most",
) -> Subset:  # fmt: skip
    """The records of a split, or some of them, in the order of the dataset.

    Args:
      dataset: from `open_dataset`.
      split: such as fold1 or fold1+fold2; None for all of the dataset.
      keys: their keys; None for all, or for a draw of `most` of them with a fixed seed.
      most: how many to draw; None for all.
      flag: what `most` is called on the command line.

    Raises:
      JaxepiError: no such split or key, or `most` is not positive.
    """
    name = split or "+".join(part for part, count in dataset.splits.items() if count)
    records = dataset.split(name)
    if keys is None:
        return Subset(dataset, name, drawn(len(records), most, f"--{flag}"))
    return Subset(dataset, name, _named(records, keys, f"{dataset.path}, split {name},"))


def _named(records: Split, keys: Sequence[str], where: str) -> list[int]:
    place = {record["key"]: number for number, record in enumerate(records)}
    for key in keys:
        if key not in place:
            raise JaxepiError(f"{where} has no record {key!r}{did_you_mean(key, place)}.")
    return sorted({place[key] for key in keys})


def drawn(count: int, most: int | None, flag: str, seed: int = 0) -> list[int]:
    """Numbers below `count`, in order: all of them, or a draw of `most` that the seed decides.

    Raises:
      JaxepiError: `most` is not positive (`flag` names it).
    """
    if most is not None and most < 1:
        raise JaxepiError(f"{flag} is {most}: a positive number was expected.")
    if most is None or most >= count:
        return list(range(count))
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False)).tolist()
