"""Whether a dataset is still what was written: every record against its checksum, counts, bytes and the manifest."""

import glob
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.data import array_folder, coverage_folder
from jaxepi.data.dataset import MANIFEST, RECORD_INDEX, Dataset, Split, open_prepared
from jaxepi.data.fingerprint import fingerprint_of
from jaxepi.data.manifest import read_manifest
from jaxepi.data.tfrecord import FRAMING_BYTES, RecordFile, index_shard
from jaxepi.errors import JaxepiError
from jaxepi.storage.verify import Finding, checked

_INFO = "dataset_info.json"
_SHARDS = "*.tfrecord-*"


def is_dataset(path: Path) -> bool:
    """Whether a dataset, or what damage left of one, lies at `path`."""
    return (
        coverage_folder.is_coverage_folder(path)
        or any((path / name).is_file() for name in (MANIFEST, _INFO))
        or any(path.glob(_SHARDS))
    )


def verify_dataset(path: Path) -> Iterator[Finding]:
    """Every part of the dataset at `path`, and what killed preparations of it left behind."""
    if coverage_folder.is_coverage_folder(path):
        yield from _verify_coverage(path)
    else:
        yield from _verify_prepared(path)
    for folder in sorted(path.parent.glob(f"{glob.escape(path.name)}.tmp-*")):
        yield Finding(folder, "left over", "of a preparation that was killed or goes on; the next one removes it")


def verify_arrays(path: Path) -> Iterator[Finding]:
    """Every file of a folder of embeddings or labels, and its manifest."""
    manifest = path / MANIFEST
    try:
        told = read_manifest(manifest)
        yield checked(manifest, _check_arrays, told)
    except JaxepiError as problem:
        yield Finding(manifest, "damaged", str(problem).removeprefix(f"{manifest}: "))
        return
    for name, entry in told["files"].items():
        yield checked(path / name, array_folder.check_file, path / name, entry)


def _check_arrays(manifest: Mapping[str, Any]) -> str:
    if array_folder.fingerprint_of_arrays(manifest["arguments"], manifest["files"]) != manifest["fingerprint"]:
        raise JaxepiError("its content does not match its fingerprint; copy it again")
    return f"fingerprint {manifest['fingerprint'][:12]}"


def _verify_prepared(path: Path) -> Iterator[Finding]:
    try:
        dataset = open_prepared(path)
    except JaxepiError as problem:
        yield Finding(path, "damaged", str(problem).removeprefix(f"{path}: "))
        for shard in sorted(path.glob(_SHARDS)):
            yield checked(shard, _check_records, shard)
        return
    yield checked(path / MANIFEST, _check_manifest, dataset)
    known = set()
    for split, shards in dataset.shards.items():
        size = 0
        for file, length in shards:
            known.add(file)
            size += (path / file).stat().st_size - length * FRAMING_BYTES if length else 0
            yield checked(path / file, _check_shard, dataset, split, file, length)
        yield checked(path / _INFO, _check_bytes, path / _INFO, split, size)
    for shard in sorted(path.glob(_SHARDS)):
        if shard.name not in known:
            yield Finding(shard, "damaged", f"{_INFO} knows no such file, so it is of another dataset")
    yield checked(path / RECORD_INDEX, _check_index, path)


def _walk(path: Path) -> np.ndarray:
    """Offsets of the records of a shard, each of them read and compared with its checksums."""
    offsets = index_shard(path)
    file = RecordFile(path, offsets)
    try:
        for number in range(len(file)):
            file.read(number)
    finally:
        file.close()
    return offsets


def _check_records(path: Path) -> str:
    return f"checksums of {len(_walk(path)):,} records"


def _check_shard(dataset: Dataset, split: str, file: str, length: int) -> str:
    path = dataset.path / file
    if not length:
        return "no records"
    held = len(_walk(path))
    if held != length:
        raise JaxepiError(f"the file holds {held} records, but {_INFO} promises {length}")
    records = Split(split, [RecordFile(path)], dataset.features, dataset.manifest)
    records[0]  # features.json describes it
    records.close()
    return f"checksums of {held:,} records"


def _check_bytes(path: Path, split: str, size: int) -> str:
    splits = {told["name"]: told for told in json.loads(path.read_text())["splits"]}
    promised = int(splits[split].get("numBytes", 0)) or size  # 0: not told
    if promised != size:
        raise JaxepiError(f"split {split!r} holds {size:,} bytes of records, but {promised:,} are promised")
    return f"split {split}: {size:,} bytes of records"


def _check_manifest(dataset: Dataset) -> str:
    told = fingerprint_of(dataset.manifest)
    if told is None:
        return "no fingerprint of its content"
    if told != dataset.fingerprint:
        raise JaxepiError("its content does not match its fingerprint; copy it again, or rerun data_prep")
    return f"fingerprint {told[:12]}; a record holds {', '.join(sorted(dataset.features))}"


def _check_index(path: Path) -> str:
    """The stored index is only a short cut; datasets are read without it."""
    if not (path / RECORD_INDEX).is_file():
        return "not there, so that readers make it anew"
    try:
        with np.load(path / RECORD_INDEX, allow_pickle=False) as stored:
            held = {file: stored[file] for file in stored.files}
    except Exception as problem:  # a damaged zip file raises one of many types
        raise JaxepiError(f"unreadable ({type(problem).__name__}); delete it, and readers make it anew") from None
    for file in sorted(path.glob(_SHARDS)):
        if file.name not in held or not np.array_equal(held[file.name], index_shard(file)):
            raise JaxepiError(f"it does not fit {file.name}; delete it, and readers make it anew")
    return f"offsets of the records of {len(held)} files"


def _verify_coverage(path: Path) -> Iterator[Finding]:
    counts: dict[str, list[tuple[str, int]]] = {}

    def count(split: str, file: Path) -> str:
        number = sum(1 for _ in coverage_folder.packed_records(file))
        counts.setdefault(split, []).append((file.name, number))
        return f"checksums of {number:,} records"

    try:
        described = coverage_folder.read_description(path)
    except JaxepiError as problem:
        yield Finding(path, "damaged", str(problem).removeprefix(f"{path}: "))
        return
    found = [checked(file, count, split, file) for split, files in described.shards.items() for file in files]
    yield from found
    if all(one.state == "whole" for one in found):
        yield checked(path / coverage_folder.STATISTICS, coverage_folder.check_counts, path, counts, described)
