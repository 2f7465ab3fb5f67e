"""A prepared dataset directory: checked on opening, then read record by record, without TensorFlow.

The directory is an ordinary TFDS dataset (dataset_info.json, features.json, TFRecord shards) plus `manifest.json`,
which is written last and so marks the directory as complete, and `record_index.npz`, the start offsets of all records.
See docs/data_format.md.
"""

import bisect
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxepi.data.tfrecord import RecordFile, index_shard
from jaxepi.errors import JaxepiError, did_you_mean

MANIFEST = "manifest.json"
RECORD_INDEX = "record_index.npz"
_TFDS_FILES = ("dataset_info.json", "features.json")

Record = dict[str, Any]  # feature name to np.ndarray, int, float or str


class Split:
    """The records of one split, by number: `split[i]`, `len(split)`, iteration.

    Threads may read at once. Only record offsets are held in memory, 8 bytes a record.
    """

    def __init__(
        self,
        name: str,
        shards: list[RecordFile],
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
                f"{shard.path}: record {within} cannot be decoded as features.json describes it "
                f"({type(error).__name__}); delete the dataset and rerun data_prep"
            ) from error

    def close(self) -> None:
        """Closes the files; further reads fail."""
        for shard in self._shards:
            shard.close()


class Dataset:
    """An opened dataset directory; made by `open_dataset`.

    Attributes: `path`; `manifest`, the content of manifest.json; `fingerprint`, a digest that changes with arguments
    and input files; `splits`, records per split; `features`, the TFDS features of one record.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], info: tfds.core.DatasetInfo):
        self.path = path
        self.manifest = manifest
        self.features = info.features
        self.splits: dict[str, int] = {name: int(split.num_examples) for name, split in info.splits.items()}
        self._shards = {
            name: list(zip(split.filenames, split.shard_lengths, strict=True)) for name, split in info.splits.items()
        }

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]

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
        shards = [self._open_shard(file, length) for part in parts for file, length in self._shards[part] if length]
        return Split(name, shards, self.features, self.manifest)

    def _open_shard(self, file: str, length: int) -> RecordFile:
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


def open_dataset(path: str | os.PathLike[str], system: str | None = None) -> Dataset:
    """Opens the dataset that data_prep wrote to `path`; its manifest must be of `system`, if one is given.

    Raises JaxepiError if there is no dataset, if it is incomplete, if its parts contradict each other or if it was
    prepared for another system.
    """
    path = Path(path)
    if not path.is_dir() or not any(path.iterdir()):
        raise JaxepiError(
            f"{path}: there is no dataset here; make it with "
            f"`python -m data_prep {system or 'SYSTEM'} --out {path} ...`"
        )
    missing = [file for file in (*_TFDS_FILES, MANIFEST) if not (path / file).is_file()]
    if missing:
        raise JaxepiError(
            f"{path}: this is not a complete dataset: {missing[0]} is missing; delete the directory and rerun data_prep"
        )
    manifest = _read_manifest(path / MANIFEST)
    if system is not None and manifest["system"] != system:
        raise JaxepiError(
            f"{path}: this dataset was prepared for system {manifest['system']!r}, but {system!r} was asked for; give "
            f"the directory of a dataset made by `python -m data_prep {system}`"
        )
    try:
        info = tfds.builder_from_directory(path).info
    except Exception as error:
        raise JaxepiError(
            f"{path}: TFDS cannot read dataset_info.json and features.json ({type(error).__name__}); delete the "
            "directory and rerun data_prep"
        ) from error
    dataset = Dataset(path, manifest, info)
    _check_counts(dataset)
    _check_files(dataset)
    return dataset


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        absent = [key for key in ("system", "fingerprint", "splits") if key not in manifest]
    except (ValueError, TypeError):
        raise JaxepiError(f"{path}: this is not a JSON object; delete the dataset and rerun data_prep") from None
    if absent:
        raise JaxepiError(f"{path}: the entry {absent[0]!r} is missing; delete the dataset and rerun data_prep")
    return manifest


def _check_counts(dataset: Dataset) -> None:
    promised = {name: split["records"] for name, split in dataset.manifest["splits"].items()}
    for name in promised | dataset.splits:
        if promised.get(name, 0) != dataset.splits.get(name, 0):
            raise JaxepiError(
                f"{dataset.path}: manifest.json says that split {name!r} has {promised.get(name, 0)} records, but "
                f"dataset_info.json says {dataset.splits.get(name, 0)}; delete the dataset and rerun data_prep"
            )


def _check_files(dataset: Dataset) -> None:
    for name, shards in dataset._shards.items():
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
