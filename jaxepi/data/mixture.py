"""Several datasets of one kind in one run, such as two genomes, behind the interface of a single one.

Records are numbered one dataset after the other and carry the number of theirs as `dataset`. A batch comes wholly from
one dataset (`jaxepi.data.order.MixtureOrder`), because records of different datasets differ in their targets.
"""

import bisect
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxepi.data.dataset import Dataset, Record, Split
from jaxepi.errors import JaxepiError


class PartSplit:
    """A split of one dataset of several; its records also have `dataset`, the number of theirs."""

    def __init__(self, split: Split, number: int):
        self.name, self.manifest, self.number = split.name, split.manifest, number
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, number: int) -> Record:
        return self._split[number] | {"dataset": self.number}

    def close(self) -> None:
        """Closes the files; further reads fail."""
        self._split.close()


class MixtureSplit:
    """The records of the split of this name in all datasets, one dataset after the other; threads may read at once.

    Attributes: `name`; `manifest` of the mixture; `sizes`, the number of records of each dataset.
    """

    def __init__(self, name: str, parts: Sequence[PartSplit], manifest: dict[str, Any]):
        self.name, self.manifest = name, manifest
        self.sizes = tuple(len(part) for part in parts)
        self._parts = parts
        self._ends = list(itertools.accumulate(self.sizes))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> Record:
        """Record `number`, as its dataset gives it, with `dataset`."""
        if not 0 <= number < len(self):
            raise IndexError(f"split {self.name!r} has records 0 to {len(self) - 1}, not {number}")
        which = bisect.bisect_right(self._ends, number)
        return self._parts[which][number - self._ends[which] + self.sizes[which]]

    def close(self) -> None:
        """Closes the files; further reads fail."""
        for part in self._parts:
            part.close()


class Part:
    """One dataset of several, to be read by itself (evaluation); its records carry its number all the same."""

    def __init__(self, dataset: Dataset, number: int):
        self.dataset, self.number = dataset, number
        self.path, self.manifest, self.splits = dataset.path, dataset.manifest, dataset.splits

    def split(self, name: str) -> PartSplit:
        """See `Dataset.split`."""
        return PartSplit(self.dataset.split(name), self.number)


class Mixture:
    """Several datasets of one kind; what `Dataset` offers, over all of them.

    Attributes:
      path: the paths, for messages.
      parts: name -> dataset, in the order given; names are those of the folders, with folders above where needed.
      splits: records of each split that every dataset has.
      manifest: what the manifests agree in; `datasets`, the manifests themselves; `kind`, `fingerprint` and `splits`.
    """

    def __init__(self, datasets: Sequence[Dataset]):
        """Raises JaxepiError for the same dataset twice, or different kinds."""
        _check(datasets)
        self.path = " + ".join(str(dataset.path) for dataset in datasets)
        names = _names([dataset.path for dataset in datasets])
        self.parts = {
            name: Part(dataset, number) for number, (name, dataset) in enumerate(zip(names, datasets, strict=True))
        }
        self.kind = datasets[0].kind
        self.splits = {
            name: sum(dataset.splits[name] for dataset in datasets)
            for name in datasets[0].splits
            if all(name in dataset.splits for dataset in datasets)
        }
        prints = "\n".join(dataset.fingerprint for dataset in datasets)
        self.fingerprint = hashlib.sha256(prints.encode()).hexdigest()
        self.manifest = SharedManifest(
            [dataset.manifest for dataset in datasets],
            kind=self.kind,
            fingerprint=self.fingerprint,
            splits={name: {"records": count} for name, count in self.splits.items()},
        )

    def split(self, name: str) -> MixtureSplit:
        """Opens the split of this name in every dataset, or several as "fold1+fold2"; see `Dataset.split`."""
        return MixtureSplit(name, [part.split(name) for part in self.parts.values()], self.manifest)


class SharedManifest(dict[str, Any]):
    """The entries that several manifests agree in, and `datasets`, the manifests; asking for others is an error."""

    def __init__(self, manifests: Sequence[dict[str, Any]], **own: Any):
        first, *others = manifests
        agreed = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
        super().__init__(agreed | {"datasets": list(manifests)} | own)

    def __missing__(self, key: str) -> Any:
        if any(key in manifest for manifest in self["datasets"]):
            raise JaxepiError(
                f"The datasets of this run differ in {key!r} of their manifests, which must be the same here: prepare "
                "them alike, or train on one of them."
            )
        raise KeyError(key)


def _check(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    for number, dataset in enumerate(datasets):
        if dataset.kind != first.kind:
            raise JaxepiError(
                f"{first.path} is of kind {first.kind!r} and {dataset.path} of kind {dataset.kind!r}: datasets of one "
                "run must be of one kind."
            )
        if same := next((other for other in datasets[:number] if other.fingerprint == dataset.fingerprint), None):
            raise JaxepiError(f"{dataset.path} is the same dataset as {same.path}: name each once.")


def _names(paths: Sequence[Path]) -> list[str]:
    """The last folders of each path, as many as tell them apart."""
    parts, depth = [path.absolute().parts for path in paths], 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["_".join(part[-depth:]) for part in parts]
