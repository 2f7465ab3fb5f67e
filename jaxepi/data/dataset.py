"""A prepared dataset directory: checked on opening, then read record by record, without TensorFlow.

The directory is an ordinary TFDS dataset (dataset_info.json, features.json, TFRecord shards) plus `manifest.json`,
which is written last and so marks the directory as complete, and `record_index.npz`, the start offsets of all records.
See docs/data_format.md.
"""

import bisect
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxepi.data.manifest import MANIFEST, read_manifest
from jaxepi.data.tfrecord import RecordFile, index_shard
from jaxepi.errors import JaxepiError, did_you_mean

RECORD_INDEX = "record_index.npz"
_TFDS_FILES = ("dataset_info.json", "features.json")
# Kind -> entry of the manifest -> what a record holds where it is set.
_PROMISED = {"coverage": {"unmappable": "unmappable", "conservation": "conservation", "labels": "label"}}

Record = dict[str, Any]  # feature name to np.ndarray, int, float or str


class Split:
    """The records of one split, by number: `split[i]`, `len(split)`, iteration.

    Threads may read at once. Only record offsets are held in memory, 8 bytes a record.
    """

    described_by = "features.json"  # the file that tells what a record holds

    def __init__(
        self,
        name: str,
        shards: Sequence[RecordFile],
        features: tfds.features.FeaturesDict,
        manifest: dict[str, Any],
    ):
        """`manifest` is that of the dataset."""
        self.name = name
        self.manifest = manifest
        self._shards = shards
        self._ends = np.cumsum([len(shard) for shard in shards]).tolist()
        self._features = features
        self._texts = [key for key, feature in features.items() if isinstance(feature, tfds.features.Text)]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> Record:
        """Record `number` as a dict: arrays are read-only NumPy arrays, scalars int or float, texts str.

        Raises JaxepiError naming file and record if its checksum fails or it cannot be decoded.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"split {self.name!r} has records 0 to {len(self) - 1}, not {number}")
        which = bisect.bisect_right(self._ends, number)
        shard = self._shards[which]
        within = int(number) - (self._ends[which - 1] if which else 0)
        payload = shard.read(within)
        try:
            record = self._features.deserialize_example_np(payload)
            return record | {key: record[key].decode() for key in self._texts}
        except Exception as error:
            raise JaxepiError(
                f"{shard.path}: record {within} cannot be decoded as {self.described_by} describes it "
                f"({type(error).__name__}); rerun what made the dataset"
            ) from error

    def close(self) -> None:
        """Closes the files; further reads fail."""
        for shard in self._shards:
            shard.close()


class Dataset:
    """An opened dataset directory; made by `jaxepi.data.open_dataset`.

    Attributes: `path`; `manifest`, the content of manifest.json; `features`, the TFDS features of one record; `shards`,
    (file, records) of each split; `splits`, records per split.
    """

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        features: tfds.features.FeaturesDict,
        shards: Mapping[str, Sequence[tuple[str, int]]],
    ):
        self.path = path
        self.manifest = manifest
        self.features = features
        self.shards = shards
        self.splits: dict[str, int] = {name: sum(length for _, length in files) for name, files in shards.items()}

    @property
    def kind(self) -> str:
        """What its records are, such as "coverage"; a system names the kinds that it reads."""
        return kind_of(self.manifest)

    @property
    def fingerprint(self) -> str:
        """A digest that changes with arguments and input files."""
        return self.manifest["fingerprint"]

    @property
    def parts(self) -> dict[str, "Dataset"]:
        """The datasets to evaluate one by one, by name: this one (see `jaxepi.data.mixture` for several)."""
        return {self.path.name: self}

    def split(self, name: str) -> Split:
        """Opens one split, or several one after the other as "fold1+fold2"; their files are checked first.

        Raises JaxepiError for a file that is not complete and a split that is unknown, empty or named twice.
        """
        parts = name.split("+")
        for number, part in enumerate(parts):
            if part not in self.splits:
                raise JaxepiError(
                    f"{self.path}: there is no split {part!r}{did_you_mean(part, self.splits)}; the dataset has "
                    f"{', '.join(self.splits)}"
                )
            if not self.splits[part]:
                raise JaxepiError(f"{self.path}: split {part!r} holds no records; rerun data_prep with regions for it")
            if part in parts[:number]:
                raise JaxepiError(f"{self.path}: {name!r} names the split {part!r} twice")
        shards = [self.open_shard(file, length) for part in parts for file, length in self.shards[part] if length]
        return self.records(name, shards)

    def records(self, name: str, shards: Sequence[RecordFile]) -> Split:
        """The records in these opened shards, for `split`."""
        return Split(name, shards, self.features, self.manifest)

    def open_shard(self, file: str, length: int) -> RecordFile:
        """Opens one file of `shards`, for `split`. Raises JaxepiError if it does not hold `length` whole records."""
        path = self.path / file
        offsets = self._record_index.get(file)
        if offsets is None or not _fits(offsets, length, path):
            offsets = index_shard(path)
        if len(offsets) != length:
            raise JaxepiError(
                f"{path}: the file holds {len(offsets)} records, but dataset_info.json promises {length}; copy the "
                "file again from its source or delete the dataset and rerun data_prep"
            )
        return RecordFile(path, offsets)

    @cached_property
    def _record_index(self) -> dict[str, np.ndarray]:
        """Offsets per shard name as stored; empty if there is no readable index, since it can always be built anew."""
        try:
            with np.load(self.path / RECORD_INDEX, allow_pickle=False) as stored:
                return {file: stored[file] for file in stored.files}
        except Exception:  # a damaged zip file raises one of many types
            return {}


def kind_of(manifest: Mapping[str, Any]) -> str:
    """The kind of dataset that a manifest tells; before kinds it was called `system`."""
    return manifest["kind"] if "kind" in manifest else manifest["system"]


def open_prepared(path: Path) -> Dataset:
    """Opens the dataset that data_prep wrote to `path`.

    Raises JaxepiError if it is incomplete or if its parts contradict each other.
    """
    missing = [file for file in (*_TFDS_FILES, MANIFEST) if not (path / file).is_file()]
    if missing:
        raise JaxepiError(
            f"{path}: this is not a complete dataset: {missing[0]} is missing; delete the directory and rerun data_prep"
        )
    manifest = read_manifest(path / MANIFEST)
    try:
        info = tfds.builder_from_directory(path).info
        shards = {
            name: list(zip(split.filenames, split.shard_lengths, strict=True)) for name, split in info.splits.items()
        }
    except Exception as error:
        raise JaxepiError(
            f"{path}: TFDS cannot read dataset_info.json and features.json ({type(error).__name__}); delete the "
            "directory and rerun data_prep"
        ) from error
    dataset = Dataset(path, manifest, info.features, shards)
    _check_counts(dataset)
    _check_promised(dataset)
    _check_files(dataset)
    return dataset


def _check_counts(dataset: Dataset) -> None:
    promised = {name: split["records"] for name, split in dataset.manifest["splits"].items()}
    for name in promised | dataset.splits:
        if promised.get(name, 0) != dataset.splits.get(name, 0):
            raise JaxepiError(
                f"{dataset.path}: manifest.json says that split {name!r} has {promised.get(name, 0)} records, but "
                f"dataset_info.json says {dataset.splits.get(name, 0)}; delete the dataset and rerun data_prep"
            )


def _check_promised(dataset: Dataset) -> None:
    for entry, name in _PROMISED.get(dataset.kind, {}).items():
        if dataset.manifest.get(entry) and name not in dataset.features:
            raise JaxepiError(
                f"{dataset.path}: manifest.json tells of {entry}, but by features.json records hold no {name!r}; "
                "delete the dataset and rerun data_prep"
            )


def _check_files(dataset: Dataset) -> None:
    for name, shards in dataset.shards.items():
        for file, length in shards:
            if length and not (dataset.path / file).is_file():
                raise JaxepiError(
                    f"{dataset.path / file}: this file of split {name!r} is missing; copy it again from its source or "
                    "delete the dataset and rerun data_prep"
                )


def _fits(offsets: np.ndarray, length: int, path: Path) -> bool:
    """Whether a stored index has `length` records and its last one ends where the file ends."""
    if offsets.dtype != np.uint64 or len(offsets) != length:
        return False
    try:
        RecordFile(path, offsets).read(length - 1)
    except JaxepiError:
        return False
    return True
